"""A line on stderr for what takes longer than two seconds, and only where a person watches."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

PATIENCE_SECONDS = 2.0
REFRESH_SECONDS = 0.2
BAR = 30


class Progress:
    """Shows how far something is, or how long it has lasted, while the `with` block runs.

    Call it with what is done and what there is in all; `show` makes a number of those readable.
    """

    def __init__(
        self,
        label: str,
        show: Callable[[int], str] = str,
        *,
        stream: TextIO | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._label = label
        self._show = show
        self._stream = stream or sys.stderr
        self._patience = patience
        self._done = self._total = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, done: int, total: int) -> None:
        """Take how much is done of how much."""
        self._done, self._total = done, total

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._thread = threading.Thread(target=self._draw, args=(time.monotonic(),), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def line(self, seconds: float) -> str:
        """Return what is shown after `seconds`."""
        if not self._total:
            return f"{self._label} {seconds:.0f} s"
        share = self._done / self._total
        filled = round(BAR * share)
        bar = "#" * filled + "." * (BAR - filled)
        return f"{self._label} [{bar}] {share:4.0%} {self._show(self._done)} of {self._show(self._total)}"

    def _draw(self, start: float) -> None:
        if self._ended.wait(self._patience):
            return
        while True:
            self._stream.write(f"\r\x1b[K{self.line(time.monotonic() - start)}")
            self._stream.flush()
            if self._ended.wait(REFRESH_SECONDS):
                break
        self._stream.write("\r\x1b[K")
        self._stream.flush()
