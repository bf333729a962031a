"""What rows a question is about, as LanceDB's typed expressions: a value never becomes part of a query's text."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce

from serval_registry.errors import InvalidArgument
from serval_registry.lance import Expr, col, lit
from serval_registry.model import Ref, Stage

# Between the tags of a row; check_tags keeps it out of them.
SEPARATOR = "\x1f"
TAGS_MAX = 100
TAG_TEXT_MAX = 256


# A condition: typed, or SQL whose every text was quoted by LanceDB.
Where = Expr | str


def all_of(*conditions: Where | None) -> Where:
    """Return the conjunction of the conditions that are given; there must be one."""
    return reduce(both, (condition for condition in conditions if condition is not None))


def both(left: Where, right: Where) -> Where:
    """Return the conjunction, typed where both are."""
    if isinstance(left, Expr) and isinstance(right, Expr):
        return left & right
    return f"({sql(left)}) and ({sql(right)})"


def either(left: Where, right: Where) -> Where:
    """Return the disjunction, typed where both are."""
    if isinstance(left, Expr) and isinstance(right, Expr):
        return left | right
    return f"({sql(left)}) or ({sql(right)})"


def negation(condition: Where) -> Where:
    """Return what is true where the condition is false."""
    return ~condition if isinstance(condition, Expr) else f"not ({condition})"


def sql(condition: Where) -> str:
    """Return a condition as SQL."""
    return condition.to_sql() if isinstance(condition, Expr) else condition


def maybe_all_of(*conditions: Where | None) -> Where | None:
    """Return the conjunction of the conditions that are given, None for none."""
    given = [condition for condition in conditions if condition is not None]
    return all_of(*given) if given else None


def alive() -> Expr:
    """Rows that have not been deleted."""
    return col("deleted") == lit(False)


def named(name: str) -> Expr:
    """Every version of a name."""
    return col("name") == lit(name)


def requested(name: str, request_id: str) -> Expr:
    """What a request has made under a name."""
    return named(name) & (col("request_id") == lit(request_id))


def sourced(source: str) -> Expr:
    """Versions whose vector comes from here."""
    return col("vector_source") == lit(source)


def exactly(name: str, *versions: int) -> Expr:
    """These versions of a name."""
    return named(name) & col("version").isin(list(versions))


def by_name(ref: Ref) -> Expr | None:
    """The one version that a number, an alias or a label names; None for references that name none so."""
    if ref.version is not None:
        return exactly(ref.name, ref.version)
    if ref.alias is not None:
        return aliased(ref.alias)
    return labelled(ref.label) if ref.label is not None else None


def after(name: str, version: int) -> Expr:
    """What follows a version in the order of name, then version."""
    return (col("name") > lit(name)) | ((col("name") == lit(name)) & (col("version") > lit(version)))


def staged(stages: Collection[Stage]) -> Expr | None:
    """Versions in one of these stages; None, which is no condition, for no stages."""
    return col("stage").isin([str(stage) for stage in stages]) if stages else None


def tagged(tags: Mapping[str, str]) -> Where | None:
    """Versions that have all of these tags; None, which is no condition, for no tags."""
    check_tags(tags)
    return all_of(*(tag_is(key, value) for key, value in tags.items())) if tags else None


def tag_is(key: str, value: str) -> str:
    """Versions with this tag, in the form that LanceDB's index on lists answers; the text is quoted by LanceDB."""
    return f"array_has(tag_list, {lit(f'{key}={value}').to_sql()})"


def tag_columns(tags: Mapping[str, str]) -> dict[str, object]:
    """Return the tags as columns of a row."""
    # LanceDB's UPDATE takes no empty list, and a null would be neither equal nor unequal; no tag is an empty text.
    return {"tags": tag_line(tags), "tag_list": [f"{key}={value}" for key, value in sorted(tags.items())] or [""]}


def aliased(alias: str) -> Expr:
    """The version that an alias leads to."""
    return col("aliases").contains(lit(_mark(alias)))


def labelled(label: str) -> Expr:
    """The version with a semantic version as its label."""
    return col("label") == lit(label)


def child_of(name: str, version: int) -> Expr:
    """Versions that have this one as a parent."""
    return col("parents").contains(lit(_mark(f"{name}@{version}")))


def numbered(number: int) -> Expr:
    """The entry of the journal with this number."""
    return col("number") == lit(number)


def acted(*actions: str) -> Expr:
    """Entries of the journal that tell of these actions."""
    return col("action").isin([str(action) for action in actions])


def line(words: Iterable[str]) -> str:
    """Return words as they are stored: each between two separators, in order."""
    found = sorted(set(words))
    return SEPARATOR + "".join(f"{word}{SEPARATOR}" for word in found) if found else ""


def read_line(stored: str) -> list[str]:
    """Return the words that `line` wrote."""
    return [word for word in stored.split(SEPARATOR) if word]


def tag_line(tags: Mapping[str, str]) -> str:
    """Return the tags as they are stored: each "key=value" between two separators."""
    return SEPARATOR + "".join(f"{key}={value}{SEPARATOR}" for key, value in sorted(tags.items()))


def read_tag_line(line: str) -> dict[str, str]:
    """Return the tags that `tag_line` wrote."""
    return dict(entry.split("=", 1) for entry in line[1:-1].split(SEPARATOR)) if len(line) > 1 else {}


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise InvalidArgument unless every tag can be stored and found again."""
    if len(tags) > TAGS_MAX:
        raise InvalidArgument(f"tags: {len(tags)} tags; wanted at most {TAGS_MAX}")
    for key, value in tags.items():
        if not key or "=" in key or not (key + value).isprintable() or max(len(key), len(value)) > TAG_TEXT_MAX:
            raise InvalidArgument(
                f"tags: {key[:80]!r} with value {value[:80]!r}; wanted a key without '=', and printable key and value "
                f"of at most {TAG_TEXT_MAX} characters"
            )


def _mark(word: str) -> str:
    return f"{SEPARATOR}{word}{SEPARATOR}"


def digest_is(sha256: str) -> Expr:
    """Return the row of `baselines` with this digest."""
    return col("sha256") == lit(sha256)


def sql_time(moment: datetime) -> str:
    """Return a moment as an expression for `update_sql`."""
    micros = (moment - datetime.fromtimestamp(0, moment.tzinfo)) // timedelta(microseconds=1)
    return f"cast({micros} as timestamp)"
