"""Vectors that versions are given after they were registered, and the end of the spaces that they lie in."""

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
        # The entry follows, once it is on disk, the commit it tells of: an embedding is not in the row of its version.
        with self._desk.writing():
            found = self._desk.find(Ref(name, version=version))
            self._spaces.put_first({space: embedding}, stamp(found))
            said = {"space": space, "sha256": digest(embedding.tobytes())}
            self._desk.journal.append(actor, Action.EMBEDDING, found.ref, said)
        return self._spaces.look(space)

    def delete(self, space: str, actor: Actor = ANONYMOUS) -> Space:
        """Delete a space with all that lies in it, and return what it was; its name may be given again.

        InvalidArgument for a space that is serval's own, NotFound for one that is not there.
        """
        with self._desk.writing():
            found = self._spaces.look(space)
            self._spaces.clear()
            table = self._spaces.keyed(space).table.name
            said = {"space": space, "table": table, "dimension": found.dimension, "count": found.count}
            self._desk.journal.append(actor, Action.DELETE_SPACE, Ref(""), said)
        return found
