"""Gates: what a version must pass to enter production, each checked and reported by itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from serval_registry.errors import FailedPrecondition, InvalidArgument
from serval_registry.model import Parity, Ref, TensorSpec, Version

THRESHOLDS_MAX = 100
CHECKLIST_MAX = 100
TEXT_MAX = 256
APPROVALS_MAX = 10


class Threshold(NamedTuple):
    """A bound on a metric: at least, or at most, `value`."""

    metric: str
    value: float
    at_most: bool = False

    @property
    def asked(self) -> str:
        """The bound in words."""
        return f"at {'most' if self.at_most else 'least'} {self.value:g}"

    def holds(self, found: float) -> bool:
        """Tell whether a value is within the bound."""
        return found <= self.value if self.at_most else found >= self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a name asks of a version that is to enter production.

    compatible: its schema serves every caller of the current production version. parity: its export equals the
    original within the tolerance that was sent with it. intact: its artifact has the checksum it was registered with.
    approvals: how many identities must approve; `self_approval`: the requester may be one. checklist: what a request
    has to tick off. through_staging: production is entered from staging or the archive only.
    """

    thresholds: tuple[Threshold, ...] = ()
    compatible: bool = False
    parity: bool = False
    intact: bool = False
    approvals: int = 0
    self_approval: bool = False
    checklist: tuple[str, ...] = ()
    through_staging: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the policy as what JSON is made of."""
        return asdict(self) | {"thresholds": [list(threshold) for threshold in self.thresholds]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` made."""
        thresholds = tuple(Threshold(*threshold) for threshold in stored["thresholds"])
        return cls(**{**stored, "thresholds": thresholds, "checklist": tuple(stored["checklist"])})


# No gates: what a name has of which nothing else was said.
OPEN = Policy()

# What `serval gates set NAME --standard` asks.
STANDARD = Policy(
    thresholds=(Threshold("accuracy", 0.85), Threshold("roc_auc", 0.80)),
    compatible=True,
    parity=True,
    intact=True,
    approvals=1,
)


class GateResult(NamedTuple):
    """One gate: what was asked, what was found, whether that passes."""

    name: str
    asked: str
    found: str
    passed: bool


class Standing(NamedTuple):
    """What is known of a version's request for production: who approved, and what is not ticked off."""

    approvers: Sequence[str]
    missing: Sequence[str]


def check_policy(policy: Policy) -> None:
    """Raise InvalidArgument naming the first field that makes no sense."""
    if len(policy.thresholds) > THRESHOLDS_MAX:
        raise InvalidArgument(f"thresholds: {len(policy.thresholds)}; wanted at most {THRESHOLDS_MAX}")
    for threshold in policy.thresholds:
        if not threshold.metric or not math.isfinite(threshold.value):
            raise InvalidArgument(
                f"thresholds: {threshold.metric[:80]!r} {threshold.value}; wanted a name and a number"
            )
    if not 0 <= policy.approvals <= APPROVALS_MAX:
        raise InvalidArgument(f"approvals: {policy.approvals}; wanted 0 to {APPROVALS_MAX}")
    check_checklist(policy.checklist, "checklist")


def check_checklist(items: Sequence[str], field: str) -> None:
    """Raise InvalidArgument unless the items of a checklist are so many different lines of text."""
    if len(items) > CHECKLIST_MAX or len(set(items)) != len(items):
        raise InvalidArgument(f"{field}: {len(items)} items; wanted at most {CHECKLIST_MAX}, each once")
    for item in items:
        if not item or not item.isprintable() or len(item) > TEXT_MAX:
            raise InvalidArgument(f"{field}: {item[:80]!r}; wanted 1 to {TEXT_MAX} printable characters")


def evaluate(
    policy: Policy, version: Version, production: Version | None, *, intact: bool, standing: Standing
) -> list[GateResult]:
    """Return every gate of the policy; `production` is the version that would be displaced, None for none."""
    results = [_metric(threshold, version.metrics.get(threshold.metric)) for threshold in policy.thresholds]
    if policy.compatible:
        results.append(_compatible(version, production))
    if policy.parity:
        results.append(_parity(version.parity))
    if policy.intact:
        found = "as registered" if intact else "missing or damaged"
        results.append(GateResult("artifact", "its checksum", found, intact))
    if policy.checklist:
        found = f"not done: {', '.join(standing.missing)}" if standing.missing else "all done"
        results.append(GateResult("checklist", f"all {len(policy.checklist)} items", found, not standing.missing))
    if policy.approvals:
        results.append(_approval(policy, standing))
    return results


def require(ref: Ref, results: Sequence[GateResult]) -> None:
    """Raise FailedPrecondition, naming every gate, unless all have passed."""
    failed = [result for result in results if not result.passed]
    if not failed:
        return
    told = "; ".join(f"{gate.name}: wanted {gate.asked}, found {gate.found}" for gate in failed)
    passed = ", ".join(gate.name for gate in results if gate.passed)
    raise FailedPrecondition(
        f"{ref} cannot enter production, {len(failed)} of {len(results)} gates fail: {told}"
        + (f"; passed: {passed}" if passed else "")
    )


def differences(version: Version, other: Version) -> list[str]:
    """Return what a caller of `other` would trip over if `version` answered instead."""
    told = _tensors("input", version.signature.inputs, other.signature.inputs)
    told += [f"input {name} is new" for name in _names(version.signature.inputs) - _names(other.signature.inputs)]
    told += _tensors("output", version.signature.outputs, other.signature.outputs)
    mine = [(feature.name, feature.kind) for feature in version.features]
    theirs = [(feature.name, feature.kind) for feature in other.features]
    if mine != theirs:
        lost = [name for name, _ in theirs if name not in dict(mine)]
        new = [name for name, _ in mine if name not in dict(theirs)]
        kinds = [name for name, kind in theirs if dict(mine).get(name, kind) is not kind]
        parts = ("lost", lost), ("new", new), ("of another kind", kinds)
        found = [f"features {how}: {', '.join(names[:5])}" for how, names in parts if names]
        told += found or ["features are in another order"]
    if list(version.classes) != list(other.classes):
        told.append(f"classes are {', '.join(version.classes[:5])}, were {', '.join(other.classes[:5])}")
    return told


def _metric(threshold: Threshold, found: float | None) -> GateResult:
    name = f"metric {threshold.metric}"
    if found is None:
        return GateResult(name, threshold.asked, "no such metric", False)
    return GateResult(name, threshold.asked, f"{found:g}", threshold.holds(found))


def _compatible(version: Version, production: Version | None) -> GateResult:
    if production is None:
        return GateResult("schema", "that of the version in production", "none is in production", True)
    asked = f"that of {production.ref}"
    told = differences(version, production)
    return GateResult("schema", asked, "; ".join(told) if told else "compatible", not told)


def _parity(parity: Parity | None) -> GateResult:
    if parity is None:
        return GateResult("parity", "a comparison with the original", "none was sent", False)
    found = f"{parity.max_difference:.3g} on {parity.rows} rows, labels differ in {parity.label_mismatch:.2%}"
    passed = parity.rows > 0 and parity.max_difference <= parity.tolerance and parity.label_mismatch == 0
    return GateResult("parity", f"at most {parity.tolerance:g}, and equal labels", found, passed)


def _approval(policy: Policy, standing: Standing) -> GateResult:
    whose = "any identity" if policy.self_approval else "another identity than the requester's"
    found = f"approved by {', '.join(standing.approvers)}" if standing.approvers else "not approved"
    return GateResult("approval", f"{policy.approvals} by {whose}", found, len(standing.approvers) >= policy.approvals)


def _tensors(side: str, mine: Sequence[TensorSpec], theirs: Sequence[TensorSpec]) -> list[str]:
    by_name = {spec.name: spec for spec in mine}
    told = []
    for spec in theirs:
        found = by_name.get(spec.name)
        if found is None:
            told.append(f"{side} {spec.name} is gone")
        elif found.datatype is not spec.datatype:
            told.append(f"{side} {spec.name} is {found.datatype}, was {spec.datatype}")
        elif not _fits(found.shape, spec.shape):
            told.append(f"{side} {spec.name} has shape {list(found.shape)}, had {list(spec.shape)}")
    return told


def _fits(mine: Sequence[int], theirs: Sequence[int]) -> bool:
    """Tell whether a shape takes what the other took: any size (-1) takes every size."""
    return len(mine) == len(theirs) and all(a in (-1, b) for a, b in zip(mine, theirs, strict=True))


def _names(specs: Sequence[TensorSpec]) -> set[str]:
    return {spec.name for spec in specs}
