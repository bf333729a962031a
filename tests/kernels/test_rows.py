"""Rows are appended as numpy would, as many as there is room for, and not one octet beyond."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from serval_kernels import rows

CANARY = 0xA5
DTYPES = [np.float32, np.float64, np.int64, np.uint8]


@given(
    tensors=st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(0, 5)), max_size=4),
    room=st.integers(0, 20),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=6),
    seed=st.integers(0, 9),
)
def test_rows_are_appended_up_to_the_room(tensors, room, steps, seed):
    random = np.random.default_rng(seed)
    sources = [random.integers(0, 100, (12, width)).astype(dtype) for dtype, width in tensors]
    targets = [np.full((room + 1, width), CANARY, dtype) for dtype, width in tensors]
    places = random.permutation(len(tensors)).tolist()
    table = rows.new_table(targets, places, room)
    addresses = np.array([source.ctypes.data for source in _at(sources, places)], np.int64)
    expected = [[np.zeros((0, width), dtype)] for dtype, width in tensors]
    filled = 0
    for skip, count in steps:
        appended = min(count, room - filled)
        assert rows.append(addresses, table, skip, count) == appended
        filled += appended
        assert table[0].tolist()[:2] == [filled, room]
        for parts, source in zip(expected, sources, strict=True):
            parts.append(source[skip : skip + appended])
    for target, parts in zip(targets, expected, strict=True):
        assert (target[:filled] == np.concatenate(parts)).all()
        assert (target[filled:] == np.array(CANARY).astype(target.dtype)).all()


def test_a_table_without_room_takes_nothing():
    target = np.zeros((3, 2))
    table = rows.new_table([target], [0], 3)
    source = np.ones((2, 2))
    addresses = np.array([source.ctypes.data], np.int64)
    assert rows.append(addresses, table, 0, 2) == 2
    table[0, rows.ROOM] = 0
    assert rows.append(addresses, table, 0, 1) == 0
    assert table[0, rows.FILLED] == 2


def _at(sources, places):
    """Put each source where its target looks for it."""
    found = [None] * len(places)
    for source, place in zip(sources, places, strict=True):
        found[place] = source
    return found
