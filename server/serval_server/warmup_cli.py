"""`serval warmup`: compile the kernels where nobody waits for them.

The entry point `warmup` of the group `serval.commands` leads here; `cli` tells what the `serval` command asks of it.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from serval_server import warmup
from serval_server.signals import holding_interrupts

PROCESSES_MAX = 3  # the longest step takes two thirds of what all others take together

EPILOG = """
Models are not touched: this is about serval's own code. The first `serval serve` on a machine compiles it too, and is
ready a minute later than all others. Run this first where that minute counts, as when an image is built:

  RUN pip install 'serval-inference[server]'
  ENV SERVAL_CACHE_DIR=/opt/serval/cache
  RUN serval warmup

The result is kept in the first of $NUMBA_CACHE_DIR/serval, $SERVAL_CACHE_DIR, $XDG_CACHE_HOME/serval and
~/.cache/serval. The server must see the same folder; to read it is enough. What it lacks there it compiles itself:

  after an upgrade of serval, numba, numpy or Python    run it again
  on a processor of another kind                        compile for one that both are, in both places, with
                                                        NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=+avx2,+fma

A second run compiles nothing, and says so.
"""


class _Warmup:
    """The command `warmup`."""

    help = "compile serval's kernels, so that the first start is as quick as any"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add what help there is; the command has no options."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG

    def run(self, args: argparse.Namespace) -> int:  # noqa: ARG002
        """Compile or load everything, one line a step; return the exit code."""
        logging.basicConfig(format="%(levelname)s: %(message)s")
        begun = time.perf_counter()
        processes = min(PROCESSES_MAX, len(os.sched_getaffinity(0)))
        print(f"{len(warmup.STEPS)} parts in {processes} processes; what is missing takes some minutes", flush=True)
        outcomes = []
        try:
            for number, (name, outcome) in enumerate(_in_processes(processes), 1):
                print(f"{number}/{len(warmup.STEPS)}  {name:<18}{outcome}", flush=True)
                outcomes.append(outcome)
        except BrokenProcessPool:
            print("serval warmup: a process that compiled was killed; was there memory enough?", file=sys.stderr)
            return 1
        print(_summary(warmup.total(outcomes)._replace(seconds=time.perf_counter() - begun)))
        return 0


WARMUP = _Warmup()


def _in_processes(count: int) -> Iterator[tuple[str, warmup.Outcome]]:
    """Run the steps beside each other; give the name and the outcome of each when it is done.

    Ctrl-C, which a terminal sends to all of them, is the parent's to hear: it ends the others.
    """
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        try:
            with holding_interrupts():
                # The last are the longest: begun first, so that nobody waits for one alone.
                running = {pool.submit(step.run): step.name for step in reversed(warmup.STEPS)}
            for done in as_completed(running):
                yield running[done], done.result()
        except BaseException:
            for process in list((pool._processes or {}).values()):  # from Python 3.14 on it is terminate_workers
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _summary(whole: warmup.Outcome) -> str:
    from serval_kernels import cache

    what = f"ready: {whole}" if whole.compiled else f"nothing to compile: {whole}"
    return f"{what}, kept in {cache.location()}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser("serval warmup", description=WARMUP.help)
    WARMUP.configure(parser)
    sys.exit(WARMUP.run(parser.parse_args()))
