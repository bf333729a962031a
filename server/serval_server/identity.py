"""Who acts in a call.

An identity is as trustworthy as what carries it: a client certificate is proved by TLS, the metadata `serval-actor` is
what the caller says. Where there is a certificate, what the caller says is not read at all.
"""

from typing import Final

import grpc
from serval_registry.errors import InvalidArgument
from serval_registry.lifecycle.entries import ACTOR_MAX, ANONYMOUS, Actor, Proof

METADATA_KEY: Final = "serval-actor"


def actor_of(context: grpc.ServicerContext) -> Actor:
    """Return who acts; InvalidArgument for metadata that name nobody, or more than one."""
    proved = context.peer_identities()
    if proved:
        # The first that the certificate has: its first subject alternative name, else its common name.
        return Actor(proved[0].decode("utf-8", "replace")[:ACTOR_MAX], Proof.CERTIFICATE)
    claimed = [value for key, value in context.invocation_metadata() if key == METADATA_KEY]
    if not claimed:
        return ANONYMOUS
    if len(claimed) > 1:
        raise InvalidArgument(f"{METADATA_KEY}: came {len(claimed)} times; wanted it once")
    return Actor.claimed(claimed[0])
