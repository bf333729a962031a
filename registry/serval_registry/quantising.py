"""How wide vectors are stored, so that product quantisation can part them; LanceDB wants parts of one width."""

import numpy as np

from serval_registry.embedding import Vector

# Of the built-in vectors, in parts of four numbers each.
SUB_VECTORS = 32


def sub_vectors(width: int) -> int:
    """Return into how many parts a vector of this width is quantised: of four numbers each up to 128, then 32 or 64.

    >>> [sub_vectors(width) for width in (4, 64, 128, 256, 384)]
    [1, 16, 32, 32, 64]
    """
    return width // 4 if width <= 4 * SUB_VECTORS else SUB_VECTORS if width <= 8 * SUB_VECTORS else 2 * SUB_VECTORS


def as_width(vector: Vector, width: int) -> Vector:
    """Return a vector as a table of this width holds it: with zeros behind, which change no cosine."""
    return np.pad(vector, (0, width - vector.size))


def width_of(dimension: int) -> int:
    """Return how wide vectors of a dimension are stored.

    >>> [width_of(dimension) for dimension in (1, 30, 128, 200, 384, 1000)]
    [4, 32, 128, 224, 384, 1024]
    """
    step = 4 if dimension <= 4 * SUB_VECTORS else SUB_VECTORS if dimension <= 8 * SUB_VECTORS else 2 * SUB_VECTORS
    return -(-dimension // step) * step
