"""Which stage may follow which: the table, and nothing else decides it.

A version that has served is not made to look as if it had not: from production and from the archive nothing leads back
to `none`. A rollback is the move from the archive to production.
"""

from collections.abc import Mapping

from serval_registry.errors import FailedPrecondition
from serval_registry.model import Ref, Stage

LEGAL: Mapping[Stage, frozenset[Stage]] = {
    Stage.NONE: frozenset({Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.STAGING: frozenset({Stage.NONE, Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.PRODUCTION: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.ARCHIVED: frozenset({Stage.STAGING, Stage.PRODUCTION}),
}


def targets(stage: Stage, *, through_staging: bool = False) -> list[Stage]:
    """Return where a version in `stage` may go; with `through_staging` from none not straight to production."""
    barred = {Stage.PRODUCTION} if through_staging and stage is Stage.NONE else set()
    return [target for target in Stage if target in LEGAL[stage] - barred]


def check(ref: Ref, stage: Stage, target: Stage, *, through_staging: bool) -> None:
    """Raise FailedPrecondition, naming what is legal, unless a version in `stage` may go to `target`."""
    legal = targets(stage, through_staging=through_staging)
    if target not in legal:
        raise FailedPrecondition(
            f"{ref} is in stage {stage} and cannot go to {target}; from {stage} it may go to {', '.join(legal)}"
        )
