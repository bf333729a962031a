"""The buddy allocator, against a list of who holds what."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from serval_kernels.wire import memory
from serval_kernels.wire.memory import NONE, UNIT

ARENA = 2 * UNIT
UNITS = 64
SIZES = st.one_of(
    st.integers(0, 70 * UNIT), st.sampled_from([1, UNIT - 1, UNIT, UNIT + 1, 2 * UNIT, 32 * UNIT, 64 * UNIT])
)


class Takers(RuleBasedStateMachine):
    """Blocks taken and given back in any order; each is filled to its last octet by whoever has it."""

    blocks = Bundle("blocks")

    def __init__(self):
        super().__init__()
        self.pool = memory.new_pool(ARENA, UNITS * UNIT)
        self.pool.octets[:ARENA] = 0xA5
        self.held = {}  # place: size, mark
        self.mark = 0

    @rule(target=blocks, size=SIZES)
    def take(self, size):
        at = memory.take(self.pool, size)
        wanted = memory.block_size(size)
        if at == NONE:
            free = memory.check(self.pool)["free"]
            assert all(units * UNIT < wanted for _, units in free), f"{size}: {free} would have done"
            return None
        assert at >= ARENA
        assert at + wanted <= self.pool.octets.size
        assert (at - ARENA) % wanted == 0
        self.mark = self.mark % 255 + 1
        self.pool.octets[at : at + wanted] = self.mark
        self.held[at] = size, self.mark
        return at

    @rule(at=consumes(blocks), other=st.floats(0, 1))
    def give(self, at, other):
        if at is None:
            return
        size, mark = self.held.pop(at)
        block = memory.block_size(size)
        assert (self.pool.octets[at : at + block] == mark).all()
        # Any size of the same level is the same block.
        memory.give(self.pool, at, block - int(other * (block // 2 - 1)) if block > UNIT else int(other * UNIT))

    @invariant()
    def what_is_held_is_untouched(self):
        for at, (size, mark) in self.held.items():
            assert (self.pool.octets[at : at + memory.block_size(size)] == mark).all()
        assert (self.pool.octets[:ARENA] == 0xA5).all()

    @invariant()
    def everything_is_free_or_held_once(self):
        walked = memory.check(self.pool)
        spans = [(first, units) for first, units in walked["free"]]
        spans += [((at - ARENA) // UNIT, memory.block_size(size) // UNIT) for at, (size, _) in self.held.items()]
        cover = np.zeros(UNITS, int)
        for first, units in spans:
            cover[first : first + units] += 1
        assert (cover == 1).all()
        assert walked["used"] == sum(memory.block_size(size) for size, _ in self.held.values())

    @invariant()
    def buddies_are_joined(self):
        free = set(memory.check(self.pool)["free"])
        assert not any((first ^ units, units) in free for first, units in free if units < UNITS)

    def teardown(self):
        for at, (size, _) in self.held.items():
            memory.give(self.pool, at, size)
        assert memory.check(self.pool) == {"free": [(0, UNITS)], "used": 0}


TestTakers = Takers.TestCase
TestTakers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(("arena", "pool"), [(1, UNIT), (UNIT, 0), (UNIT, UNIT + 1), (UNIT, 3 * UNIT), (0, UNIT // 2)])
def test_sizes_that_do_not_fit_are_refused(arena, pool):
    with pytest.raises(ValueError, match="wanted a multiple"):
        memory.new_pool(arena, pool)


def test_a_pool_of_one_unit():
    pool = memory.new_pool(0, UNIT)
    at = memory.take(pool, 1)
    assert at == 0
    assert memory.take(pool, 1) == NONE
    memory.give(pool, at, 1)
    assert memory.take(pool, UNIT + 1) == NONE
    assert memory.take(pool, UNIT) == 0


def test_a_pool_costs_no_memory_before_it_is_written():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory.new_pool(1 << 20, 1 << 30)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB; the tables are 3 MiB


def test_all_levels_in_turn_come_back_to_one_block():
    pool = memory.new_pool(UNIT, 1 << 20)
    for level in range(9):
        size = UNIT << level
        places = [memory.take(pool, size) for _ in range((1 << 20) // size)]
        assert NONE not in places
        assert len(set(places)) == len(places)
        assert memory.take(pool, 1) == NONE
        for at in places[::2] + places[1::2][::-1]:
            memory.give(pool, at, size)
        assert memory.check(pool) == {"free": [(0, 256)], "used": 0}
