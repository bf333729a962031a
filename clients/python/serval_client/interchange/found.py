"""A model version as another store has it, and how it becomes one of ours."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serval_client.client import Client
from serval_client.errors import FailedPrecondition, InvalidArgument, MissingExtra
from serval_client.forms import RowsLike


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
    """What became of a found version: the reference that it has here, or "", and in words what was done or why not."""

    origin: str
    ref: str
    words: str

    @property
    def failed(self) -> bool:
        """Whether it is not here."""
        return not self.ref


# The tag that a version from elsewhere has, with what it is called there.
ORIGIN_TAG = "origin"


def import_into(client: Client, versions: Iterable[Found]) -> Iterator[Outcome]:
    """Register what was found, one after the other; what has been imported before is not again."""
    for found in versions:
        if found.reason:
            yield Outcome(found.origin, "", found.reason)
            continue
        known = list(client.models(found.name, tags={ORIGIN_TAG: found.origin}))
        if known:
            yield Outcome(found.origin, known[0].ref, "was here already")
            continue
        try:
            yield _import(client, found)
        except (InvalidArgument, FailedPrecondition, MissingExtra) as error:
            yield Outcome(found.origin, "", error.details)
        except Exception as error:
            if type(error).__name__ != "ExportError":  # of an extra that need not be installed
                raise
            yield Outcome(found.origin, "", str(error))


def _import(client: Client, found: Found) -> Outcome:
    info = client.register(
        found.model,
        found.name,
        sample=found.sample,
        description=found.description,
        tags={**found.tags, ORIGIN_TAG: found.origin},
        metrics=found.metrics,
        hyperparameters=found.hyperparameters,
        **found.details,
    )
    words = ["registered"]
    if found.stage:
        client.set_stage(info.ref, found.stage)
        words.append(f"in stage {found.stage}")
    set_alias: Any = getattr(client, "set_alias", None)
    for alias in found.aliases if set_alias else ():
        set_alias(info.name, alias, info.version)
        words.append(f"alias {alias}")
    return Outcome(found.origin, info.ref, ", ".join(words))
