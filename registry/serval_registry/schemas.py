"""The columns of the tables; what each means is stored with it."""

import pyarrow as pa

from serval_registry.embedding import DIMENSION
from serval_registry.metrics import INDEXED_METRICS, metric_column
from serval_registry.migrations import PRIMARY_KEY, SCHEMA, SCHEMA_KEY


def _column(name: str, datatype: pa.DataType, meaning: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, datatype, nullable=nullable, metadata={b"meaning": meaning.encode()})


def _key(name: str, datatype: pa.DataType, meaning: str) -> pa.Field:
    """Return a column by which `Table.add_new` tells rows that are there from new ones."""
    column = _column(name, datatype, meaning)
    return column.with_metadata({**column.metadata, PRIMARY_KEY: b"true"})


_TIME = pa.timestamp("us", tz="UTC")

VERSIONS = pa.schema(
    [
        _column("name", pa.string(), "the model's name"),
        _column("version", pa.int64(), "1, 2, 3 per name; name and version are the key"),
        _column("revision", pa.int64(), "grows with every write to the table: what has changed since"),
        _column("stage", pa.string(), "none, staging, production, archived; production at most once a name"),
        _column("deleted", pa.bool_(), "a tombstone: the number is taken, the version is gone"),
        _column("tags", pa.string(), "key=value, each between two characters 1F"),
        _column("tag_list", pa.list_(pa.string()), "the same, each key=value: what filters look at", nullable=True),
        _column("label", pa.string(), "semantic version, unique per name by precedence; empty: none"),
        _column("aliases", pa.string(), "names that lead here, each between two characters 1F; one row a name has one"),
        _column("parents", pa.string(), "name@version of each parent in this registry, between two characters 1F"),
        _column("lineage", pa.string(), "JSON object: parents, datasets, run, experiment"),
        _column("created", _TIME, "when it was registered"),
        _column("updated", _TIME, "when its stage, baseline or deletion last changed"),
        _column("description", pa.string(), "words"),
        _column("algorithm", pa.string(), "such as RandomForestClassifier"),
        _column("framework", pa.string(), "such as scikit-learn"),
        _column("dataset", pa.string(), "a reference in the caller's own terms"),
        _column("missing_allowed", pa.bool_(), "whether NaN may be sent in numeric features"),
        _column("artifact_sha256", pa.string(), "the ONNX file"),
        _column("artifact_bytes", pa.int64(), "its size"),
        _column("sample_sha256", pa.string(), "the kept sample, an Arrow IPC stream; null: none", nullable=True),
        _column("baseline_sha256", pa.string(), "the row of baselines; null: none", nullable=True),
        _column("baseline_rows", pa.int64(), "rows the baseline was computed from; 0: none"),
        _column("metrics", pa.string(), "JSON object: numbers by name"),
        *(
            _column(metric_column(name), pa.float64(), f"the metric {name}; null: not among them", nullable=True)
            for name in INDEXED_METRICS
        ),
        _column("hyperparameters", pa.string(), "JSON object: JSON texts by name"),
        _column("signature", pa.string(), "JSON object: inputs, outputs, opsets"),
        _column("features", pa.string(), "JSON array of [name, kind, input, column]"),
        _column("classes", pa.string(), "JSON array of labels"),
        _column("parity", pa.string(), "JSON object; null: no comparison was sent", nullable=True),
        _column("libraries", pa.string(), "JSON object: library versions by name"),
        _column("request_id", pa.string(), "the caller's own, unique in a name; null: none", nullable=True),
        _column("vector_source", pa.string(), "default (computed) or user"),
        _column("record", pa.string(), "what of this never changes, once more: what is read", nullable=True),
        _column("vector", pa.list_(pa.float32(), DIMENSION), "of length 1"),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA).encode()},
)

# What tells of a version in a table of its own carries these, and stands for it where all three are those of its row:
# a row written for a version that a crash has prevented means no later version of the same number.
_STAMP = (
    _column("name", pa.string(), "the model's name"),
    _column("version", pa.int64(), "its number"),
    _column("created", _TIME, "when that version was registered"),
)

DIMENSION_KEY = b"serval.dimension"


def space(dimension: int, width: int) -> pa.Schema:
    """Return the schema of a space of vectors of `dimension` numbers, stored as `width`: the rest are zeros."""
    return pa.schema(
        [*_STAMP, _column("vector", pa.list_(pa.float32(), width), "of length 1")],
        metadata={SCHEMA_KEY: str(SCHEMA).encode(), DIMENSION_KEY: str(dimension).encode()},
    )


BASELINES = pa.schema(
    [
        _column("sha256", pa.string(), "of the content; the key"),
        _column("created", _TIME, "when it was stored"),
        _column("content", pa.binary(), "the baseline, serialised"),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA).encode()},
)


JOURNAL = pa.schema(
    [
        _key("number", pa.int64(), "1, 2, 3; the key"),
        _column("revision", pa.int64(), "that of the rows of versions that it announces; 0: none"),
        _column("time", _TIME, "when it was done"),
        _column("actor", pa.string(), "who did it"),
        _column("action", pa.string(), "what was done"),
        _column("name", pa.string(), "the model's name; empty: the registry itself"),
        _column("version", pa.int64(), "0: the name as a whole"),
        _column("entry", pa.string(), "all of this and more, as canonical JSON"),
        _column("sha256", pa.string(), "of the entry; the next entry holds it too"),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA).encode()},
)


REPORTS = pa.schema(
    [
        _column("name", pa.string(), "the model's name"),
        _column("version", pa.int64(), "its version"),
        _column("start", _TIME, "when the window began"),
        _column("end", _TIME, "when it was closed; with name and version the key"),
        _column("rows", pa.int64(), "how many rows were looked at"),
        _column("verdict", pa.string(), "no_drift, drift or insufficient_data; alarm: kept for one"),
        _column("drifted", pa.string(), "JSON array: the columns that drifted, largest effect first"),
        _column("effect", pa.float64(), "the largest of all columns, 0 to 1"),
        _column("report", pa.binary(), "a message serval.v1.LiveDrift"),
        _column("window", pa.binary(), "what was seen, as the monitor keeps it: windows add up"),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA).encode()},
)


INPUTS = pa.schema(
    [
        _column("schema", pa.string(), "SHA-256 of the features; the key"),
        _column("features", pa.string(), "JSON array of [name, kind], in the order of names"),
        _column("width", pa.int64(), "how many features"),
        _column("created", _TIME, "when a version with them was first looked at"),
        _column("probes_sha256", pa.string(), "the probes, an Arrow IPC stream; null: none yet", nullable=True),
        _column("probes_source", pa.string(), "sample or baseline; empty: none yet"),
        _column("probes_of", pa.string(), "name@version that they were drawn from; empty: none yet"),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA).encode()},
)


BEHAVIOURS = pa.schema(
    [
        *_STAMP,
        _column("schema", pa.string(), "the row of inputs; empty: the inputs are not columns"),
        _column("status", pa.string(), "observed, no_probes, damaged, failed, no_columns"),
        _column("reason", pa.string(), "why it failed, or was not run"),
        _column("kind", pa.string(), "classes or values; empty unless observed"),
        _column("labels", pa.string(), "JSON array of class names"),
        _column("decisions", pa.binary(), "uint16 [probes], places in labels; 65535: not answered"),
        _column("scores", pa.binary(), "float16 [probes, labels], probabilities; null: none", nullable=True),
        _column("values", pa.binary(), "float32 [probes, columns]"),
        _column("vector", pa.list_(pa.float32(), DIMENSION), "the answers projected, of length 1"),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA).encode()},
)
