"""What models may take of the loop's time: short runs, until those of a turn have taken long together."""

from typing import Final

from serval_server.batching.estimate import Estimate

# The loop may be kept from its sockets this long by one model's run, and by those of a turn before its last. It costs
# others no more than a turn that is full costs them; a thread costs the model about a quarter of this.
SHORT_RUN_NS: Final = 1_000_000
# A run in the loop that takes longer was not what was expected, unless the machine stood still meanwhile.
LONG_RUN_NS: Final = 20_000_000


class TurnTime:
    """What the models of a method have taken of a turn of the loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.spent_ns = 0

    def begin(self) -> None:
        """Begin the next turn."""
        self.turn += 1
        self.spent_ns = 0

    def is_over(self) -> bool:
        """Tell whether calls of other models have waited long enough for those before them."""
        return self.spent_ns >= SHORT_RUN_NS


class Budget:
    """The time of one model in the loop; workers' threads may call `learn` and `settle`, all else the loop's."""

    def __init__(self, estimate: Estimate, max_rows: int, time: TurnTime) -> None:
        """`max_rows`: of a run in the loop, 0 for a model that is to have none there."""
        self.learn = estimate.add
        self._estimate = estimate
        self._max_rows = self._allowed = max_rows
        self._time = time
        self._turn = 0
        self._spent = 0  # nanoseconds of this turn

    def enter(self, turn: int) -> None:
        """Begin a turn, or go on with it."""
        if turn != self._turn:
            self._turn, self._spent = turn, 0

    def spend(self, duration_ns: int) -> bool:
        """Take in what a run in the loop has taken of it; tell whether that is so much that it is to be doubted."""
        self._spent += duration_ns
        self._time.spent_ns += duration_ns
        return duration_ns > LONG_RUN_NS

    def doubt(self) -> None:
        """Have no more runs in the loop."""
        self._max_rows = 0

    def settle(self, used_ns: int) -> bool:
        """Have runs in the loop again where that was all the processor's time that one in doubt takes; tell whether."""
        is_short = used_ns <= LONG_RUN_NS
        if is_short:
            self._max_rows = self._allowed
        return is_short

    def has_time(self) -> bool:
        """Tell whether the loop can wait for another run in this turn."""
        return self._spent < SHORT_RUN_NS

    def has_to_wait(self) -> bool:
        """Tell whether the runs of other models have taken this turn's time."""
        return self._time.is_over()

    def is_short(self, rows: int) -> bool:
        """Tell whether the loop can wait for a run of so many rows."""
        return rows <= self._max_rows and self._estimate.is_short(rows, SHORT_RUN_NS)
