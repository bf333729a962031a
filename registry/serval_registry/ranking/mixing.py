"""Several parts in one search: each finds its own, all say what they think of all of these, and their mean ranks them.

The similarity of a version is the sum over the parts of weight x similarity, the weights scaled so that they add up to
1. A part that can say nothing of a version counts as 0 for it. Of each part CANDIDATES_PER_HIT times as many versions
are looked at as are asked for, at least CANDIDATES_LEAST and at most K_MAX: what is in the middle of every part's list,
beyond these, is not found.
"""

import math
from collections.abc import Sequence

from serval_registry.errors import InvalidArgument
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.part import Found, Part, Said
from serval_registry.search import K_MAX, Hit, HitPart, SearchPath, SearchResult
from serval_registry.spaces.living import Stamp, stamp

CANDIDATES_PER_HIT = 5
CANDIDATES_LEAST = 50

WEIGHT = 1.0
WEIGHT_MAX = 1000.0
PARTS_MAX = 8


def mixed(parts: Sequence[tuple[Part, float]], conditions: Conditions, k: int) -> SearchResult:
    """Return the k versions of largest mean similarity; `parts` come with their weights, above 0."""
    if not 1 <= k <= K_MAX:
        raise InvalidArgument(f"k: {k}; wanted 1 to {K_MAX}")
    total = math.fsum(weight for _, weight in parts)
    shares = [(part, weight / total) for part, weight in parts]
    if len(shares) == 1:
        part = shares[0][0]
        alone = part.nearest(conditions, k)
        hits = [Hit(version, said.similarity, (_told(part, 1.0, said),)) for version, said in alone.hits]
        return _result(hits, [alone])
    count = min(K_MAX, max(CANDIDATES_PER_HIT * k, CANDIDATES_LEAST))
    found = [part.nearest(conditions, count) for part, _ in shares]
    examples = {part.without for part, _ in shares}
    known = {stamp(version): version for one in found for version, _ in one.hits}
    versions = [version for owner, version in known.items() if owner not in examples]
    said = [_all_said(part, one, versions) for (part, _), one in zip(shares, found, strict=True)]
    hits = [
        _hit(version, [(part, weight, each[place]) for (part, weight), each in zip(shares, said, strict=True)])
        for place, version in enumerate(versions)
    ]
    hits.sort(key=lambda hit: (-hit.similarity, hit.version.name, hit.version.version))
    return _result(hits[:k], found)


def check_weight(weight: float, field: str) -> float:
    """Return a weight; InvalidArgument unless it is above 0 and at most WEIGHT_MAX."""
    if not 0.0 < weight <= WEIGHT_MAX:
        raise InvalidArgument(f"{field}: {weight}; wanted above 0 and at most {WEIGHT_MAX:g}")
    return weight


def _all_said(part: Part, found: Found, versions: Sequence[Version]) -> list[Said | None]:
    """Return what a part says of every version, asking it only for those that it has not found itself."""
    known: dict[Stamp, Said | None] = {stamp(version): said for version, said in found.hits}
    others = [version for version in versions if stamp(version) not in known]
    known |= {stamp(version): said for version, said in zip(others, part.of(others), strict=True)}
    return [known[stamp(version)] for version in versions]


def _hit(version: Version, parts: Sequence[tuple[Part, float, Said | None]]) -> Hit:
    told = tuple(_told(part, weight, said) for part, weight, said in parts)
    return Hit(version, math.fsum(part.similarity * part.weight for part in told), told)


def _told(part: Part, weight: float, said: Said | None) -> HitPart:
    if said is None:
        return HitPart(part.name, 0.0, weight, absent=True)
    return HitPart(part.name, said.similarity, weight, agreement=said.agreement)


def _result(hits: list[Hit], found: Sequence[Found]) -> SearchResult:
    path = next((one.path for one in found if one.path is not SearchPath.EXACT), SearchPath.EXACT)
    coverage = tuple(one.coverage for one in found if one.coverage is not None)
    recalls = [one.recall for one in found]
    recall = math.nan if any(math.isnan(one) for one in recalls) else min(recalls)
    return SearchResult(hits, path, max(one.indexed_rows for one in found), recall, coverage)
