"""How much an attack slows a good peer on another connection: a table of all attacks, or of those that are named.

    python tests/transport/slowdown.py ["PING flood" ...]

The attacker and the good peer are processes of their own. Each figure is the median of ROUNDS rounds: the good peer's
median beside the attacker, over that beside a process that only keeps the attacker's processor busy, as attackers do.
"""

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

ROUNDS = 3
SECONDS = 0.8

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
conftest = __import__("conftest")
test_attacks = __import__("test_attacks")


def beside(processor: int, work: Callable[[], object]) -> None:
    """Do something again and again on one processor, until killed."""
    os.sched_setaffinity(0, {processor})
    while True:
        work()


@contextmanager
def busy(work: Callable[[], object]):
    """Have another process do something again and again."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=beside, args=(max(os.sched_getaffinity(0)), work), daemon=True)
    process.start()
    try:
        time.sleep(SECONDS / 4)
        yield
    finally:
        process.kill()
        process.join()


def median_of_calls(target) -> float:
    """Make calls, twenty a connection, and return the median of their times in milliseconds."""
    healthy = test_attacks.Healthy(target)
    healthy.start()
    time.sleep(SECONDS)
    return healthy.stop() * 1e3


def main(names: list[str]) -> None:
    chosen = [attack for attack in test_attacks.ATTACKS if not names or attack.name in names]
    if not chosen:
        sys.exit(f"no such attack; there are: {', '.join(attack.name for attack in test_attacks.ATTACKS)}")
    with conftest.STARTERS[conftest.CHOSEN[0]](Path(mkdtemp())) as target:
        for attack in chosen:
            usual, attacked = [], []
            for _ in range(ROUNDS):
                with busy(lambda: None):
                    usual.append(median_of_calls(target))
                with busy(lambda attack=attack: attack.run(target)):
                    attacked.append(median_of_calls(target))
            before, after = statistics.median(usual), statistics.median(attacked)
            print(f"{after / before:6.2f} x  {before:.2f} -> {after:.2f} ms  {attack.name}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
