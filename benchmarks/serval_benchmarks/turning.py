"""A server that looks at rows in turns and notes what it answered meanwhile: what monitoring costs, in one process.

Two servers side by side differ by more than by what is compared: by where their memory lies, and by what the one still
does while the other is asked. Here one server has a model's rows observed for a fraction of a second, and then not.
"""

import argparse
import json
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from serval_registry.errors import NotFound
from serval_server.app import App
from serval_server.config import Options, Transport
from serval_server.engine.loaded import LoadedModel

from serval_benchmarks.servers import Served, serving

TURN_SECONDS = 0.12
_PAUSE_SECONDS = 0.02  # until what is under way has been answered
_PATIENCE_SECONDS = 0.1
_RESAMPLES = 2000
_ORDERS = ((True, False, False, True), (False, True, True, False))  # so that no slow change of the machine counts
_FILE = "turns.jsonl"


class Turns(NamedTuple):
    """What was found in four turns: calls/s with rows observed over those without, and processor time a call."""

    calls: float
    cpu: float


def turning(data: Path, cores: frozenset[int], transport: str, model: str) -> AbstractContextManager[Served]:
    """Start such a server on the folder `data`; it begins when `model` is there and called."""
    return serving(data, cores, program=[sys.executable, "-m", __name__, transport, model])


def found(data: Path) -> list[Turns]:
    """Return what such a server has found, but for its first turns and its last, when the calls begin and end."""
    return [Turns(**json.loads(line)) for line in (data / _FILE).read_text().splitlines()[1:-1]]


def median_within(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval in which the median lies with 95 %, by bootstrap."""
    drawn = random.Random(1)
    medians = sorted(statistics.median(drawn.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return medians[_RESAMPLES // 40], medians[-_RESAMPLES // 40]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m serval_benchmarks.turning", description=__doc__)
    parser.add_argument("transport", choices=[transport.value for transport in Transport])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    chosen = parser.parse_args(arguments)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    app = App(Options(data=chosen.data, listen=chosen.listen, transport=Transport(chosen.transport)))
    app.start()
    print(f"serving on {chosen.listen.rpartition(':')[0]}:{app.port}", flush=True)
    try:
        model = _called(app, chosen.model, ended)
        with (chosen.data / _FILE).open("w") as file:
            while model is not None and not ended.is_set():
                print(json.dumps(_four_turns(model)._asdict()), file=file, flush=True)
    finally:
        app.stop()
    return 0


def _called(app: App, name: str, ended: threading.Event) -> LoadedModel | None:
    """Wait until a model is there, and called without end; None where the server is to end before."""
    before = None
    while not ended.wait(_PATIENCE_SECONDS):
        try:
            model = app.router.route(name, "")
        except NotFound:
            continue
        now = _count(model)
        if before is not None and now > before:
            return model
        before = now
    return None


def _four_turns(model: LoadedModel) -> Turns:
    observer = model.observer
    calls, cpu = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    for observed in random.choice(_ORDERS):
        model.observer = observer if observed else None
        time.sleep(_PAUSE_SECONDS)
        if observer is not None:
            observer.snapshot()  # what the pause has left is not this turn's
        answered, used, began = _count(model), time.process_time(), time.perf_counter()
        time.sleep(TURN_SECONDS)
        if observed and observer is not None:
            observer.snapshot()  # what a turn has left is looked at in it
        more = max(_count(model) - answered, 1)
        calls[observed] += more / (time.perf_counter() - began)
        cpu[observed] += (time.process_time() - used) / more
    model.observer = observer
    return Turns(calls[True] / calls[False], cpu[True] / cpu[False])


def _count(model: LoadedModel) -> int:
    model.statistics.settle()
    return int(model.statistics.success.count)


if __name__ == "__main__":
    sys.exit(main())
