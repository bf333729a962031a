"""`make bench`: the kernels against their references, then a load test of a server started for it."""

import subprocess
import sys
import tempfile
from pathlib import Path

from serval_client import Client
from serval_client.demo import process, zoo

from serval_benchmarks import kernels

SECONDS = 5
LOADS = (
    ("Predict", 1, 1),
    ("Predict", 1, 64),
    ("ModelInfer", 1, 64),
    ("BatchPredict", 4096, 4),
)


def main() -> int:
    """Run both parts; return the exit code of the first that fails."""
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
