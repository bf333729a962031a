"""A model version as another store has it, and how it becomes one of ours."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serval_client.client import Client
from serval_client.errors import FailedPrecondition, InvalidArgument, MissingExtra, NotFound
from serval_client.forms import RowsLike
from serval_client.records import ModelInfo, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One version elsewhere. `origin` names it there for good; `reason` says why it cannot be had, where it cannot."""

    name: str
    origin: str
    model: Any = None  # what `Client.register` takes
    sample: RowsLike = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    stage: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # further arguments of `Client.register`
    reason: str = ""


class Outcome(NamedTuple):
    """What became of a found version: the reference that it has here and, in words, what was done; or "", why not."""

    origin: str
    ref: str
    words: str

    @property
    def failed(self) -> bool:
        """Whether it is not here, or not as it was to be."""
        return not self.ref


# The tag that a version from elsewhere has, with what it is called there.
ORIGIN_TAG = "origin"


# What is wrong with one version, and not with the next.
_REFUSED = (InvalidArgument, FailedPrecondition, MissingExtra)


def import_into(client: Client, versions: Iterable[Found]) -> Iterator[Outcome]:
    """Register what was found, one after the other; what has been imported before is not again.

    The stage and each alias have an outcome of their own. A version that is here already gets those that it lacks: the
    stage where nobody has moved it yet, and an alias that leads nowhere yet.
    """
    for found in versions:
        try:
            yield from _import(client, found)
        except _REFUSED as error:
            yield Outcome(found.origin, "", error.details)
        except Exception as error:
            if type(error).__name__ != "ExportError":  # of an extra that need not be installed
                raise
            yield Outcome(found.origin, "", str(error))


def _import(client: Client, found: Found) -> Iterator[Outcome]:
    if found.reason:
        yield Outcome(found.origin, "", found.reason)
        return
    known = next(iter(client.models(found.name, tags={ORIGIN_TAG: found.origin})), None)
    info = known or _register(client, found)
    yield Outcome(found.origin, info.ref, "was here already" if known else "registered")
    if info.stage == Stage.NONE and found.stage not in ("", Stage.NONE):
        yield _outcome(found, info, f"in stage {found.stage}", lambda: client.set_stage(info.ref, found.stage))
    for alias in found.aliases:
        if alias not in info.aliases:
            yield _aliased(client, found, info, alias, move=known is None)


def _register(client: Client, found: Found) -> ModelInfo:
    return client.register(
        found.model,
        found.name,
        sample=found.sample,
        description=found.description,
        tags={**found.tags, ORIGIN_TAG: found.origin},
        metrics=found.metrics,
        hyperparameters=found.hyperparameters,
        **found.details,
    )


def _aliased(client: Client, found: Found, info: ModelInfo, alias: str, *, move: bool) -> Outcome:
    holder = None if move else _holder(client, info.name, alias)
    if holder:
        return Outcome(found.origin, info.ref, f"alias {alias} stays with {holder}")
    return _outcome(found, info, f"alias {alias}", lambda: client.set_alias(info.name, alias, info.version))


def _holder(client: Client, name: str, alias: str) -> str:
    """Return the version that an alias leads to, or ""."""
    try:
        return client.show(f"{name}@{alias}").model.ref
    except (NotFound, InvalidArgument):  # what cannot be an alias is refused when it is set
        return ""


def _outcome(found: Found, info: ModelInfo, words: str, change: Callable[[], object]) -> Outcome:
    """Make a change of a version that is here, and tell what became of it."""
    try:
        change()
    except _REFUSED as error:
        return Outcome(found.origin, "", f"{info.ref} is here, but not {words}: {error.details}")
    return Outcome(found.origin, info.ref, words)
