"""Vectors that versions are given after they were registered."""

from serval_registry.artifacts import digest
from serval_registry.lifecycle.desk import Desk
from serval_registry.lifecycle.entries import ANONYMOUS, Action, Actor
from serval_registry.model import Ref
from serval_registry.spaces.living import stamp
from serval_registry.spaces.spaces import Numbers, Space, Spaces


class Embeddings:
    """What is written into spaces, and told in the journal."""

    def __init__(self, desk: Desk, spaces: Spaces) -> None:
        self._desk = desk
        self._spaces = spaces

    def put(self, name: str, version: int, space: str, vector: Numbers, actor: Actor = ANONYMOUS) -> Space:
        """Give a version a vector in a space, in place of the one it had; the first makes the space. See `Spaces`.

        InvalidArgument for a name or a vector that cannot be, NotFound for an unknown version.
        """
        embedding = self._spaces.checked({space: vector}, "vector")[space]
        # The entry follows the commit it tells of: an embedding is not in the row of its version.
        with self._desk.writing():
            found = self._desk.find(Ref(name, version=version))
            self._spaces.put(space, embedding, stamp(found))
            said = {"space": space, "sha256": digest(embedding.tobytes())}
            self._desk.journal.append(actor, Action.EMBEDDING, found.ref, said)
        return self._spaces.look(space)
