"""Sketches held against slow and obvious ones."""

import ctypes
import math
import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serval_kernels.drift import labels, sketch
from serval_kernels.drift.binning import count_bins, quantile_edges

EDGES = [
    np.array([]),
    np.array([0.0]),
    np.array([-3.0, -1e-30, 0.0, 5e-324, 1.0, 1.5]),
    np.array([-1e308, 1e308]),
    np.array([1e9, np.nextafter(1e9, 2e9), 1e9 + 1]),
    np.geomspace(1e-6, 1e6, 200),
    sketch.LOG_LINEAR,
]


def naive_counts(values, edges):
    counts = np.zeros(len(edges) + 1, np.int64)
    for value in values.astype(np.float64):
        if not np.isnan(value):
            counts[sum(edge < value for edge in edges)] += 1
    return counts


def columns(dtype):
    elements = st.one_of(
        st.floats(width=np.dtype(dtype).itemsize * 8),
        st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]),
    )
    return hnp.arrays(dtype, st.tuples(st.integers(0, 30), st.just(len(EDGES))), elements=elements)


def observed(rows, plan):
    found = sketch.new_sketch(plan)
    sketch.observe(np.ascontiguousarray(rows), 0, plan, found)
    return found


PLAN = sketch.new_plan(EDGES)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.one_of(columns(np.float32), columns(np.float64)))
def test_a_sketch_is_what_the_naive_one_is(rows):
    found = observed(rows, PLAN)
    for column, edges in enumerate(EDGES[:-1]):
        values = rows[:, column]
        assert (found.counts[column, : len(edges) + 1] == naive_counts(values, edges)).all()
        assert not found.counts[column, len(edges) + 1 :].any()
        finite = values[np.isfinite(values)].astype(np.float64)
        assert found.tally[column].tolist() == [finite.size, np.isnan(values).sum(), np.isinf(values).sum()]
        moments = sketch.moments_of(found, column)
        if finite.size:
            assert (moments.minimum, moments.maximum) == (finite.min(), finite.max())
        if finite.size and np.abs(finite).max() < 1e150:
            scale = np.abs(finite).max()
            least = math.ulp(0.0)  # half of which may be rounded to all or to nothing
            assert moments.mean == pytest.approx(finite.mean(), rel=1e-9, abs=max(1e-12 * scale, least))
            tolerance = max(1e-12 * scale * scale, 4 * least)
            assert moments.variance == pytest.approx(finite.var(), rel=1e-9, abs=tolerance)
    assert (found.counts[-1] == count_bins(rows[:, -1], sketch.LOG_LINEAR)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("others", [0.0, 0.02])
@pytest.mark.parametrize(("height", "width"), [(128, 32), (129, 33), (300, 70), (1, 65), (257, 1)])
def test_many_rows_and_columns(dtype, others, height, width):
    rng = np.random.default_rng(height)
    rows = (rng.normal(size=(height, width)) * 10.0 ** rng.integers(-12, 12, (1, width))).astype(dtype)
    odd = rng.random((height, width)) < others
    rows[odd] = rng.choice([np.nan, np.inf, -np.inf], odd.sum())
    edges = [EDGES[column % len(EDGES)] for column in range(width)]
    found = observed(rows, sketch.new_plan(edges))
    for column, of_column in enumerate(edges):
        values = rows[:, column].astype(np.float64)
        assert (found.counts[column, : len(of_column) + 1] == count_bins(values, of_column)).all()
        finite = values[np.isfinite(values)]
        assert found.tally[column].tolist() == [finite.size, np.isnan(values).sum(), np.isinf(values).sum()]
        moments = sketch.moments_of(found, column)
        assert (moments.minimum, moments.maximum) == (finite.min(initial=np.inf), finite.max(initial=-np.inf))
        if finite.size:
            scale = np.abs(finite).max()
            least = math.ulp(0.0)  # half of which may be rounded to all or to nothing
            assert moments.mean == pytest.approx(finite.mean(), rel=1e-9, abs=max(1e-12 * scale, least))
            assert moments.variance == pytest.approx(finite.var(), rel=1e-9, abs=1e-12 * scale * scale)


LAID = {
    "rows": lambda rows: rows,
    "columns": np.asfortranarray,
    "within wider rows": lambda rows: np.pad(rows, ((0, 0), (3, 5)))[:, 3:-5],
    "every second": lambda rows: np.repeat(np.repeat(rows, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": lambda rows: rows[::-1, ::-1].copy()[::-1, ::-1],
    "one row for all": lambda rows: np.broadcast_to(rows[:1], rows.shape),
}


@pytest.mark.parametrize("how", LAID)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (290, 30), (47, 8), (33, 7), (600, 100)])
def test_however_rows_lie_the_same_is_seen(how, height, width):
    rows = np.random.default_rng(height).normal(size=(height, width)).astype(np.float32)
    rows[height // 2, width // 3] = np.nan
    laid = LAID[how](rows)
    plan = sketch.new_plan([EDGES[column % len(EDGES)] for column in range(width)])
    found, expected = sketch.new_sketch(plan), sketch.new_sketch(plan)
    sketch.observe(laid, 0, plan, found)
    for column in range(width):
        sketch.observe(np.array(laid[:, column : column + 1]), column, plan, expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("width", [8, 15, 30, 33])
def test_nothing_is_read_behind_the_last_row(width):
    """What lies there cannot be read at all: the process would end."""
    libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
    height = 4 * page // (4 * width)
    with mmap.mmap(-1, 5 * page) as memory:
        octets = np.frombuffer(memory, np.uint8)
        behind = octets.ctypes.data + 4 * page
        assert libc.mprotect(ctypes.c_void_p(behind), ctypes.c_size_t(page), 0) == 0
        try:
            rows = octets[4 * page - height * width * 4 : 4 * page].view(np.float32).reshape(height, width)
            rows[:] = np.arange(width)
            found = observed(rows, sketch.new_plan([np.array([])] * width))
            assert found.moments[:, sketch.MEAN].tolist() == list(range(width))
        finally:
            libc.mprotect(ctypes.c_void_p(behind), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)
            del octets, rows


@settings(deadline=None, max_examples=50)
@given(columns(np.float32), st.integers(0, 30), st.integers(0, 30))
def test_parts_add_up_in_any_order(rows, first, second):
    first, second = sorted((min(first, len(rows)), min(second, len(rows))))
    whole = observed(rows, PLAN)
    for order in ((0, 1, 2), (2, 0, 1)):
        parts = [observed(part, PLAN) for part in (rows[:first], rows[first:second], rows[second:])]
        total = sketch.new_sketch(PLAN)
        for place in order:
            sketch.merge(total, parts[place])
        assert (total.counts == whole.counts).all()
        assert (total.tally == whole.tally).all()
        assert (total.moments[:, 2:] == whole.moments[:, 2:]).all()
        size = np.nan_to_num(np.abs(whole.moments[:, 2:]).max(axis=1), posinf=0.0)
        assert (np.abs(total.moments[:, 0] - whole.moments[:, 0]) <= 1e-12 * size).all()
        assert (np.abs(total.moments[:, 1] - whole.moments[:, 1]) <= 1e-12 * size**2 * 30).all()


@pytest.mark.parametrize("shape", ["normal", "lognormal", "offset", "ties", "wild"])
def test_quantile_edges_of_many_shapes(shape):
    rng = np.random.default_rng(0)
    draw = {
        "normal": lambda n: rng.normal(size=n),
        "lognormal": lambda n: rng.lognormal(0, 4, n),
        "offset": lambda n: 1e9 + rng.normal(size=n),
        "ties": lambda n: rng.integers(0, 5, n).astype(float),
        "wild": lambda n: rng.standard_cauchy(n),
    }[shape]
    edges = quantile_edges(draw(3000), 256)
    values = draw(2000)
    plan = sketch.new_plan([edges])
    for dtype in (np.float32, np.float64):
        column = values.astype(dtype)
        assert (observed(column[:, None], plan).counts[0, : len(edges) + 1] == count_bins(column, edges)).all()


@pytest.mark.parametrize("count", [1, 15, 16, 17, 33, 271, 272, 287, 288, 289, 600])
@pytest.mark.parametrize("odd", [(), (-1e300, 1e300), (-5e-324, 0.0, 1e-45, 3.5e38)])
def test_values_at_and_beside_as_many_edges_as_are_compared_and_more(count, odd):
    edges = np.union1d(np.sort(np.random.default_rng(count).normal(size=count)), odd)[:count]
    with np.errstate(over="ignore"):
        near = edges.astype(np.float32)
        values = np.concatenate([near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))])
    plan = sketch.new_plan([edges])
    for column in (values, values.astype(np.float64)):
        assert (observed(column[:, None], plan).counts[0, : len(edges) + 1] == naive_counts(column, edges)).all()


def test_the_mean_survives_an_offset_and_many_parts():
    rows = (1e6 + np.random.default_rng(0).normal(size=(20_000, 1))).astype(np.float64)
    plan = sketch.new_plan([np.array([])])
    found = sketch.new_sketch(plan)
    for start in range(0, 20_000, 7):
        sketch.observe(rows[start : start + 7], 0, plan, found)
    moments = sketch.moments_of(found, 0)
    assert moments.mean == pytest.approx(rows.mean(), rel=1e-14)
    assert moments.variance == pytest.approx(rows.var(), rel=1e-9)


def test_huge_numbers_of_both_signs():
    moments = sketch.moments_of(observed(np.array([[1.7e308], [-1.7e308]]), sketch.new_plan([np.array([])])), 0)
    assert (moments.mean, moments.m2) == (0.0, np.inf)


def test_equal_huge_numbers_have_no_variance():
    plan = sketch.new_plan([np.array([0.0])])
    found = observed(np.full((3, 1), 1e200), plan)
    whole = sketch.new_sketch(plan)
    sketch.merge(whole, found)
    for each in (found, whole):
        assert each.moments[0, sketch.MEAN] == 1e200
        assert each.moments[0, sketch.M2] == 0.0


def test_columns_in_the_middle_of_a_sketch():
    plan = sketch.new_plan([np.array([0.5])] * 4)
    found = sketch.new_sketch(plan)
    sketch.observe(np.ones((3, 2), np.float32), 1, plan, found)
    assert found.tally[:, 0].tolist() == [0, 3, 3, 0]
    with pytest.raises(ValueError, match="columns 3 to 5"):
        sketch.observe(np.ones((3, 2), np.float32), 3, plan, found)


def test_wrong_edges_are_refused():
    for edges in ([1.0, 1.0], [2.0, 1.0], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match="edges of column 0"):
            sketch.new_plan([np.array(edges)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_linear_bins_at_their_edges(dtype):
    edges = sketch.LOG_LINEAR
    limits = np.finfo(dtype)
    near = [edges, np.nextafter(edges.astype(dtype), dtype(-np.inf)), np.nextafter(edges.astype(dtype), dtype(np.inf))]
    ends = np.array([0.0, -0.0, limits.smallest_subnormal, -limits.smallest_subnormal, limits.min, limits.max])
    values = np.concatenate([*near, ends]).astype(dtype)
    found = observed(values[:, None], sketch.new_plan([edges]))
    assert (found.counts[0] == np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)).all()


def test_log_linear_quantiles_lie_within_an_eighth():
    values = np.random.default_rng(0).lognormal(0, 3, (50_000, 1))
    plan = sketch.new_plan([sketch.LOG_LINEAR])
    found = observed(values, plan)
    shares = [0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999]
    ends = (values.min(), values.max())
    about = sketch.quantiles(sketch.LOG_LINEAR, found.counts[0], ends, shares)
    assert about == pytest.approx(np.quantile(values, shares), rel=0.125)
    assert np.isnan(sketch.quantiles(sketch.LOG_LINEAR, np.zeros(1025, np.int64), ends, [0.5])).all()
    rows = np.array([[np.inf, np.inf], [np.inf, 2.0], [np.nan, 4.0]])
    odd = observed(rows, sketch.new_plan([sketch.LOG_LINEAR] * 2))
    told = [
        sketch.quantiles(sketch.LOG_LINEAR, odd.counts[c], tuple(odd.moments[c, 2:]), [0.0, 1.0]).tolist()
        for c in (0, 1)
    ]
    assert np.isnan(told[0]).all()
    assert told[1] == [2.0, 4.0]


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=200), st.integers(0, 200))
def test_labels_are_counted(values, cut):
    parts = [np.array(part, np.int64) for part in (values[:cut], values[cut:])]
    tables = [labels.new_labels() for _ in parts]
    for part, table in zip(parts, tables, strict=True):
        labels.count(part, table)
    labels.merge(tables[1], tables[0])
    table = tables[1]
    found = {int(k): int(n) for k, n in zip(table.labels, table.counts, strict=True) if n}
    assert found == {value: values.count(value) for value in set(values)}


def told_apart(table):
    taken = table.counts > 0
    return dict(zip(table.labels[taken].tolist(), table.counts[taken].tolist(), strict=True)), int(table.rest[0])


@given(st.lists(st.integers(-40, 40), max_size=300), st.lists(st.integers(0, 2), min_size=300), st.randoms())
def test_what_is_told_apart_beyond_the_room_follows_from_what_was_counted_alone(values, part_of, random):
    """In one go, or in parts that are counted in another order and merged in any."""
    whole = labels.new_labels(8)
    labels.count(np.array(values, np.int64), whole)
    parts = [labels.new_labels(8) for _ in range(3)]
    shuffled = sorted(zip(values, part_of, strict=False), key=lambda _: random.random())
    for number, part in enumerate(parts):
        labels.count(np.array([value for value, of in shuffled if of == number], np.int64), part)
    random.shuffle(parts)
    for part in parts[1:]:
        labels.merge(parts[0], part)
    kept, others = told_apart(whole)
    assert told_apart(parts[0]) == (kept, others)
    assert len(kept) == min(6, len(set(values)))
    assert all(values.count(value) == count for value, count in kept.items())
    assert sum(kept.values()) + others == len(values)


@pytest.mark.parametrize("room", [0, 1, 2, 12, -4])
def test_a_table_of_labels_has_room_for_a_power_of_two(room):
    with pytest.raises(ValueError, match=f"room: {room}; wanted a power of two"):
        labels.new_labels(room)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_taken_in_from_any_strides(dtype):
    whole = np.random.default_rng(0).normal(size=(1000, 8)).astype(dtype)
    whole[::7, 2] = np.nan
    edges = np.linspace(-2, 2, 33)
    wanted = sketch.new_sketch(plan := sketch.new_plan([edges] * 4))
    sketch.observe(np.ascontiguousarray(whole[::2, ::2]), 0, plan, wanted)
    for rows in (whole[::2, ::2], np.asfortranarray(whole[::2, ::2]), whole[::2, ::2][::-1]):
        found = sketch.new_sketch(plan)
        sketch.observe(rows, 0, plan, found)
        assert (found.counts == wanted.counts).all()
        assert (found.tally == wanted.tally).all()
        np.testing.assert_allclose(found.moments, wanted.moments, rtol=1e-9)


def test_rows_of_another_kind_are_named():
    plan = sketch.new_plan([np.zeros(1)])
    for rows in (np.ones((3, 1), int), np.ones(3, np.float32)):
        with pytest.raises(TypeError, match=r"rows: .*; wanted float32 or float64 of 2"):
            sketch.observe(rows, 0, plan, sketch.new_sketch(plan))
