"""`python -m serval_benchmarks.durability`: what it costs that an acknowledged write survives the loss of power.

Two registries side by side, one flushed and one not, written to in turn, so that whatever else the machine does falls
on both. The folder should lie on the disk that is asked about.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from serval_registry.durability import Durability
from serval_registry.model import DataType, Draft, Signature, Stage, TensorSpec
from serval_registry.registry import Registry

SIGNATURE = Signature(
    inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),),
    outputs=(TensorSpec("y", DataType.FP32, (-1, 1)),),
    opsets={"": 18},
)
ARTIFACT_BYTES = 20_000
ROUNDS = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="the price of flushing")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the registries are made (here)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="writes of each kind (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        opened = {kind: Registry.open(Path(folder) / kind, durability=kind) for kind in Durability}
        for name, act in (("register", _register), ("set_stage", _promote)):
            _report(name, _measure(opened, act, args.rounds))
        for registry in opened.values():
            registry.close()


def _register(registry: Registry, number: int) -> None:
    artifact = number.to_bytes(8, "little") * (ARTIFACT_BYTES // 8)
    registry.register(Draft(name="m"), SIGNATURE, artifact, baseline=None, sample=None)


def _promote(registry: Registry, number: int) -> None:
    registry.set_stage("m", number, Stage.PRODUCTION)


def _measure(
    opened: dict[Durability, Registry], act: Callable[[Registry, int], None], rounds: int
) -> dict[Durability, list[float]]:
    seconds: dict[Durability, list[float]] = {kind: [] for kind in opened}
    for number in range(1, rounds + 1):
        order = list(opened) if number % 2 else list(opened)[::-1]
        for kind in order:
            begun = time.perf_counter()
            act(opened[kind], number)
            seconds[kind].append(time.perf_counter() - begun)
    return seconds


def _report(name: str, seconds: dict[Durability, list[float]]) -> None:
    for kind, times in seconds.items():
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"{name:10} {kind:8} {middle * 1e3:7.2f} ms (quartiles {low * 1e3:.2f} to {high * 1e3:.2f})")
    pairs = zip(seconds[Durability.DISK], seconds[Durability.PROCESS], strict=True)
    low, middle, high = statistics.quantiles([disk / process for disk, process in pairs], n=4)
    print(f"{name:10} ratio    {middle:7.2f}    (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
