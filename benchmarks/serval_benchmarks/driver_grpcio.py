"""The load by grpc.aio with bytes, the fastest client that grpcio has: some 10,000 to 18,000 calls a second."""

import asyncio
import itertools
import math
import selectors
import time
from array import array
from collections.abc import Callable

import grpc

from serval_benchmarks import load as loads
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import (
    BAD_REPLY,
    CONNECT_SECONDS,
    NANOSECONDS,
    NOT_SENT,
    UNANSWERED,
    Closed,
    Load,
    Open,
    Progress,
    Tally,
)
from serval_benchmarks.replies import BadReplyError

CHANNEL_OPTIONS = (
    # Else channels to one address share one connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

# Counted into the histograms together: one by one would cost each call a microsecond.
_FLUSH_AT = 4096
_TELL_EVERY = 64
_BURST = 64


def run(load: Load, begin: Callable[[], int], progress: Progress) -> Tally:
    """Connect, ask `begin` for the time to start (of time.perf_counter_ns), and run the load.

    Raise BenchmarkError where the server does not answer within 10 s.
    """
    with asyncio.Runner(loop_factory=event_loop) as runner:
        return runner.run(_drive(load, begin, progress))


async def _drive(load: Load, begin: Callable[[], int], progress: Progress) -> Tally:
    run = Run(load, progress)
    try:
        await run.connect()
        return await run.drive(begin())
    except TimeoutError as error:
        raise BenchmarkError(f"--server: nothing answers at {load.server} within {CONNECT_SECONDS:g} s") from error
    finally:
        await run.close()


class Run:
    """One load while it runs, on the event loop of its process."""

    def __init__(self, load: Load, progress: Progress) -> None:
        """Take the load; `progress` is told the number of successful calls so far, now and then."""
        self._load = load
        self._progress = progress
        self._channels: list[grpc.aio.Channel] = []
        self._calls: list[grpc.aio.UnaryUnaryMultiCallable] = []
        self._tally = Tally()
        self._latencies = array("q")
        self._lateness = array("q")
        self._succeeded = 0
        self._begin = self._end = 0

    async def connect(self) -> None:
        """Open every connection; raise TimeoutError where the server does not answer within 10 s."""
        for _ in range(self._load.connections):
            channel = grpc.aio.insecure_channel(self._load.server, options=CHANNEL_OPTIONS)
            self._channels.append(channel)
            self._calls.append(channel.unary_unary(self._load.path))
        ready = asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        await asyncio.wait_for(ready, CONNECT_SECONDS)

    async def close(self) -> None:
        """Close every connection."""
        for channel in self._channels:
            await channel.close()

    async def drive(self, start: int) -> Tally:
        """Run warm-up and load from the time `start` of time.perf_counter_ns; return what came of it."""
        self._begin = start + int(self._load.warmup * NANOSECONDS)
        self._end = self._begin + int(self._load.seconds * NANOSECONDS)
        watch = asyncio.create_task(self._watch_cpu())
        await _sleep_until(start)
        match self._load.pace:
            case Closed() as pace:
                await self._closed(pace)
            case Open() as pace:
                await self._open(pace, start)
        await watch
        self._flush()
        return self._tally

    async def _closed(self, pace: Closed) -> None:
        await self._settle([asyncio.create_task(self._keep_calling(first)) for first in range(pace.in_flight)])

    async def _keep_calling(self, first: int) -> None:
        # Neighbours begin at different requests, so that all are under way at once.
        call = self._calls[first % len(self._calls)]
        for index in itertools.count(first):
            due = time.perf_counter_ns()
            if due >= self._end:
                return
            await self._call(call, index, due)

    async def _open(self, pace: Open, start: int) -> None:
        waiting: set[asyncio.Task[None]] = set()
        gap = NANOSECONDS / pace.rate
        first = start + int(pace.phase * NANOSECONDS)
        whole = max(math.ceil((self._end - first) / gap), 0)
        given_up = self._end + int(loads.DRAIN_SECONDS * NANOSECONDS)
        index = 0
        while index < whole:
            await _sleep_until(first + int(index * gap))
            now = time.perf_counter_ns()
            if now > given_up:
                self._tally.failed(NOT_SENT, f"the client was {loads.DRAIN_SECONDS:g} s late", whole - index)
                break
            # All that are due go at once, but no more than a burst before replies are looked at again.
            due_now = min(math.floor((now - first) / gap) + 1, whole, index + _BURST)
            for call_index in range(index, due_now):
                self._send(pace, call_index, first + int(call_index * gap), waiting)
            index = max(index, due_now)
        await self._settle(list(waiting))

    def _send(self, pace: Open, index: int, due: int, waiting: set[asyncio.Task[None]]) -> None:
        if len(waiting) >= pace.outstanding:
            self._tally.failed(NOT_SENT, f"{pace.outstanding} calls were waiting already")
            return
        task = asyncio.create_task(self._call(self._calls[index % len(self._calls)], index, due))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    async def _call(self, call: grpc.aio.UnaryUnaryMultiCallable, index: int, due: int) -> None:
        which = index % len(self._load.requests)
        sent = time.perf_counter_ns()
        try:
            reply = await call(self._load.requests[which])
        except grpc.aio.AioRpcError as error:
            self._tally.failed(error.code().name, error.details() or "")
            return
        now = time.perf_counter_ns()
        # A reply of the length already checked is taken; one of another length (another version of the model may have
        # taken over) has to prove itself.
        if len(reply) != self._load.reply_sizes[which]:
            try:
                self._load.check(reply)
            except BadReplyError as error:
                self._tally.failed(BAD_REPLY, str(error))
                return
        self._count(due, sent, now)

    def _count(self, due: int, sent: int, now: int) -> None:
        self._succeeded += 1
        if self._begin <= now < self._end:
            self._tally.replies += 1
        if self._begin <= due:
            self._latencies.append(now - due)
            self._lateness.append(sent - due)
        if self._succeeded % _TELL_EVERY == 0:
            self._progress(self._succeeded)
        if len(self._latencies) >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        self._tally.latency.record_array(self._latencies)
        self._tally.lateness.record_array(self._lateness)
        self._latencies, self._lateness = array("q"), array("q")

    async def _settle(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for the tasks until the drain is over, and count those that are left as unanswered."""
        if not tasks:
            return
        left = max(self._end - time.perf_counter_ns(), 0) / NANOSECONDS
        done, unanswered = await asyncio.wait(tasks, timeout=left + loads.DRAIN_SECONDS)
        for task in unanswered:
            task.cancel()
        if unanswered:
            message = f"no reply until {loads.DRAIN_SECONDS:g} s after the last call"
            self._tally.failed(UNANSWERED, message, len(unanswered))
            await asyncio.wait(unanswered)
        for task in done:
            task.result()

    async def _watch_cpu(self) -> None:
        """Measure the share of one core that this process takes in the measured time."""
        await _sleep_until(self._begin)
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        await _sleep_until(self._end)
        self._tally.client_cpu = (time.process_time_ns() - cpu) / (time.perf_counter_ns() - wall)


async def _sleep_until(due: int) -> None:
    """Return at `due`; at once, but after letting others run, when that is past."""
    await asyncio.sleep(max(due - time.perf_counter_ns(), 0) / NANOSECONDS)


def event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose timers keep microseconds: epoll, the default, rounds every wait up to whole ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
