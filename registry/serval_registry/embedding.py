"""The default vector of a version, computed from what it is; and words in the same space.

A version is first a weight for each of its tokens: each section's tokens scaled to length 1, the sections added by
their weights. So thirty feature names weigh no more than three, and a section counts by its weight. Words are shared by
all sections: "wine" in a name, a tag or a question is one token. What is not a word (types, widths, settings, metric
values) has a prefix that no word has.

The vector is that space folded into DIMENSION numbers by feature hashing with signs (Weinberger et al. 2009, "Feature
Hashing for Large Scale Multitask Learning"), in its dense form: every token stands for DIMENSION signs taken from its
BLAKE2b digest, so that two tokens are nearly at right angles (Achlioptas 2003, "Database-friendly random projections").
The cosine of two vectors is then that of their tokens with a standard error of 1/sqrt(128) = 0.09: enough to find
candidates, too much to rank weak matches by, which is what `overlap` is for.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from serval_registry.errors import InvalidArgument
from serval_registry.model import Draft, Signature, Version

DIMENSION = 128

Vector = npt.NDArray[np.float32]

# By how much each section counts. What a model is called and what computes it come before what it was fed.
WEIGHTS: Mapping[str, float] = {
    "algorithm": 1.0,
    "name": 0.9,
    "tags": 0.8,
    "description": 0.7,
    "dataset": 0.8,
    "schema": 0.5,
    "framework": 0.3,
    "hyperparameters": 0.25,
    "metrics": 0.2,
}

_CHUNK = re.compile(r"[^\W_]+")
# RandomForestClassifier, XGBRegressor, word2vec: capitals before a capitalised word, words, numbers.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_FILLERS = frozenset(
    word
    for line in (
        "a all an and any are as at by find for from in is it like",
        "me model my of on or that the this to with",
    )
    for word in line.split()
)
# Said of half of all models, or of nothing that is looked for: they count, but little.
_GENERIC = frozenset({"classifier", "regressor", "model", "data", "dataset"})
_FAINT = 0.4
_TOKENS_MAX = 4096
_TEXT_MAX = 16_384

# How much each token counts.
Tokens = Mapping[str, float]


def embed(said: Draft | Version, signature: Signature) -> Vector:
    """Return the vector of what is said of a model: float32 [DIMENSION], of length 1."""
    vector = fold(describe(said, signature))
    return vector if vector.any() else fold({"#nothing": 1.0})


def embed_text(query: str) -> Vector:
    """Return the vector of words, in the same space; InvalidArgument when there is no word in them."""
    vector = fold(describe_text(query))
    if not vector.any():
        raise InvalidArgument(f"text: the words of {query[:80]!r} cancel out; wanted others")
    return vector


def describe(said: Draft | Version, signature: Signature) -> Tokens:
    """Return the tokens of what is said of a model, as weights of length 1; none where nothing is said."""
    total: dict[str, float] = {}
    for section, tokens in _sections(said, signature).items():
        for token, weight in _unit(tokens).items():
            total[token] = total.get(token, 0.0) + WEIGHTS[section] * weight
    return _unit(total)


def describe_text(query: str) -> Tokens:
    """Return the tokens of words, as weights of length 1; InvalidArgument when there is no word in them."""
    spoken = list(words(query[:_TEXT_MAX]))
    if not spoken:
        raise InvalidArgument(f"text: {query[:80]!r} has no word in it")
    return _unit(_weighed([query[:_TEXT_MAX]]) or dict.fromkeys(spoken, 1.0))


def overlap(query: Tokens, other: Tokens) -> float:
    """Return the cosine of two descriptions, 0 to 1: exactly what the cosine of their vectors estimates."""
    return math.fsum(weight * other.get(token, 0.0) for token, weight in query.items())


def check_vector(
    values: Sequence[float] | npt.NDArray[np.generic], field_name: str = "vector", dimension: int = DIMENSION
) -> Vector:
    """Return `values` as float32 [dimension] of length 1.

    InvalidArgument, naming `field_name`, for another size, a number that is not finite, or all zeros: cosine is not
    defined for it, and LanceDB would silently leave it out.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (dimension,):
        raise InvalidArgument(
            f"{field_name}: {vector.size} numbers in shape {list(vector.shape)}; wanted [{dimension}]"
        )
    largest = float(np.abs(vector).max())
    if not math.isfinite(largest):
        raise InvalidArgument(f"{field_name}: number {int(np.argmin(np.isfinite(vector)))} is not finite")
    if largest == 0.0:
        raise InvalidArgument(f"{field_name}: all {dimension} numbers are zero; a zero vector is similar to nothing")
    vector = vector / largest  # so that no square overflows or vanishes
    return (vector / math.sqrt(vector @ vector)).astype(np.float32)


def words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case and singular: parts of compounds, and compounds whole.

    >>> list(words("RandomForestClassifiers on wine_quality"))
    ['randomforestclassifier', 'random', 'forest', 'classifier', 'on', 'wine', 'quality']
    """
    for chunk in _CHUNK.findall(text):
        yield _stem(chunk.casefold())
        parts = _PART.findall(chunk) if chunk.isascii() else []
        if len(parts) > 1:
            yield from (_stem(part.casefold()) for part in parts)


def _stem(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]
    return word


def _sections(draft: Draft | Version, signature: Signature) -> dict[str, Tokens]:
    # A tag's value tells more than its key, which all models of a team share.
    keys = {word: _FAINT * weight for word, weight in _weighed(draft.tags).items()}
    return {
        "algorithm": _weighed([draft.algorithm]),
        "name": _weighed([draft.name]),
        "tags": keys | _weighed(draft.tags.values()),
        "description": _weighed([draft.description]),
        "dataset": _weighed([draft.dataset]),
        "schema": dict.fromkeys(_schema(draft, signature), 1.0),
        "framework": _weighed([draft.framework]),
        "hyperparameters": {f"#set {key}={value[:80]}": 1.0 for key, value in draft.hyperparameters.items()},
        "metrics": {f"#metric {name}{part}": 1.0 for name, value in draft.metrics.items() for part in _coarse(value)},
    }


def _weighed(texts: Iterable[str]) -> dict[str, float]:
    """Return the words of the texts, without fillers, and how much each counts."""
    found = (word for text in texts for word in words(text) if word not in _FILLERS)
    return {word: _FAINT if word in _GENERIC else 1.0 for word in found}


def _schema(draft: Draft | Version, signature: Signature) -> Iterator[str]:
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


def _unit(tokens: Tokens) -> dict[str, float]:
    norm = math.sqrt(math.fsum(weight * weight for weight in tokens.values()))
    return {token: weight / norm for token, weight in tokens.items()}


def fold(tokens: Tokens) -> Vector:
    """Return the weighted sum of the tokens' signs, scaled to length 1; zeros for no tokens or ones that cancel out."""
    chosen = sorted(tokens, key=lambda token: (-tokens[token], token))[:_TOKENS_MAX]
    digests = b"".join(hashlib.blake2b(token.encode(), digest_size=DIMENSION // 8).digest() for token in chosen)
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8)).reshape(len(chosen), DIMENSION)
    total = np.array([tokens[token] for token in chosen]) @ (2.0 * bits - 1.0)
    norm = float(np.linalg.norm(total))
    return np.asarray(total / norm if norm > 1e-6 else np.zeros(DIMENSION), dtype=np.float32)
