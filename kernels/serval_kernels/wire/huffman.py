"""Huffman codes of string literals: RFC 7541, 5.2 and appendix B.

The decoder is a state machine that eats an octet a step. A state is a node of the code tree, a place inside a code; an
octet leads to another node and completes no more than two symbols on the way, as no code is shorter than five bits.
What remains at the end must be fewer than eight ones, the beginning of EOS; EOS itself is an error.

Who checks what. The caller has seen to it that [start, end) lies in the source, and that `out` has room from `at` on:
`decoded_bound(n)` octets for the decoder, of which the last is scratch, and `encoded_size` for the encoder.
"""

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire.constants import EOS, HUFFMAN_CODE_LENGTHS
from serval_kernels.wire.octets import Octets, signed

Machine = npt.NDArray[np.uint32]

INVALID = -1

# A step of the machine, packed: next state, first symbol, second symbol, and in the top octet how many symbols there
# are, or _FAILS.
_FIRST_SYMBOL, _SECOND_SYMBOL, _COUNT, _FAILS = 8, 16, 24, 3


def _codes() -> npt.NDArray[np.int64]:
    """Return the canonical code of each symbol, int64[257]: rising with the length, then with the symbol."""
    codes = np.zeros(len(HUFFMAN_CODE_LENGTHS), np.int64)
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(HUFFMAN_CODE_LENGTHS)):
        code <<= length - previous
        codes[symbol] = code
        code, previous = code + 1, length
    return codes


def _tree(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the children of each node, int64[256, 2]: a node, or 256 + symbol for a leaf. Node 0 is the root."""
    children = np.full((256, 2), -1, np.int64)
    nodes = 1
    for symbol, length in enumerate(HUFFMAN_CODE_LENGTHS):
        node = 0
        for place in range(length - 1, 0, -1):
            bit = int(codes[symbol]) >> place & 1
            if children[node, bit] < 0:
                children[node, bit], nodes = nodes, nodes + 1
            node = children[node, bit]
        children[node, int(codes[symbol]) & 1] = 256 + symbol
    return children


def _machine(children: npt.NDArray[np.int64]) -> Machine:
    """Return the step from each state by each octet, uint32[256 * 256]."""
    state, octet = (grid.ravel() for grid in np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))
    count, fails = np.zeros_like(state), np.zeros(state.size, bool)
    symbols = np.zeros((2, state.size), np.int64)
    for place in range(7, -1, -1):
        state = children[state, octet >> place & 1]
        leaf = state >= 256
        fails |= state == 256 + EOS
        symbols[count[leaf], np.flatnonzero(leaf)] = state[leaf] - 256 & 0xFF
        count[leaf] += 1
        state = np.where(leaf, 0, state)
    step = state | symbols[0] << _FIRST_SYMBOL | symbols[1] << _SECOND_SYMBOL
    return np.where(fails, _FAILS << _COUNT, step | count << _COUNT).astype(np.uint32)


def _padding_states(children: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which states may be the last: the root and up to seven ones after it, bool[256]."""
    last, node = np.zeros(256, bool), 0
    for _ in range(8):
        last[node], node = True, children[node, 1]
    return last


_CODES = _codes()
_LENGTHS = np.array(HUFFMAN_CODE_LENGTHS, np.int64)
MACHINE = _machine(_tree(_CODES))
_MAY_END = _padding_states(_tree(_CODES))


@inlined
def decoded_bound(size: int) -> int:
    """Return the octets of room that the decoder needs for `size` encoded octets."""
    return size * 8 // 5 + 1


@inlined
def decode(machine: Machine, source: Octets, start: int, end: int, out: Octets, at: int) -> int:
    """Decode [start, end) of `source` to `at` of `out`; return how many octets, or INVALID: wrong padding, or EOS.

    `machine` is MACHINE, handed in as an array: as a constant each function above would keep its own 256 KiB of it.
    """
    state, first = 0, at
    for i in range(start, end):
        step = signed(machine[(state << 8) | signed(source[i])])
        count = step >> _COUNT
        if count == _FAILS:
            return INVALID
        # Both are written and as many kept as there are: it saves two branches that nobody could foretell.
        out[at] = (step >> _FIRST_SYMBOL) & 0xFF
        out[at + 1] = (step >> _SECOND_SYMBOL) & 0xFF
        at += count
        state = step & 0xFF
    return at - first if _MAY_END[state] else INVALID


@inlined
def encoded_size(source: Octets, start: int, end: int) -> int:
    """Return the octets that `encode` will write."""
    bits = 0
    for i in range(start, end):
        bits += signed(_LENGTHS[source[i]])
    return (bits + 7) >> 3


@inlined
def encode(source: Octets, start: int, end: int, out: Octets, at: int) -> int:
    """Encode [start, end) of `source` to `at` of `out`; return how many octets."""
    first, pending, bits = at, 0, 0
    for i in range(start, end):
        pending = (pending << signed(_LENGTHS[source[i]])) | signed(_CODES[source[i]])
        bits += signed(_LENGTHS[source[i]])
        while bits >= 8:
            bits -= 8
            out[at] = (pending >> bits) & 0xFF
            at += 1
        pending &= (1 << bits) - 1
    if bits:
        out[at] = ((pending << (8 - bits)) | (0xFF >> bits)) & 0xFF
        at += 1
    return at - first


def encoded(text: bytes) -> bytes:
    """Return `text` encoded."""
    source = np.frombuffer(text, np.uint8)
    out = np.empty(encoded_size(source, 0, source.size), np.uint8)
    return out[: encode(source, 0, source.size, out, 0)].tobytes()
