"""What TLS says of a peer, by the names that gRPC has for it (`ServicerContext.auth_context`).

As the C core tells it, but for the server name that was asked for and the group of the key exchange, which the standard
`ssl` module does not tell.
"""

import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Final

AuthContext = dict[str, Sequence[bytes]]

# Kinds of subjectAltName, and the property of each beside x509_subject_alternative_name
_KINDS: Final = {"DNS": "peer_dns", "email": "peer_email", "IP Address": "peer_ip", "URI": "peer_uri"}
_SPIFFE: Final = "spiffe://"

# What OpenSSL writes for the names that it gives to Python; others are the same in both.
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}
_SPECIAL: Final = frozenset(',+"\\<>;')
_FIRST_VISIBLE, _LAST_VISIBLE = " ", "~"


def of_connection(connection: ssl.SSLObject) -> AuthContext:
    """Return the properties of a connection whose handshake is over."""
    context: AuthContext = {
        "transport_security_type": [b"ssl"],
        "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"],
        "ssl_session_reused": [b"true" if connection.session_reused else b"false"],
        "ssl_tls_version": [(connection.version() or "").encode()],
    }
    certificate, octets = connection.getpeercert(), connection.getpeercert(binary_form=True)
    if certificate and octets is not None:
        context["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(octets).encode()]
        context |= _of_certificate(certificate)
    return context


def _of_certificate(certificate: Any) -> AuthContext:
    subject = certificate.get("subject", ())
    context: AuthContext = {"x509_subject": [distinguished_name(subject).encode()]}
    for names in subject:
        for name, value in names:
            if name == "commonName":
                context.setdefault("x509_common_name", [value.encode()])
    # A directoryName is a tuple.
    alternative = [
        (kind, _short(value) if kind == "IP Address" else value)
        for kind, value in certificate.get("subjectAltName", ())
        if isinstance(value, str)
    ]
    if alternative:
        context["x509_subject_alternative_name"] = [value.encode() for _, value in alternative]
    for kind, name in _KINDS.items():
        if values := [value.encode() for each, value in alternative if each == kind]:
            context[name] = values
    uris = context.get("peer_uri", ())
    if len(uris) == 1 and uris[0].startswith(_SPIFFE.encode()):
        context["peer_spiffe_id"] = uris
    return context


def _short(address: str) -> str:
    """Return an address as systems write it: OpenSSL writes all eight groups of IPv6."""
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address)) if ":" in address else address


def distinguished_name(subject: Sequence[Iterable[tuple[str, str]]]) -> str:
    """Return a subject as `ssl` gives it, written as RFC 2253 says: its last part first."""
    return ",".join(
        "+".join(f"{_SHORT_NAMES.get(name, name)}={_escaped(value)}" for name, value in reversed(list(names)))
        for names in reversed(subject)
    )


def _escaped(value: str) -> str:
    """Return a value by the rules of RFC 2253, 2.4, with a backslash and two digits for what is not visible ASCII."""
    parts = []
    for at, character in enumerate(value):
        edge = (at == 0 and character in "# ") or (at == len(value) - 1 and character == " ")
        if not _FIRST_VISIBLE <= character <= _LAST_VISIBLE:
            parts += [f"\\{octet:02X}" for octet in character.encode()]
        else:
            parts.append(f"\\{character}" if edge or character in _SPECIAL else character)
    return "".join(parts)
