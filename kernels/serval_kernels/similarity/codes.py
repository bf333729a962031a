"""Vectors as codes of eight bits, and a search of a few partitions of them: what an inverted file with SQ8 does.

Rules. Dimension d of a code is round(v[d] / scale[d]), -127 to 127. Scores of codes are only good for choosing: who
asks compares what was chosen by its full vectors. A row that may not be found has 0 in `allowed`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel, reduction

Codes = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.int64]


@reduction
def _dot(query: Any, code: Any) -> Any:
    total = np.float32(0)
    for i in range(query.size):
        total += query[i] * np.float32(code[i])
    return total


@kernel
def scan(
    query: npt.NDArray[np.float32],
    codes: Codes,
    allowed: npt.NDArray[np.uint8],
    starts: Numbers,
    partitions: Numbers,
    rows: Numbers,
    scores: npt.NDArray[np.float32],
) -> int:
    """Fill `rows` and `scores` with the best of the allowed rows in some partitions; return how many there are.

    query: float32 [width], each number times the scale of its dimension. codes: int8 [n, width]; partition p holds rows
    starts[p] up to starts[p + 1]. Best first; none where there is no room for any.
    """
    found = 0
    least = -np.inf
    if rows.size == 0:
        return 0
    for visited in range(partitions.size):
        partition = partitions[visited]
        for row in range(starts[partition], starts[partition + 1]):
            if not allowed[row]:
                continue
            score = _dot(query, codes[row])
            if found == rows.size and score <= least:
                continue
            at = found if found < rows.size else found - 1
            while at > 0 and scores[at - 1] < score:
                scores[at], rows[at] = scores[at - 1], rows[at - 1]
                at -= 1
            scores[at], rows[at] = score, row
            found = min(found + 1, rows.size)
            least = scores[found - 1]
    return found


@kernel
def encode(vectors: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], codes: Codes) -> None:
    """Write the codes of vectors, float32 [n, width], with scales, float32 [width], none of which is 0 and none NaN."""
    least, most = np.float32(-127), np.float32(127)
    for row in range(vectors.shape[0]):
        for i in range(vectors.shape[1]):
            steps = vectors[row, i] / scales[i]
            codes[row, i] = np.int8(round(min(max(steps, least), most)))  # int64 has no room for every quotient
