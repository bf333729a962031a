"""TLS handshakes, in turns with everything else.

One step of a handshake is a signature with the server's private key, 0.1 to 4 ms of the loop's time by the kind of
key, for some hundred octets that cost a peer nothing. So there is one at a time, and then none for as long as it took:
half of the loop's time is left to those who are connected.
"""

from typing import Final

from serval_server.transport.vectorized.sockets import Connection

NEVER: Final = 2**63 - 1


class Handshakes:
    """Connections whose handshake can go on, first come first."""

    def __init__(self) -> None:
        """Begin with none."""
        self.at = NEVER  # when the next step has its turn (ns of the monotonic clock)
        self._waiting: dict[Connection, None] = {}
        self._rested = 0  # when the last step will have been as long ago as it took

    def wait(self, connection: Connection) -> None:
        """Have a connection wait for its turn, which it may do already: nobody is kept from hearing that it ends."""
        self._waiting[connection] = None
        self.at = self._rested

    def next(self) -> Connection:
        """Return whose turn it is; there is one."""
        connection = next(iter(self._waiting))
        del self._waiting[connection]
        self.at = self._rested if self._waiting else NEVER
        return connection

    def took(self, start: int, end: int) -> None:
        """Take in from when to when a step took."""
        self._rested = end + (end - start)
        if self._waiting:
            self.at = self._rested
