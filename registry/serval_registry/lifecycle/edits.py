"""What may be changed of a version beside its stage: aliases, tags, lineage."""

from collections.abc import Collection, Mapping
from typing import Any

from serval_registry import filters
from serval_registry.errors import NotFound
from serval_registry.lifecycle import lineage, names
from serval_registry.lifecycle.desk import Desk
from serval_registry.lifecycle.entries import Action, Actor
from serval_registry.lifecycle.lineage import Graph
from serval_registry.model import Lineage, Ref, Version, check_alias

GENERATIONS_MAX = 100


class Edits:
    """Changes of single versions; each is one commit, announced in the journal."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def set_alias(self, name: str, alias: str, version: int | None, actor: Actor) -> int:
        """Have "name@alias" lead to a version, or with None nowhere; return where it led before, 0 for nowhere."""
        check_alias(alias)
        with self._desk.writing() as change:
            wanted = None if version is None else self._desk.find(Ref(name, version=version))
            before = self._led_to(name, alias)
            if wanted is None and before is None:
                raise NotFound(f"alias: {name} has no alias {alias!r}")
            if wanted is not None and before is not None and wanted.version == before["version"]:
                return wanted.version
            led = before["version"] if before else 0
            said = {"alias": alias, "from": led, "to": version or 0}
            change.announce(actor, Action.ALIAS, Ref(name, version=version or led), said)
            gains = None if wanted is None else {"version": wanted.version, "aliases": filters.line(wanted.aliases)}
            names.move_alias(
                self._desk.versions,
                name,
                alias,
                gains=gains,
                loses=before,
                revision=change.revision,
                moment=change.moment,
            )
            return int(led)

    def set_tags(self, ref: Ref, add: Mapping[str, str], remove: Collection[str], actor: Actor) -> Version:
        """Add tags to a version, in place of those of the same key, and remove others."""
        with self._desk.writing() as change:
            found = self._desk.find(ref)
            names.check_known(remove, sorted(found.tags), "remove")
            tags = {key: value for key, value in found.tags.items() if key not in remove} | dict(add)
            filters.check_tags(tags)
            if tags == found.tags:
                return found
            change.announce(actor, Action.TAGS, found.ref, {"add": dict(add), "remove": sorted(remove)})
            values = {**filters.tag_columns(tags), "revision": change.revision, "updated": change.moment}
            self._desk.versions.update(filters.exactly(found.name, found.version), values)
        return self._desk.find(found.ref)

    def set_lineage(self, ref: Ref, said: Lineage, actor: Actor) -> Version:
        """Say where a version comes from, in place of what was said. FailedPrecondition for a cycle."""
        lineage.check(said)
        with self._desk.writing() as change:
            found = self._desk.find(ref)
            pinned = lineage.pinned(said, lambda parent: self._desk.find(parent).ref)
            lineage.refuse_cycle(self._desk.versions, found.ref, pinned.parents)
            change.announce(actor, Action.LINEAGE, found.ref, lineage.to_json(pinned))
            values = {**lineage.columns(pinned), "revision": change.revision, "updated": change.moment}
            self._desk.versions.update(filters.exactly(found.name, found.version), values)
        return self._desk.find(found.ref)

    def lineage(self, ref: Ref, *, up: int = GENERATIONS_MAX, down: int = GENERATIONS_MAX) -> Graph:
        """Return the ancestors and descendants of a version, so many generations of each."""
        return lineage.walk(self._desk.versions, self._desk.find(ref).ref, up=up, down=down)

    def _led_to(self, name: str, alias: str) -> dict[str, Any] | None:
        where = filters.all_of(filters.named(name), filters.alive(), filters.aliased(alias))
        found = self._desk.versions.select(where, ["version", "aliases"], limit=1)
        return found[0] if found else None
