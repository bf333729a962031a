"""The default vector of a version, computed from what it is; and words in the same space.

Feature hashing with signs (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"), in its dense
form: every token is a vector of DIMENSION signs taken from its BLAKE2b digest, so that two different tokens are nearly
at right angles (cosine 0 with standard deviation 1/sqrt(128) = 0.09; Achlioptas 2003, "Database-friendly random
projections"). The tokens of a section are summed and scaled to length 1, the sections added by their weights, and the
sum scaled to length 1. So thirty feature names weigh no more than three, and a section counts by its weight alone.

Words are shared by all sections: "wine" in a name, a tag or a question is one token. What is not a word (types, widths,
settings, metric values) has a prefix that no word has.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from serval_registry.errors import InvalidArgument
from serval_registry.model import Draft, Signature

DIMENSION = 128

Vector = npt.NDArray[np.float32]

# By how much each section counts. What a model is called and what computes it come before what it was fed.
WEIGHTS: Mapping[str, float] = {
    "algorithm": 1.0,
    "name": 0.9,
    "tags": 0.6,
    "description": 0.6,
    "dataset": 0.6,
    "schema": 0.5,
    "framework": 0.3,
    "hyperparameters": 0.25,
    "metrics": 0.2,
}

_CHUNK = re.compile(r"[^\W_]+")
# RandomForestClassifier, XGBRegressor, word2vec: capitals before a capitalised word, words, numbers.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W_A-Za-z\d]+")
_FILLERS = frozenset(
    word
    for line in (
        "a all an and any are as at by find for from in is it like",
        "me model my of on or that the this to with",
    )
    for word in line.split()
)
_TOKENS_MAX = 4096


def embed(draft: Draft, signature: Signature) -> Vector:
    """Return the vector of a draft: float32 [DIMENSION], of length 1."""
    total = np.zeros(DIMENSION)
    for section, tokens in _sections(draft, signature).items():
        total += WEIGHTS[section] * _direction(tokens)
    norm = float(np.linalg.norm(total))
    if norm < 1e-6:  # sections that cancel out, or none at all: the vector of a model about which nothing is said
        total, norm = _direction(["#nothing"]), 1.0
    return (total / norm).astype(np.float32)


def embed_text(query: str) -> Vector:
    """Return the vector of words, in the same space; InvalidArgument when there is no word in them."""
    spoken = list(words(query))
    if not spoken:
        raise InvalidArgument(f"text: {query[:80]!r} has no word in it")
    telling = [word for word in spoken if word not in _FILLERS]
    direction = _direction(telling or spoken)
    if not direction.any():
        raise InvalidArgument(f"text: the words of {query[:80]!r} cancel out; wanted others")
    return direction.astype(np.float32)


def check_vector(values: Sequence[float] | npt.NDArray[np.generic], field_name: str = "vector") -> Vector:
    """Return `values` as float32 [DIMENSION] of length 1.

    InvalidArgument, naming `field_name`, for another size, a number that is not finite, or all zeros: cosine is not
    defined for it, and LanceDB would silently leave it out.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (DIMENSION,):
        raise InvalidArgument(
            f"{field_name}: {vector.size} numbers in shape {list(vector.shape)}; wanted [{DIMENSION}]"
        )
    if not np.isfinite(vector).all():
        raise InvalidArgument(f"{field_name}: number {int(np.argmin(np.isfinite(vector)))} is not finite")
    largest = float(np.abs(vector).max())
    if largest == 0.0:
        raise InvalidArgument(f"{field_name}: all {DIMENSION} numbers are zero; a zero vector is similar to nothing")
    vector = vector / largest  # so that no square overflows or vanishes
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case and singular: parts of compounds, and compounds whole.

    >>> list(words("RandomForestClassifiers on wine_quality"))
    ['randomforestclassifier', 'random', 'forest', 'classifier', 'on', 'wine', 'quality']
    """
    for chunk in _CHUNK.findall(text):
        parts = _PART.findall(chunk)
        if len(parts) > 1:
            yield _stem(chunk.casefold())
        for part in parts:
            yield _stem(part.casefold())


def _stem(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]
    return word


def _sections(draft: Draft, signature: Signature) -> dict[str, list[str]]:
    return {
        "algorithm": list(words(draft.algorithm)),
        "name": list(words(draft.name)),
        "tags": _telling(f"{key} {value}" for key, value in sorted(draft.tags.items())),
        "description": _telling([draft.description]),
        "dataset": list(words(draft.dataset)),
        "schema": list(_schema(draft, signature)),
        "framework": list(words(draft.framework)),
        "hyperparameters": [f"#set {key}={value[:80]}" for key, value in sorted(draft.hyperparameters.items())],
        "metrics": [
            f"#metric {name}{part}" for name, value in sorted(draft.metrics.items()) for part in _coarse(value)
        ],
    }


def _telling(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in words(text) if word not in _FILLERS]


def _schema(draft: Draft, signature: Signature) -> Iterator[str]:
    for spec in signature.inputs:
        yield f"#in {spec.datatype} {len(spec.shape)}"
        yield f"#width {spec.shape[-1] if spec.shape else 0}"
    for spec in signature.outputs:
        yield f"#out {spec.name} {spec.datatype}"
    yield f"#classes {len(draft.classes)}"
    for feature in draft.features:
        yield f"#kind {feature.kind}"
        yield from words(feature.name)
    for label in draft.classes:
        yield from words(label)


def _coarse(value: float) -> tuple[str, str]:
    """Return the metric by itself, and with its value in tenths up to 1 and in powers of ten beyond."""
    size = round(value, 1) if abs(value) <= 1 else math.copysign(math.floor(math.log10(abs(value))) + 1, value) * 10
    return "", f"={size:g}"


def _direction(tokens: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the sum of the tokens' signs, scaled to length 1; zeros for no tokens."""
    if not tokens:
        return np.zeros(DIMENSION)
    # A repeated word says little more than the word: each token counts once.
    distinct = sorted(set(tokens))[:_TOKENS_MAX]
    digests = b"".join(hashlib.blake2b(token.encode(), digest_size=DIMENSION // 8).digest() for token in distinct)
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8)).reshape(len(distinct), DIMENSION)
    total: npt.NDArray[np.float64] = 2.0 * bits.sum(axis=0, dtype=np.float64) - len(distinct)
    norm = float(np.linalg.norm(total))
    return np.divide(total, norm) if norm > 0 else total
