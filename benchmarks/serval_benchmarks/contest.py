"""One answer, computed by a kernel and by a peer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Contest:
    """One answer, computed by a kernel and by a peer; they agree within `tolerance`, relative and absolute."""

    name: str
    data: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    tolerance: float = 1e-6
    agrees: bool = True  # False where the peer's answer is another: then only the time is compared
