"""The methods of the asyncio client that find models; see `serval_client.searching.methods`."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from serval_client import forms
from serval_client.calls import Call
from serval_client.searching import calls
from serval_client.searching.calls import Asked, Numbers
from serval_client.searching.records import SearchResult, Space

Reply = TypeVar("Reply")


class AsyncSearchMethods:
    """What `AsyncClient` inherits."""

    async def _send(self, call: Call[Reply], timeout: float | None) -> Reply:
        raise NotImplementedError

    async def search(
        self,
        text: str | None = None,
        *,
        vector: Numbers | None = None,
        like: str | None = None,
        behaves_like: str | None = None,
        sample: forms.RowsLike = None,
        space: str = "",
        weights: Mapping[str, float] | None = None,
        stages: Iterable[str] = (),
        tags: Mapping[str, str] | None = None,
        where: str = "",
        k: int = 10,
    ) -> SearchResult:
        """Return the `k` versions most like what is given; see `Client.search`."""
        asked = Asked(
            text=text,
            vector=vector,
            like=like,
            behaves_like=behaves_like,
            sample=sample,
            space=space,
            weights=weights or {},
        )
        return await self._send(calls.search(asked, stages, tags, where, k), None)

    async def set_embedding(self, model: str, space: str, vector: Numbers) -> Space:
        """Give a version a vector in a space of your own; see `Client.set_embedding`."""
        return await self._send(calls.set_embedding(model, space, vector), None)

    async def spaces(self) -> list[Space]:
        """Return the spaces that vectors lie in: "description", which the server fills, then those of callers."""
        return await self._send(calls.spaces(), None)

    async def delete_space(self, space: str) -> Space:
        """Delete a space of your own; see `Client.delete_space`."""
        return await self._send(calls.delete_space(space), None)
