"""Semantic versions: the labels that people give versions beside their numbers. See semver.org, 2.0.0."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import total_ordering
from typing import Self

from serval_registry.errors import InvalidArgument

LABEL_MAX = 64

_NUMBER = r"(?:0|[1-9][0-9]{0,9})"
_BEFORE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
PATTERN = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_BEFORE}(?:\.{_BEFORE})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


class Bump(StrEnum):
    """Which number of the highest label grows by one."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class SemanticVersion:
    """A semantic version. Compared by precedence (semver.org, 11): build metadata does not count."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str, field_name: str = "label") -> Self:
        """Read "1.4.0", "1.4.0-rc.1" or "1.4.0+linux"; raise InvalidArgument naming `field_name`."""
        found = PATTERN.fullmatch(text) if len(text) <= LABEL_MAX else None
        if found is None:
            raise InvalidArgument(
                f"{field_name}: {text[:80]!r} is no semantic version of at most {LABEL_MAX} characters; wanted "
                "MAJOR.MINOR.PATCH, such as 1.4.0 or 1.4.0-rc.1"
            )
        major, minor, patch, prerelease, build = found.groups()
        return cls(
            int(major), int(minor), int(patch), tuple((prerelease or "").split(".")) if prerelease else (), build or ""
        )

    def bumped(self, bump: Bump) -> "SemanticVersion":
        """Return the next release: 1.4.2 becomes 2.0.0, 1.5.0 or 1.4.3; 1.4.2-rc.1 by a patch becomes 1.4.2."""
        if bump is Bump.MAJOR:
            return SemanticVersion(self.major + 1, 0, 0)
        if bump is Bump.MINOR:
            return SemanticVersion(self.major, self.minor + 1, 0)
        return SemanticVersion(self.major, self.minor, self.patch + (not self.prerelease))

    @property
    def precedence(self) -> tuple[object, ...]:
        """A key to sort by: releases after their pre-releases, numeric identifiers before words."""
        ranks = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.prerelease)
        return self.major, self.minor, self.patch, not self.prerelease, ranks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SemanticVersion) and self.precedence == other.precedence

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, SemanticVersion):
            return NotImplemented
        return self.precedence < other.precedence

    def __hash__(self) -> int:
        return hash(self.precedence)

    def __str__(self) -> str:
        prerelease = "-" + ".".join(self.prerelease) if self.prerelease else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{'+' + self.build if self.build else ''}"
