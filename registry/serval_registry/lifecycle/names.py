"""Labels and aliases: the names that people give versions."""

from collections.abc import Collection
from datetime import datetime

from serval_registry import filters
from serval_registry.errors import AlreadyExists, InvalidArgument
from serval_registry.lance import col, lit
from serval_registry.lifecycle.semver import Bump, SemanticVersion
from serval_registry.model import Draft
from serval_registry.tables import Row, Table


def choose_label(table: Table, draft: Draft) -> str:
    """Return the label of a version that is about to be registered, empty for none. The writers' lock is held.

    AlreadyExists where one of the name, deleted ones included, has a label of the same precedence.
    """
    if not draft.label and not draft.bump:
        return ""
    rows = table.select(filters.named(draft.name) & (col("label") != lit("")), ["label", "version"])
    taken = {SemanticVersion.parse(row["label"]): row["version"] for row in rows}
    if draft.bump:
        return str(max(taken, default=SemanticVersion(0, 0, 0)).bumped(Bump(draft.bump)))
    wanted = SemanticVersion.parse(draft.label)
    if wanted in taken:
        raise AlreadyExists(f"label: {wanted} is that of {draft.name}@{taken[wanted]}; wanted one that is not taken")
    return str(wanted)


def check_label(draft: Draft) -> None:
    """Raise InvalidArgument unless a draft's label can be given: a semantic version, or a bump, or neither."""
    if draft.label and draft.bump:
        raise InvalidArgument(f"label, bump: got {draft.label[:80]!r} and {draft.bump!r}; wanted one of them")
    if draft.label:
        SemanticVersion.parse(draft.label)
    if draft.bump and draft.bump not in set(Bump):
        raise InvalidArgument(f"bump: {draft.bump[:80]!r}; wanted one of {', '.join(Bump)}")


def move_alias(
    table: Table, name: str, alias: str, *, gains: Row | None, loses: Row | None, revision: int, moment: datetime
) -> None:
    """Write, in one commit, that an alias leads to `gains` and to `loses` no more: rows with version and aliases."""
    after: dict[int, str] = {}
    if loses is not None:
        after[loses["version"]] = filters.line(set(filters.read_line(loses["aliases"])) - {alias})
    if gains is not None:
        after[gains["version"]] = filters.line({*filters.read_line(gains["aliases"]), alias})
    where = filters.exactly(name, *after)
    if len(after) == 1:
        table.update(where, {"aliases": next(iter(after.values())), "revision": revision, "updated": moment})
        return
    # As in `stages`: the comparison, false or true, picks the first or the second text. Aliases are letters, digits,
    # '_' and '-', so that nothing in them can end the literal.
    (first, one), (_, other) = after.items()
    which = f"cast(version = {first:d} as bigint) + 1"
    expressions = {
        "aliases": f"split_part('{other}|{one}', '|', {which})",
        "revision": f"{revision:d}",
        "updated": filters.sql_time(moment),
    }
    table.update_sql(where, expressions)


def check_known(requested: Collection[str], known: Collection[str], field: str) -> None:
    """Raise InvalidArgument naming what of `requested` is not known."""
    unknown = [item for item in requested if item not in known]
    if unknown:
        raise InvalidArgument(f"{field}: {unknown[0][:80]!r} is none of: {', '.join(known) or '(none)'}")
