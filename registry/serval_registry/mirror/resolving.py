"""References resolved in a view."""

from serval_registry.mirror.base import STAGES
from serval_registry.mirror.view import View
from serval_registry.mirror.walking import newest
from serval_registry.model import Ref, Stage, Version

# Aliases and labels are looked for in every version of a name, up to so many.
READ_MOST = 256


class TooMany(Exception):
    """The table is to be asked: it has an index for that, or reads faster."""


def resolved(view: View, ref: Ref) -> Version | None:
    """Return the version that a reference leads to, None where there is none; TooMany as it says."""
    if ref.version is not None:
        return view.version((ref.name, ref.version))
    if ref.alias is not None or ref.label is not None:
        return _named(view, ref)
    found = _staged(view, ref.name, ref.stage or Stage.PRODUCTION)
    if found is None and ref.stage is None:
        found = next(iter(_newest(view, ref.name, 1)), None)
    return found


def _newest(view: View, name: str, limit: int) -> list[Version]:
    found = (view.version((name, summary.version)) for summary in newest(view, name, limit))
    return [version for version in found if version is not None]


def _named(view: View, ref: Ref) -> Version | None:
    if len(view.base.numbers_of(ref.name)) > READ_MOST:
        raise TooMany
    for version in _newest(view, ref.name, 2 * READ_MOST):
        if ref.alias in version.aliases if ref.alias is not None else ref.label == version.label:
            return version
    return None


def _staged(view: View, name: str, stage: Stage) -> Version | None:
    numbers = view.base.numbers_of(name)
    fitting = numbers[(view.base.stages[numbers] == STAGES.index(stage)) & (view.allowed[numbers] != 0)]
    found = [view.base.version(int(fitting[-1]))] if len(fitting) else []
    found += [version for version in view.late_of(name) if version.stage is stage]
    return max(found, key=lambda version: version.version, default=None)
