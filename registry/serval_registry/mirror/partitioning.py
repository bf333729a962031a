"""Partitions of unit vectors by k-means on the sphere (Dhillon and Modha, 2001), in blocks: memory stays small."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from serval_kernels.similarity.codes import Codes, encode

from serval_registry.embedding import DIMENSION

Vectors = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]

_SAMPLE_PER_PARTITION = 64
_ROUNDS = 8
_BLOCK = 16_384
_SEED = 1


def partitions(rows: int) -> int:
    """Return how many partitions suit so many rows: about their square root, a power of two.

    >>> [partitions(rows) for rows in (0, 256, 20_000, 1_000_000)]
    [1, 16, 128, 1024]
    """
    return int(2 ** round(math.log2(rows) / 2)) if rows else 1


def trained(vectors: Vectors) -> Vectors:
    """Return centroids of length 1, float32 [partitions, DIMENSION], learned from a sample."""
    count = partitions(len(vectors))
    random = np.random.default_rng(_SEED)
    size = min(len(vectors), _SAMPLE_PER_PARTITION * count)
    sample = np.array(vectors[np.sort(random.choice(len(vectors), size, replace=False))]) if size else vectors
    centroids = np.array(sample[random.choice(size, count, replace=False)]) if size else np.zeros((1, DIMENSION), "<f4")
    for _ in range(_ROUNDS if size else 0):
        nearest = assigned(sample, centroids)
        sums = np.zeros_like(centroids)
        by_partition = np.argsort(nearest, kind="stable")
        held, first = np.unique(nearest[by_partition], return_index=True)
        sums[held] = np.add.reduceat(sample[by_partition], first)
        lengths = np.linalg.norm(sums, axis=1)
        lost = lengths < 1e-6  # nothing is near it: it starts again somewhere else
        sums[lost] = sample[random.choice(size, int(lost.sum()))]
        centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6).astype(np.float32)
    return np.ascontiguousarray(centroids, np.float32)


def assigned(vectors: Vectors, centroids: Vectors) -> npt.NDArray[np.int32]:
    """Return the partition of each vector: int32 [rows]."""
    nearest = np.empty(len(vectors), np.int32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        nearest[start : start + len(block)] = np.argmax(block @ centroids.T, axis=1)
    return nearest


def scales_of(vectors: Vectors) -> Vectors:
    """Return the scale of each dimension's codes, float32 [DIMENSION]: a 127th of its largest number."""
    largest = np.zeros(DIMENSION, np.float32)
    for start in range(0, len(vectors), _BLOCK):
        np.maximum(largest, np.abs(vectors[start : start + _BLOCK]).max(axis=0), out=largest)
    return np.where(largest > 0, largest / np.float32(127), np.float32(1))


def arranged(vectors: Vectors, order: Order, scales: Vectors) -> Iterator[tuple[Vectors, Codes]]:
    """Yield the vectors in this order, and their codes, in blocks."""
    for start in range(0, len(order), _BLOCK):
        block = vectors[order[start : start + _BLOCK]]
        codes = np.empty(block.shape, np.int8)
        encode(block, scales, codes)
        yield block, codes
