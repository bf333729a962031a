import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import constants, fields, table

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)


class NaiveTable:
    """RFC 7541, 4, told with a list."""

    def __init__(self):
        self.entries, self.max_size = [], constants.DEFAULT_HEADER_TABLE_SIZE

    def insert(self, name, value):
        self.entries.insert(0, (name, value))
        self.shrink()

    def shrink(self):
        while self.size() > self.max_size:
            self.entries.pop()

    def size(self):
        return sum(len(name) + len(value) + 32 for name, value in self.entries)


def texts(tables, c):
    found = []
    for index in range(1, table.size_of_index_space(tables, c) + 1):
        entry = tables.entries[table.place_of(tables, c, index)]
        at, name, value = int(entry["at"]), int(entry["name_size"]), int(entry["value_size"])
        text = tables.octets[at : at + name + value].tobytes()
        found.append((text[:name], text[name:]))
    return found


def insert(tables, c, name, value):
    text = np.frombuffer(bytearray(b"__" + name + value), np.uint8)
    table.insert(tables, c, text, 2, len(name), len(value), fields.OTHER, 0, fields.UNKNOWN)


SIZES = st.one_of(st.integers(0, 60), st.integers(0, 2200), st.sampled_from([4063, 4064, 4065]))
STEPS = st.one_of(st.tuples(st.just("insert"), SIZES, SIZES), st.tuples(st.just("resize"), st.integers(0, 4096)))


@pytest.mark.slow
@COMPILES
@given(st.lists(STEPS, max_size=60))
def test_a_table_behaves_as_the_list_of_the_rfc(steps):
    tables, naive = table.allocate(2), NaiveTable()
    insert(tables, 0, b"first", b"connection")
    for number, (step, *sizes) in enumerate(steps):
        if step == "resize":
            naive.max_size = sizes[0]
            naive.shrink()
            table.resize(tables, 1, sizes[0])
        else:
            name, value = (bytes([48 + (number + place) % 64]) * size for place, size in enumerate(sizes))
            naive.insert(name, value)
            insert(tables, 1, name, value)
        assert texts(tables, 1) == [*constants.STATIC_TABLE, *naive.entries]
        assert tables.rows[1]["size"] == naive.size()
    assert texts(tables, 0) == [*constants.STATIC_TABLE, (b"first", b"connection")]


@pytest.mark.parametrize("largest", [40, 700, 1400, 2100, 4064])
def test_no_entry_is_overwritten_while_the_rings_go_round(largest):
    tables, naive, rng = table.allocate(2), NaiveTable(), np.random.default_rng(largest)
    for size in rng.integers(0, largest + 1, 300).tolist():
        text = rng.bytes(size)
        naive.insert(text[: size // 3], text[size // 3 :])
        insert(tables, 1, text[: size // 3], text[size // 3 :])
        assert texts(tables, 1)[constants.STATIC_TABLE_SIZE :] == naive.entries


def test_a_full_table_of_the_smallest_entries():
    tables = table.allocate(1)
    for _ in range(300):
        insert(tables, 0, b"", b"")
    assert tables.rows[0]["count"] == tables.rows[0]["slots"] == 128


def test_reset_forgets_one_connection():
    tables = table.allocate(2)
    for c in (0, 1):
        insert(tables, c, b"name", b"value")
        assert table.acknowledge_limit(tables, c, 100)
    table.reset(tables, 0)
    assert texts(tables, 0) == list(constants.STATIC_TABLE)
    assert texts(tables, 1)[-1] == (b"name", b"value")
    assert tables.rows["limit"].tolist() == [4096, 100]


def test_static_entries_mean_what_their_text_means():
    tables = table.allocate(1)
    for index, (name, value) in enumerate(constants.STATIC_TABLE, 1):
        text = np.frombuffer(bytearray(name + value), np.uint8)
        meaning = fields.meaning_of(text, 0, len(name))
        detail = fields.detail_of(meaning, tables.paths, text, len(name), len(value))
        assert (tables.entries[index]["meaning"], tables.entries[index]["detail"]) == (meaning, detail)


@pytest.mark.parametrize(("connections", "size"), [(0, 4096), (1, -1)])
def test_allocation_names_what_is_wrong(connections, size):
    with pytest.raises(ValueError, match="connections"):
        table.allocate(connections, header_table_size=size)
