"""Whether a sample can be trusted: what is wrong with it, cell by cell and row by row, and a score from 0 to 1.

Rules. The score is the product of its parts, each a share of what is right, raised to a weight: what spoils data
counts in full, what may be in its nature counts for little.

    completeness   cells that are not missing                                                        1
    validity       cells of the wanted type, finite, in range and of known categories; a column
                   that is not there has none                                                        1
    uniqueness     rows that do not repeat an earlier one, NaN equal to NaN                          1
    separation     rows that do not come in the reference, such as the training rows of a test set   1
    typicality     cells that are no outliers, see `profile`                                         0.25
    variety        columns that are not constant                                                     0.25
    balance        entropy of the label's classes, as a share of the most it could be                0.25

A part that cannot be measured is left out, and the check behind it told as unchecked where it was asked for. Range and
categories are those of a baseline; without one they are not held against anything. A row is what it has in all columns
that both tables have, and which are equal is the subject of `equal_rows`. A label of floats of which any is no whole
number is a measure and has no classes: each of its values would be one, and they would be balanced whatever they are.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.errors import InvalidArgument
from serval_registry.model import Array, Feature, FeatureKind, Table

from serval_server.monitor.equal_rows import row_keys
from serval_server.monitor.profile import (
    ColumnProfile,
    Foreign,
    category,
    is_time,
    kind_of,
    missing_of,
    numbers_of,
    outliers,
    present_of,
    profile_column,
)

SCORE_LEAST = 0.9
CLASS_SHARE_LEAST = 0.1
LABEL_GAP_MOST = 0.1
NUMBERS_FROM = 0.9

NO_CLASSES = "the label has no value, and so no classes"
_MEASURE = "the label holds numbers that are not whole: it is a measure, and has no classes"

WEIGHTS: Mapping[str, float] = {
    "completeness": 1.0,
    "validity": 1.0,
    "uniqueness": 1.0,
    "separation": 1.0,
    "typicality": 0.25,
    "variety": 0.25,
    "balance": 0.25,
}

# A part is left out where this check could not be made.
_CHECK_OF: Mapping[str, str] = {
    "completeness": "missing",
    "uniqueness": "duplicate_row",
    "separation": "shared_row",
    "typicality": "outlier",
    "variety": "constant",
}
_OF_COLUMNS = ("missing", "infinite", "duplicate_row", "outlier", "constant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One thing that is wrong: which check found it, in which column ("" for whole rows), and in how many cells.

    `row` is the first such row, from 0; -1 where it is of no row.
    """

    check: str
    column: str = ""
    count: int
    share: float
    row: int = -1
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What came of all checks; parts in the order of `WEIGHTS`, issues with the largest share first."""

    rows: int
    score: float
    parts: Mapping[str, float]
    columns: tuple[ColumnProfile, ...]
    issues: tuple[Issue, ...]
    unchecked: Mapping[str, str] = field(default_factory=dict)  # why a check could not be made


def check_quality(
    table: Table,
    *,
    features: Sequence[Feature] = (),
    baseline: Baseline | None = None,
    label: str = "",
    reference: Table | None = None,
    foreign: Mapping[str, Foreign] | None = None,
) -> QualityReport:
    """Check a sample of at least 1 row; `profile` says what columns are.

    features: the columns that are wanted; without them all are taken as they are. baseline: ranges and categories.
    label: the column of classes. reference: a table that no row should come from, such as that of training. foreign:
    the sample's columns that cannot be looked at, by name, each of which violates the schema; there may be no others.
    Raises InvalidArgument for no rows, columns of different lengths, and an unknown label.
    """
    foreign = foreign or {}
    rows = _rows_of(table, foreign, label)
    wanted = {feature.name: feature.kind for feature in features}
    known = {} if baseline is None else {base.feature: base for base in baseline.features}
    profiles = tuple(profile_column(name, column) for name, column in table.items())
    issues = [*_schema([*table, *foreign], rows, wanted, label), *_foreign(foreign), *_repeats(table)]
    for profile in profiles:
        column = table[profile.name]
        issues += [*_cells(profile, column), *_types(profile.name, column, wanted.get(profile.name))]
        if profile.name in known and known[profile.name].kind is profile.kind:
            issues += _against(known[profile.name], column)
    unchecked = _unchecked(table, label, reference)
    classes = _class_shares(table[label]) if label and "class_imbalance" not in unchecked else None
    if classes is not None:
        issues += imbalance(label, classes, rows)
    if reference is not None:
        issues += _split(table, reference, label, unchecked)
    parts = parts_of(issues, profiles, rows, {*wanted, *foreign}, classes)
    if reference is None:
        del parts["separation"]
    parts = {name: part for name, part in parts.items() if _CHECK_OF.get(name) not in unchecked}
    return replace(report_on(rows, profiles, issues, parts), unchecked=unchecked)


def report_on(
    rows: int, profiles: tuple[ColumnProfile, ...], issues: list[Issue], parts: Mapping[str, float]
) -> QualityReport:
    """Return the report on what was found, with its score."""
    score = math.prod(part ** WEIGHTS[name] for name, part in parts.items())
    if score < SCORE_LEAST:
        detail = f"the score is {score:.3f}; wanted at least {SCORE_LEAST:g}"
        issues.append(Issue(check="score", count=rows, share=1.0 - score, detail=detail))
    issues.sort(key=lambda issue: (-issue.share, issue.check, issue.column))
    return QualityReport(rows=rows, score=score, parts=parts, columns=profiles, issues=tuple(issues))


def _rows_of(table: Table, foreign: Mapping[str, Foreign], label: str) -> int:
    lengths = {len(column) for column in table.values()} | {column.rows for column in foreign.values()}
    if len(lengths) != 1 or not max(lengths):
        raise InvalidArgument(f"sample: columns of {sorted(lengths)} rows; wanted one length, 1 or more")
    if label and label not in table:
        names = ", ".join(sorted(table)[:20]) or "none that can be looked at"
        raise InvalidArgument(f"label: no column {label!r}; the sample has {names}")
    return max(lengths)


def _unchecked(table: Table, label: str, reference: Table | None) -> dict[str, str]:
    """Return the checks that were asked for and cannot be made, and why."""
    found = {} if table else dict.fromkeys(_OF_COLUMNS, "the sample has no column that can be looked at")
    if label and _is_measure(table[label]):
        found["class_imbalance"] = _MEASURE
    elif label and missing_of(table[label]).all():
        found["class_imbalance"] = NO_CLASSES
    if reference is None:
        return found
    both = [name for name in table if name in reference]
    if not both:
        found["shared_row"] = "the sample and the reference have no column in common that can be looked at"
    elif not len(reference[both[0]]):
        found["shared_row"] = "the reference has no rows"
    if label in both:
        sides = table[label], reference[label]
        if any(_is_measure(side) for side in sides):
            found["label_gap"] = _MEASURE
        elif any(missing_of(side).all() for side in sides):
            found["label_gap"] = "the label has no value in the sample or in the reference"
    return found


def _schema(came: Collection[str], rows: int, wanted: Mapping[str, FeatureKind], label: str) -> list[Issue]:
    if not wanted:
        return []
    lacking = [
        Issue(check="missing_column", column=name, count=rows, share=1.0, detail="the column is not in the sample")
        for name in wanted
        if name not in came
    ]
    return lacking + [
        Issue(check="extra_column", column=name, count=rows, share=0.0, detail="no feature of the model")
        for name in came
        if name not in wanted and name != label
    ]


def _foreign(foreign: Mapping[str, Foreign]) -> list[Issue]:
    wanted = "wanted numbers, texts, booleans or times"
    return [
        Issue(check="type", column=name, count=column.rows, share=1.0, row=0, detail=f"{column.kind:.40}; {wanted}")
        for name, column in foreign.items()
    ]


def _cells(profile: ColumnProfile, column: Array) -> list[Issue]:
    """Return what is wrong with a column by itself."""
    found = []
    if profile.missing:
        found.append(_issue("missing", profile.name, missing_of(column), "no value"))
    if profile.constant:
        found.append(constant(profile, profile.frequent[0][0] if profile.frequent else "nothing"))
    if profile.infinite:
        found.append(_issue("infinite", profile.name, np.isinf(numbers_of(column)), "infinite"))
    if profile.outliers:
        far = outliers(numbers_of(column))
        such = column[far.argmax()]
        shown = str(such) if is_time(column) else f"{such:g}"
        found.append(_issue("outlier", profile.name, far, f"far from the median, such as {shown}"))
    return found


def constant(profile: ColumnProfile, value: str) -> Issue:
    """Return what is told of a column whose values are all `value`, or that has none; counts rows that have one."""
    count, every = profile.rows, "every row"
    if 0 < profile.present < profile.rows:
        count, every = profile.present, "every row that has a value"
    share, detail = count / profile.rows, f"{every} holds {value:.40}"
    return Issue(check="constant", column=profile.name, count=count, share=share, detail=detail)


def _types(name: str, column: Array, wanted: FeatureKind | None) -> list[Issue]:
    """Return the cells of another type than is wanted; where nothing is, the texts among what are numbers otherwise."""
    came = kind_of(column)
    if (wanted is came and not is_time(column)) or (wanted is None and came is not FeatureKind.TEXT):
        return []
    missing = missing_of(column)
    if came is FeatureKind.TEXT and wanted in (None, FeatureKind.NUMERIC):
        wrong = ~missing & ~np.array([value is None or _is_number(value) for value in column])
        numbers = 1.0 - wrong.sum() / max((~missing).sum(), 1)
        if wanted is None and not NUMBERS_FROM <= numbers < 1:
            return []
        wrong = wrong if wrong.any() or wanted is None else ~missing  # texts that read as numbers are texts
    else:
        wrong = ~missing
    if not wrong.any():
        return []
    first = column[wrong.argmax()]
    return [_issue("type", name, wrong, f"{first!r:.40} is no {wanted or FeatureKind.NUMERIC} value")]


def _against(base: FeatureBaseline, column: Array) -> list[Issue]:
    """Return the cells that the baseline has nothing like."""
    if base.kind is FeatureKind.NUMERIC:
        if not base.finite or is_time(column):
            return []
        values = np.asarray(column)
        with np.errstate(over="ignore"):
            low, high = np.array([base.minimum, base.maximum]).astype(
                values.dtype if values.dtype.kind == "f" else float
            )
        outside = np.isfinite(numbers_of(column)) & ((values < low) | (values > high))
        return [_issue("out_of_range", base.feature, outside, f"outside {low:g} to {high:g}")] if outside.any() else []
    if base.other_count:
        return []
    listed = set(base.categories)
    names = np.array([None if v is None else category(v) for v in column.tolist()], object)
    unseen = np.array([name is not None and name not in listed for name in names], bool)
    if not unseen.any():
        return []
    return [_issue("unseen_category", base.feature, unseen, f"such as {names[unseen.argmax()]!r:.40}")]


def _repeats(table: Table) -> list[Issue]:
    if not table:
        return []
    keys = row_keys([table])[0]
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), bool)
    again[first] = False
    return [_issue("duplicate_row", "", again, "equal in every column to an earlier row")] if again.any() else []


def imbalance(label: str, shares: Mapping[str, float], rows: int) -> list[Issue]:
    """Return what is wrong with the shares of the classes."""
    if not shares:
        return []
    name, least = min(shares.items(), key=lambda item: item[1])
    if len(shares) == 1:
        return [Issue(check="class_imbalance", column=label, count=rows, share=1.0, detail=f"all are {name:.40}")]
    if least * len(shares) >= CLASS_SHARE_LEAST * 2:
        return []
    count = round(least * rows)
    detail = f"class {name:.40} has {100 * least:.2g} % of the rows, of {len(shares)} classes"
    return [Issue(check="class_imbalance", column=label, count=count, share=1.0 - least * len(shares), detail=detail)]


def _split(table: Table, reference: Table, label: str, unchecked: Collection[str]) -> list[Issue]:
    """Return what is wrong with a pair of tables that should be alike and have no row in common."""
    both = [name for name in table if name in reference]
    found = [
        Issue(check="schema_gap", column=name, count=1, share=0.0, detail=f"only in {where}")
        for side, other, where in ((table, reference, "the sample"), (reference, table, "the reference"))
        for name in side
        if name not in other
    ]
    for name in both:
        came, was = _held(table[name]), _held(reference[name])
        if came != was:
            detail = f"{came} values in the sample, {was} in the reference"
            found.append(Issue(check="schema_gap", column=name, count=1, share=0.0, detail=detail))
    if "shared_row" not in unchecked:
        here, there = row_keys([{name: side[name] for name in both} for side in (table, reference)])
        shared = np.isin(here, there)
        if shared.any():
            found.append(_issue("shared_row", "", shared, "comes in the reference too"))
    if label in both and "label_gap" not in unchecked:
        old, new = _class_shares(reference[label]), _class_shares(table[label])
        gap = sum(abs(old.get(name, 0.0) - new.get(name, 0.0)) for name in old | new) / 2
        if gap > LABEL_GAP_MOST:
            detail = f"its classes have other shares than in the reference, by {100 * gap:.0f} % of the rows"
            found.append(
                Issue(check="label_gap", column=label, count=round(gap * len(table[label])), share=gap, detail=detail)
            )
    return found


def _held(column: Array) -> str:
    return "time" if is_time(column) else str(kind_of(column))


def parts_of(
    issues: Sequence[Issue],
    profiles: Sequence[ColumnProfile],
    rows: int,
    wanted: Collection[str],
    classes: Mapping[str, float] | None,
) -> dict[str, float]:
    """Return the parts of the score; without classes there is no balance."""

    def share(*checks: str, of: int) -> float:
        return 1.0 - min(sum(issue.count for issue in issues if issue.check in checks) / max(of, 1), 1.0)

    columns = len(profiles) + len(set(wanted) - {profile.name for profile in profiles})
    cells = rows * columns
    invalid = ("type", "infinite", "out_of_range", "unseen_category", "missing_column")
    parts = {
        "completeness": share("missing", of=rows * len(profiles)),
        "validity": share(*invalid, of=cells),
        "uniqueness": share("duplicate_row", of=rows),
        "separation": share("shared_row", of=rows),
        "typicality": share("outlier", of=cells),
        "variety": 1.0 - sum(profile.constant for profile in profiles) / max(len(profiles), 1),
    }
    return parts if classes is None else parts | {"balance": _evenness(classes)}


def _evenness(classes: Mapping[str, float]) -> float:
    """Return the entropy of the classes divided by that of as many even ones; 0 for a single class."""
    shares = [share for share in classes.values() if share > 0]
    if len(shares) < 2:
        return 0.0
    return min(-sum(s * math.log(s) for s in shares) / math.log(len(shares)), 1.0)  # which rounding may pass


def _class_shares(column: Array) -> dict[str, float]:
    names, counts = np.unique([category(value) for value in present_of(column).tolist()], return_counts=True)
    return {str(name): float(count / counts.sum()) for name, count in zip(names, counts, strict=True)}


def _is_measure(column: Array) -> bool:
    if column.dtype.kind != "f":
        return False
    finite = column[np.isfinite(column)]
    return bool((finite != np.trunc(finite)).any())


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return not isinstance(value, str) or (value.isascii() and "_" not in value)  # Python reads more than files mean


def _issue(check: str, column: str, cells: npt.NDArray[np.bool_], detail: str) -> Issue:
    count = int(cells.sum())
    return Issue(
        check=check, column=column, count=count, share=count / len(cells), row=int(cells.argmax()), detail=detail
    )
