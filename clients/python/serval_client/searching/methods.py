"""The methods of the synchronous client that find models."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from serval_client import forms
from serval_client.calls import Call
from serval_client.searching import calls
from serval_client.searching.calls import Asked, Numbers
from serval_client.searching.records import SearchResult, Space

Reply = TypeVar("Reply")


class SearchMethods:
    """What `Client` inherits."""

    def _send(self, call: Call[Reply], timeout: float | None) -> Reply:
        raise NotImplementedError

    def search(
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
        """Return the `k` (1 to 1000) versions most like what is given: one of these, or several at once.

        text: words. vector, like: a vector, or a model such as "churn@3", in `space`; "": that of descriptions.
        behaves_like: a model; found are those that take the same features and decide as it does on the same rows.
        sample: rows as for `predict`; found are those that were trained on data like this, by their baselines.
        weights: how much each counts where several are given, by the names above, such as {"text": 2}; 1 unless given.
        stages, tags, where: as in `models`. Models that are given are left out themselves.
        """
        asked = Asked(
            text=text,
            vector=vector,
            like=like,
            behaves_like=behaves_like,
            sample=sample,
            space=space,
            weights=weights or {},
        )
        return self._send(calls.search(asked, stages, tags, where, k), None)

    def set_embedding(self, model: str, space: str, vector: Numbers) -> Space:
        """Give a version ("churn@3") a vector in a space of your own, made by its first vector; return the space."""
        return self._send(calls.set_embedding(model, space, vector), None)

    def spaces(self) -> list[Space]:
        """Return the spaces that vectors lie in: "description", which the server fills, then those of callers."""
        return self._send(calls.spaces(), None)

    def delete_space(self, space: str) -> Space:
        """Delete a space of your own with every vector in it; return what it was. Its name may be given again."""
        return self._send(calls.delete_space(space), None)
