"""`make bench`: the kernels against their references, then a load test of a server started for it.

`python -m serval_benchmarks kernels`, `conditions`, `charts`, `registry` and `drift`, with their options, are each
alone.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from serval_client import Client
from serval_client.demo import process, zoo

from serval_benchmarks import charts, conditions, drift_quality, kernels, registry_scale

SECONDS = 5
LOADS = (
    ("Predict", 1, 1),
    ("Predict", 1, 64),
    ("ModelInfer", 1, 64),
    ("BatchPredict", 4096, 4),
)
PARTS = {
    "kernels": kernels.main,
    "registry": registry_scale.main,
    "conditions": conditions.main,
    "charts": charts.main,
    "drift": drift_quality.main,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both parts, or the one that is named; return the exit code of the first that fails."""
    name, *options = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in PARTS:
        return PARTS[name](options)
    if name:
        print(f"python -m serval_benchmarks: {name!r}: wanted nothing, or one of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    code = kernels.main([])
    if code:
        return code
    with tempfile.TemporaryDirectory(prefix="serval-bench-") as folder, process.running(Path(folder)) as address:
        _register(address)
        for method, rows, in_flight in LOADS:
            print(f"\n== {method}, rows a call: {rows}, in flight: {in_flight}", flush=True)
            command = [
                *(process.serval_command(), "bench", "--server", address, "--model", "logistic", "--method", method),
                *("--rows", str(rows), "--in-flight", str(in_flight), "--seconds", str(SECONDS)),
            ]
            code = subprocess.run(command, check=False).returncode
            if code:
                return code
    return 0


def _register(address: str) -> None:
    data = zoo.load()["cancer"]
    entry = zoo.second_logistic(data)
    with Client(address) as client:
        client.register(entry.estimator, "logistic", sample=data.train)


if __name__ == "__main__":
    sys.exit(main())
