"""Names and versions in order: found as in a sorted list."""

import tempfile
from bisect import bisect_left
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_registry.mirror import keys
from serval_registry.mirror.files import Draft, Files
from serval_registry.mirror.keys import Keys

NAMES = st.from_regex(r"[A-Ca-c][a-c.-]{0,2}", fullmatch=True)
KEYS = st.tuples(NAMES, st.integers(1, 2**62))


@settings(max_examples=100, deadline=None)
@given(st.sets(KEYS | st.tuples(NAMES, st.integers(1, 4)), max_size=30), st.lists(KEYS, max_size=5), st.randoms())
def test_keys_are_found_as_in_a_sorted_list(
    held: set[tuple[str, int]], others: list[tuple[str, int]], random: Random
) -> None:
    rows = sorted(held)
    random.shuffle(rows)
    wanted = sorted(rows)
    with tempfile.TemporaryDirectory() as folder:
        draft = Draft(Path(folder))
        columns = {
            "name": pa.array([name for name, _ in rows], pa.string()),
            "version": pa.array([version for _, version in rows], pa.int64()),
        }
        order = keys.write(draft, pa.table(columns))
        found = Keys(Files(draft.folder, {}))
        assert [rows[place] for place in order.tolist()] == wanted
        assert len(found) == len(wanted)
        for key in [*wanted, *others, ("", 0), ("~", 1), *((name, 2**62) for name, _ in others)]:
            place = bisect_left(wanted, key)
            assert found.place_of(key) == place
            assert found.place_at(key) == (place if key in held else None)
            begin, end = (bisect_left(wanted, (key[0], version)) for version in (0, 2**63))
            assert found.places_of(key[0]) == range(begin, end)
        assert found.keys_at(np.arange(len(wanted))) == wanted
        numbers = found.names_at(np.arange(len(wanted)))
        names = sorted({name for name, _ in wanted})
        assert [names[number] for number in numbers.tolist()] == [name for name, _ in wanted]
