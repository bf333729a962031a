"""Run as a process of its own: register one name, or promote its versions, many times; print what is acknowledged.

usage: register_many.py DIRECTORY register NAME COUNT | promote NAME FIRST STEP COUNT
"""

import sys
from pathlib import Path

from serval_registry.model import DataType, Draft, Signature, Stage, TensorSpec
from serval_registry.registry import Registry

SIGNATURE = Signature(
    inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),),
    outputs=(TensorSpec("y", DataType.FP32, (-1, 1)),),
    opsets={"": 18},
)


def register(registry: Registry, name: str, count: int) -> None:
    for number in range(count):
        artifact = f"{name} {number % 7}".encode() * 100
        version = registry.register(
            Draft(name=name), SIGNATURE, artifact, baseline=(b"baseline %d" % number, number), sample=None
        )
        print(version.version, version.artifact_sha256, number, flush=True)


def promote(registry: Registry, name: str, first: int, step: int, count: int) -> None:
    for number in range(first, first + step * count, step):
        change = registry.set_stage(name, number, Stage.PRODUCTION)
        print(change.version.version, change.archived_version, flush=True)


if __name__ == "__main__":
    directory, what, name, *numbers = sys.argv[1:]
    with Registry.open(Path(directory)) as opened:
        {"register": register, "promote": promote}[what](opened, name, *map(int, numbers))
