"""A vectorized method's turn in few entries: what its messages are decoded into, and its answers in one go.

The steps are those of `batch`, `infer_codec`, `predict_codec` and `turn`, in their order; a turn of one call is all
entries, so that here each takes handles instead of arrays.

Who checks what. Each step checks what it is handed, as it does when Python calls it; nothing is looked at here but
whether a group is the expected one. Where its rows go is believed: who calls `expect` keeps that array.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels import rows as observed
from serval_kernels.compile import entry, kernel
from serval_kernels.missing import first_nan
from serval_kernels.wire import batch, infer_codec, layouts, plan, predict_codec, template, turn
from serval_kernels.wire.handle import Handle, handle_of, view_of
from serval_kernels.wire.octets import Octets
from serval_kernels.wire.state import State, state_of

Records = npt.NDArray[Any]
Places = npt.NDArray[np.int64]

# Where the rows of a layout go once decoded: an address and the octets there; `floats` as `gather` has it.
EXPECTED: Final = np.dtype([(name, np.int64) for name in ("layout", "serial", "address", "room", "floats")], align=True)
NOT_GATHERED, GATHERED, WITH_NAN = range(3)

_int64s: Final = view_of(np.dtype(np.int64))
_uint8s: Final = view_of(np.dtype(np.uint8))
_groups, _layouts, _templates = view_of(batch.GROUP), view_of(layouts.LAYOUT), view_of(template.TEMPLATE)
_expected: Final = view_of(EXPECTED)
_outputs: Final = view_of(plan.OUTPUT)


class Method(NamedTuple):
    """What a method keeps: `order` and `groups` of a turn, the others from turn to turn."""

    order: Places
    groups: Records
    layouts: Records
    templates: Records
    expected: Records
    handle: Handle


def new_method(messages: int, groups: int, places: int, senders: int) -> Method:
    """Return the tables of a method for turns of at most `messages` messages from `senders` connections."""
    tables = (
        np.zeros(messages, np.int64),
        batch.new_groups(groups),
        layouts.new_layouts(places),
        template.new_templates(senders),
        np.full(1, -1, np.int64).repeat(len(EXPECTED.names or ())).view(EXPECTED),
    )
    return Method(*tables, handle_of(tables))


def expect(method: Method, layout: int, rows: Octets, floats: int) -> None:
    """Have a group of this layout that is alone in its turn gathered into `rows` at once; the caller keeps these."""
    method.expected[0] = layout, method.layouts[layout]["serial"], rows.ctypes.data, rows.size, floats


def handle_of_plan(prepared: plan.Plan) -> Handle:
    """Return what `answer_infer` and `answer_predict` take for a plan, which is to be kept."""
    return handle_of([prepared.constants, prepared.outputs])


@kernel
def _method_of(m: Handle) -> Method:
    """Return the method whose handle this is. The order is that of `handle_of` in `new_method`."""
    return Method(
        _int64s(m[0, 0], m[0, 1], m[0, 2]),
        _groups(m[1, 0], m[1, 1], m[1, 2]),
        _layouts(m[2, 0], m[2, 1], m[2, 2]),
        _templates(m[3, 0], m[3, 1], m[3, 2]),
        _expected(m[4, 0], m[4, 1], m[4, 2]),
        m,
    )


@kernel
def _plan_of(p: Handle) -> tuple[Octets, Records]:
    """Return the constants and the outputs of a plan. The order is that of `handle_of_plan`."""
    return _uint8s(p[0, 0], p[0, 1], p[0, 2]), _outputs(p[1, 0], p[1, 1], p[1, 2])


@kernel
def _messages(s: State, place: int) -> Records:
    """Return the messages of a method in this turn."""
    return s.messages[place][: s.counts[place]]  # type: ignore[no-any-return]


@kernel
def _gather(octets: Octets, messages: Records, k: Method, group: int, rows: Octets, floats: int) -> bool:
    size = batch.gather(octets, messages, k.order, k.groups, group, rows)
    if floats == 0:
        return False
    found = first_nan(rows[:size].view(np.float32)) if floats == 4 else first_nan(rows[:size].view(np.float64))
    return found >= 0


@kernel
def _gather_expected(octets: Octets, messages: Records, k: Method, groups: int) -> int:
    """Gather the group of a turn that has only this one, where its layout is expected: a turn has one entry less."""
    expected, group = k.expected[0], k.groups[0]
    if groups != 1 or group.layout != expected.layout or group.octets > expected.room:
        return NOT_GATHERED
    if k.layouts[group.layout].serial != expected.serial:
        return NOT_GATHERED
    rows = _uint8s(expected.address, expected.room, 1)
    return WITH_NAN if _gather(octets, messages, k, 0, rows, expected.floats) else GATHERED


@kernel
def decode_infer(h: Handle, m: Handle, place: int, number: int) -> tuple[int, int, int]:
    """Decode the messages of this turn, the `number`-th, as `infer_codec.decode`; tell whether they are GATHERED."""
    s, k = state_of(h), _method_of(m)
    octets, messages = s.pool.octets, _messages(s, place)
    groups, grouped = infer_codec.decode(octets, messages, k.order, k.groups, k.layouts, k.templates, number)
    return groups, grouped, _gather_expected(octets, messages, k, groups)


@kernel
def decode_predict(h: Handle, m: Handle, place: int, number: int) -> tuple[int, int, int]:
    """Decode the messages of this turn, the `number`-th, as `predict_codec.decode`; tell whether they are GATHERED."""
    s, k = state_of(h), _method_of(m)
    octets, messages = s.pool.octets, _messages(s, place)
    groups, grouped = predict_codec.decode(octets, messages, k.order, k.groups, k.layouts, k.templates, number)
    return groups, grouped, _gather_expected(octets, messages, k, groups)


@kernel
def gather(h: Handle, m: Handle, place: int, group: int, rows: Octets, floats: int) -> bool:
    """Copy the rows of a group into `rows`, see `batch.gather`; tell whether a NaN is among them.

    They are looked at as floats of 4 or 8 octets (`floats`), or not at all (0).
    """
    s, k = state_of(h), _method_of(m)
    return _gather(s.pool.octets, _messages(s, place), k, group, rows, floats)


@entry
def answer_infer(
    h: Handle, m: Handle, place: int, group: int, p: Handle, values: Octets, sources: Places, table: observed.Table
) -> int:
    """Answer a group of ModelInfer whose outputs lie in `values`, as its plan lays them out.

    Then append its rows to `table` as `rows.append` does, and return how many there was room for: an entry of its own
    for that takes ten times as long as the copy does.
    """
    s, k, (constants, outputs) = state_of(h), _method_of(m), _plan_of(p)
    octets, messages, calls = s.pool.octets, _messages(s, place), s.calls[place]
    infer_codec.sizes(messages, k.order, k.groups, group, outputs)
    more = turn.begin_answers(h, messages, calls, k.order, k.groups, group)
    infer_codec.encode(octets, messages, k.order, k.groups, group, constants, outputs, values, octets)
    if more:
        turn.end_answers(h, calls, k.order, k.groups, group)
    return observed.lay(sources, table, 0, k.groups[group].rows)


@entry
def answer_predict(
    h: Handle, m: Handle, place: int, group: int, p: Handle, values: Octets, sources: Places, table: observed.Table
) -> int:
    """Answer a group of Predict, and append its rows to `table`, as `answer_infer` does."""
    s, k, (constants, outputs) = state_of(h), _method_of(m), _plan_of(p)
    octets, messages, calls = s.pool.octets, _messages(s, place), s.calls[place]
    predict_codec.sizes(messages, k.order, k.groups, group, outputs, values)
    more = turn.begin_answers(h, messages, calls, k.order, k.groups, group)
    predict_codec.encode(octets, messages, k.order, k.groups, group, constants, outputs, values, octets)
    if more:
        turn.end_answers(h, calls, k.order, k.groups, group)
    return observed.lay(sources, table, 0, k.groups[group].rows)
