"""`serval demo`: the whole product in one run, on real data, with its claims checked.

Needs the extras `server`, `train` and `bench`, and tritonclient.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from serval_client import Client
from serval_client.demo import checks as report
from serval_client.demo import process, steps, zoo


def run(seconds: float = 5.0, keep: str | None = None) -> int:
    """Run every step; return 0 where all checks hold and 1 where one does not.

    seconds: length of the load test. keep: a folder to keep the registry in; None: a temporary one.
    """
    started = time.monotonic()
    checks = report.Checks()
    with ExitStack() as stack:
        data = Path(keep) if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serval-demo-")))
        data.mkdir(parents=True, exist_ok=True)
        report.title("starting a server (the first start ever compiles its kernels)")
        address = stack.enter_context(process.running(data))
        report.say(f"  serving on {address}")
        client = stack.enter_context(Client(address))
        _steps(address, client, seconds, checks)
    report.title(f"what this showed, in {time.monotonic() - started:.0f} s")
    _closing_table(checks)
    return 0 if checks.hold else 1


def _steps(address: str, client: Client, seconds: float, checks: report.Checks) -> None:
    splits = zoo.load()
    report.title("fitting models, exporting them to ONNX, comparing, registering")
    entries = steps.register(client, zoo.fit(splits), checks)
    report.title("predicting held-out rows through two kinds of clients")
    steps.predict_with_stubs(address, entries, checks)
    steps.predict_with_triton(address, entries, checks)
    report.title("promoting a version while it is being called")
    steps.promote_under_traffic(address, client, splits["cancer"], checks)
    report.title("looking for drift")
    steps.watch_drift(client, splits["cancer"], checks)
    report.title("searching")
    steps.search(client, checks)
    report.title(f"loading the server for {seconds:g} s")
    steps.load(address, seconds, checks)


def _closing_table(checks: report.Checks) -> None:
    what = max(len(check.what) for check in checks.rows)
    figure = max(len(check.figure) for check in checks.rows)
    for check in checks.rows:
        report.say(f"  {'ok    ' if check.holds else 'FAILED'}  {check.what:<{what}}  {check.figure:<{figure}}")
        report.say(f"          {check.meaning}")
    report.say("\nall checks hold" if checks.hold else "\nsome checks FAILED")
