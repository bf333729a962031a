"""The message made of a row's text is the message made of the version in it."""

from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_protos.v1 import registry_pb2
from serval_registry.lifecycle.lineage import columns as lineage_columns
from serval_registry.mirror.texts import COLUMNS, encoded, version_of
from serval_registry.model import (
    DatasetUse,
    DataType,
    Draft,
    Feature,
    FeatureKind,
    Lineage,
    Parent,
    Parity,
    Signature,
    Stage,
    TensorSpec,
)
from serval_registry.packing import packed
from serval_registry.schemas import VERSIONS
from serval_registry.versions import to_row
from serval_server.codec.listed import PAGE_FORMAT
from serval_server.codec.records import version_message

WORDS = st.text(st.characters(exclude_characters="\x1d\x1e\x1f", exclude_categories=["Cs"]), max_size=8)
KEYS = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
NUMBERS = st.floats(0, 1e6)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
PARITIES = st.builds(Parity, st.integers(1, 9), NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans())
LINEAGES = st.builds(
    Lineage,
    parents=st.lists(st.builds(Parent, st.just("wine@1"), KEYS), max_size=1).map(tuple),
    datasets=st.lists(st.builds(DatasetUse, KEYS, WORDS, WORDS, st.integers(0, 9)), max_size=2).map(tuple),
    run=WORDS,
    experiment=WORDS,
)
DRAFTS = st.builds(
    Draft,
    name=KEYS,
    description=WORDS,
    tags=st.dictionaries(KEYS, KEYS, max_size=2),
    metrics=st.dictionaries(KEYS, NUMBERS, max_size=2),
    hyperparameters=st.dictionaries(KEYS, WORDS, max_size=2),
    algorithm=st.sampled_from(["", "forest"]),
    framework=st.sampled_from(["", "scikit-learn"]),
    dataset=st.sampled_from(["", "wine"]),
    features=st.just(()) | st.just((Feature("f", FeatureKind.NUMERIC, "X", 0),)),
    classes=st.lists(WORDS, max_size=2).map(tuple),
    parity=st.none() | PARITIES,
    libraries=st.dictionaries(KEYS, WORDS, max_size=1),
    missing_allowed=st.booleans(),
    label=WORDS,
    lineage=LINEAGES,
)
SIGNATURES = st.integers(1, 3).map(
    lambda width: Signature((TensorSpec("X", DataType.FP32, (-1, width)),), (), {"": 17, "ai.onnx.ml": width})
)
STORED = st.fixed_dictionaries(
    {
        "version": st.integers(1, 2**62),
        "revision": st.integers(0, 9),
        "stage": st.sampled_from([str(stage) for stage in Stage]),
        "aliases": st.sampled_from(["", "\x1fchampion\x1f"]),
        "created": TIMES,
        "updated": TIMES,
        "artifact_sha256": KEYS,
        "artifact_bytes": st.integers(0, 2**40),
        "sample_sha256": st.none() | KEYS,
        "baseline_sha256": st.none() | KEYS,
        "baseline_rows": st.integers(0, 2**40),
        "vector_source": st.sampled_from(["user", "default"]),
    }
)


@settings(max_examples=200)
@given(DRAFTS, SIGNATURES, STORED)
def test_a_row_and_its_version_have_the_same_message(
    draft: Draft, signature: Signature, stored: dict[str, object]
) -> None:
    row = to_row(draft, signature) | stored | lineage_columns(draft.lineage)
    columns = {name: row[name] for name in COLUMNS if name != "record"} | {"record": packed(row)}
    (text,) = encoded(pa.Table.from_pylist([columns], pa.schema([VERSIONS.field(name) for name in COLUMNS])))
    page = registry_pb2.ListModelsReply.FromString(2 * PAGE_FORMAT.part_of(text.as_py()))
    assert list(page.versions) == 2 * [version_message(version_of(text.as_py()))]
