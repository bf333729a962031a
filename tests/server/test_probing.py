"""Models run on probes, and found by how they decide and by what they were trained on: real models in a registry."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from serval_registry import baseline as baselines
from serval_registry import onnx_check
from serval_registry.behaviour import observing
from serval_registry.behaviour.backlog import Backlog
from serval_registry.behaviour.observations import Observations, Status
from serval_registry.behaviour.observing import Run
from serval_registry.durability import Durability
from serval_registry.errors import FailedPrecondition, InvalidArgument, ServalError, Unavailable
from serval_registry.model import Draft, Ref, Stage, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking import behaving, sampled
from serval_registry.ranking.asking import BehavesLike, Like, TrainedLike
from serval_registry.ranking.sampled import Sample
from serval_registry.registry import Registry
from serval_registry.search import Coverage, SearchPath, SearchResult
from serval_registry.spaces.living import stamp
from serval_registry.verifying import verify
from serval_server.codec.arrow import write_table
from serval_server.codec.features import features_of
from serval_server.engine import probing
from serval_server.engine.probing import Prober

pytestmark = pytest.mark.slow

WIDTH = 3
ALL = Conditions()
Add = Callable[..., Version]


def classifier(weights: np.ndarray, width: int = WIDTH) -> bytes:
    """A linear model of weights [width, classes]: probabilities, and the place of the largest as a label."""
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, weights.shape[1]]),
    ]
    return _model(nodes, outputs, [numpy_helper.from_array(weights.astype(np.float32), "W")], width)


def regressor(weights: np.ndarray, offset: float = 0.0) -> bytes:
    """A linear model of weights [3, 1]."""
    nodes = [helper.make_node("MatMul", ["X", "W"], ["Y"]), helper.make_node("Add", ["Y", "b"], ["variable"])]
    held = [
        numpy_helper.from_array(weights.astype(np.float32), "W"),
        numpy_helper.from_array(np.array([offset], np.float32), "b"),
    ]
    return _model(nodes, [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])], held, WIDTH)


def picky(least: float) -> bytes:
    """A model that fails on rows whose first number is below `least`: it looks up a place that is not there."""
    nodes = [
        helper.make_node("Slice", ["X", "zero", "one", "axis"], ["first"]),
        helper.make_node("Less", ["first", "least"], ["low"]),
        helper.make_node("Cast", ["low"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["variable"]),
    ]
    held = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([least], np.float32), "least"),
        numpy_helper.from_array(np.array([0.5], np.float32), "table"),
    ]
    return _model(nodes, [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])], held, WIDTH)


def _model(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    held: Sequence[onnx.TensorProto],
    width: int,
) -> bytes:
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, width])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "data", durability=Durability.PROCESS) as opened:
        yield opened


@pytest.fixture
def prober(registry: Registry) -> Iterator[Prober]:
    """What runs models; its thread rests, and the tests call what it would."""
    made = Prober(registry)
    yield made
    made.stop()


@pytest.fixture
def add(registry: Registry) -> Add:
    return lambda name, artifact, rows=None, **said: register(registry, name, artifact, rows, **said)


def register(
    registry: Registry, name: str, artifact: bytes, rows: np.ndarray | None = None, keep: bool = False, **said: object
) -> Version:
    signature = onnx_check.check(artifact, 1 << 20)
    draft = Draft(name=name, features=features_of((), signature), **said)  # type: ignore[arg-type]
    if rows is None:
        return registry.register(draft, signature, artifact, baseline=None, sample=None)
    table = {f"X_{column}": np.ascontiguousarray(rows[:, column]) for column in range(rows.shape[1])}
    computed = baselines.compute(table, draft.features)
    blob = (baselines.to_bytes(computed), computed.rows)
    return registry.register(draft, signature, artifact, baseline=blob, sample=write_table(table) if keep else None)


def look(registry: Registry) -> None:
    while registry.observer.look():
        pass


def like(registry: Registry, example: str, k: int = 10, conditions: Conditions = ALL) -> SearchResult:
    return registry.asking.search([BehavesLike(Ref.parse(example))], conditions, k)


def names(result: SearchResult) -> list[str]:
    return [hit.version.name for hit in result.hits]


ROWS = np.random.default_rng(0).normal(size=(500, WIDTH)).astype(np.float32)
BASE = np.random.default_rng(1).normal(size=(WIDTH, 3))


def turned(by: float) -> bytes:
    return classifier(BASE + by * np.random.default_rng(2).normal(size=(WIDTH, 3)))


@pytest.mark.usefixtures("prober")
def test_classifiers_are_ranked_by_the_share_of_like_decisions(registry: Registry, add: Add) -> None:
    add("base", turned(0), ROWS, keep=True)
    for by in (0.1, 0.5, 2.0):
        add(f"turned{by}", turned(by), tags={"far": str(by > 1)})
    look(registry)
    result = like(registry, "base")
    assert names(result) == ["turned0.1", "turned0.5", "turned2.0"]
    assert result.path is SearchPath.EXACT
    probes = registry.asking._behaviours.observations.probes(registry.resolve(Ref("base")).features)
    assert probes is not None
    matrix = np.stack([probes.rows[f"X_{column}"] for column in range(WIDTH)], axis=1).astype(np.float32)
    assert {tuple(row) for row in matrix.tolist()} <= {tuple(row) for row in ROWS.tolist()}
    for hit, by in zip(result.hits, (0.1, 0.5, 2.0), strict=True):
        other = BASE + by * np.random.default_rng(2).normal(size=(WIDTH, 3))
        ours, theirs = (matrix @ weights.astype(np.float32) for weights in (BASE, other))
        share = float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)))
        agreement = hit.parts[0].agreement
        assert agreement is not None
        assert (hit.similarity, agreement.share, agreement.probes) == (share, share, 256)
        p, q = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) for scores in (ours, theirs))
        assert agreement.total_variation == pytest.approx(np.abs(p - q).sum(axis=1).mean() / 2, abs=1e-3)
    assert result.coverage == (Coverage(part="behaviour", compared=3, probes=256, probes_source="sample"),)
    assert names(like(registry, "base", conditions=Conditions.of((), {"far": "True"}, ""))) == ["turned2.0"]
    assert names(like(registry, "base", k=1)) == ["turned0.1"]
    registry.delete("turned0.1", 1)
    assert names(like(registry, "base", k=1)) == ["turned0.5"]


@pytest.mark.usefixtures("prober")
def test_regressors_agree_within_a_tenth_of_a_deviation(registry: Registry, add: Add) -> None:
    weights = np.array([[1.0], [2.0], [-1.0]])
    add("base", regressor(weights), ROWS)
    add("twin", regressor(weights * 1.01))
    add("shifted", regressor(weights, offset=5.0))
    add("other", regressor(weights[::-1]))
    look(registry)
    result = like(registry, "base")
    assert names(result) == ["twin", "other", "shifted"]
    twin, other, shifted = (hit.parts[0].agreement for hit in result.hits)
    assert twin is not None
    assert other is not None
    assert shifted is not None
    assert twin.share == 1.0
    assert shifted.share == 0.0
    assert shifted.correlation == pytest.approx(1.0)
    assert 0 < other.share < 0.3
    assert result.coverage[0].probes_source == "baseline"


@pytest.mark.usefixtures("prober")
def test_what_cannot_be_compared_is_counted(registry: Registry, add: Add) -> None:
    add("base", turned(0), ROWS, classes=["a", "b", "c"])
    add("named-otherwise", turned(0), classes=["x", "y", "z"])
    add("shared", turned(0), classes=["c", "a", "q"])
    add("values", regressor(np.ones((3, 1))))
    add("failing", picky(1e9))
    add("wider", classifier(np.ones((4, 3)), width=4))
    look(registry)
    result = like(registry, "base")
    assert names(result) == ["shared"]
    coverage = result.coverage[0]
    assert (coverage.compared, coverage.incomparable, coverage.failed, coverage.pending) == (1, 2, 1, 0)
    agreement = result.hits[0].parts[0].agreement
    assert agreement is not None
    assert agreement.share == 0.0  # the same places under other names
    with pytest.raises(FailedPrecondition, match="failing@1 fails on its probes: the model failed"):
        like(registry, "failing")
    with pytest.raises(FailedPrecondition, match="wider@1 has no probes: no version with its features has a baseline"):
        like(registry, "wider")


@pytest.mark.usefixtures("prober")
def test_a_graph_that_fails_on_some_probes_is_compared_on_the_rest(registry: Registry, add: Add) -> None:
    add("base", regressor(np.ones((3, 1))), ROWS)
    add("picky", picky(0.0))
    look(registry)
    agreement = like(registry, "base").hits[0].parts[0].agreement
    assert agreement is not None
    assert 100 < agreement.probes < 156  # about half of a column around zero


@pytest.mark.usefixtures("prober")
def test_versions_before_the_first_baseline_are_run_once_there_is_one(registry: Registry, add: Add) -> None:
    add("early", turned(0.1))
    add("base", turned(0))
    look(registry)
    with pytest.raises(FailedPrecondition, match="has no probes"):
        like(registry, "base")
    table = {f"X_{column}": ROWS[:, column].copy() for column in range(WIDTH)}
    version = registry.resolve(Ref("base"))
    registry.set_baseline("base", 1, baselines.to_bytes(baselines.compute(table, version.features)), len(ROWS))
    look(registry)
    assert names(like(registry, "base")) == ["early"]
    assert registry.asking._behaviours.observations.table.count() == 2  # one row a version


@pytest.mark.usefixtures("prober")
def test_what_was_registered_just_now_is_found(registry: Registry, add: Add) -> None:
    add("base", turned(0), ROWS)
    add("other", turned(0.1))
    result = like(registry, "base")
    assert (names(result), result.coverage[0].pending) == (["other"], 0)
    look(registry)
    assert registry.asking._behaviours.observations.table.count() == 2


def test_an_example_is_run_when_it_is_asked_for(registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaving, "CAUGHT_UP", 0)
    add("base", turned(0), ROWS)
    add("other", turned(0.1))
    with pytest.raises(FailedPrecondition, match="base@1 has not been run on its probes yet"):
        like(registry, "base")
    prober = Prober(registry)
    result = like(registry, "base")
    assert (names(result), result.coverage[0].pending) == ([], 1)
    prober.start()
    prober.wake()
    deadline = time.monotonic() + 20
    while not names(like(registry, "base")) and time.monotonic() < deadline:
        time.sleep(0.01)
    prober.stop()
    assert names(like(registry, "base")) == ["other"]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize(("owner", "at"), [(Observations, "keep_probes"), (Observations, "write"), (Backlog, "note")])
@pytest.mark.usefixtures("prober")
def test_what_was_cut_short_is_done_later(
    registry: Registry, add: Add, tmp_path: Path, owner: type, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("early", turned(0.1))
    look(registry)
    add("base", turned(0), ROWS)
    done = getattr(owner, at)

    def killed(*args: object) -> None:
        done(*args)
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, at, killed)
        with pytest.raises(_Killed):
            look(registry)
    with Registry.open(tmp_path / "data") as again:
        later = Prober(again)
        look(again)
        assert names(like(again, "base")) == ["early"]
        later.stop()


@pytest.mark.usefixtures("prober")
def test_probes_are_kept_checked_and_never_changed(registry: Registry, add: Add) -> None:
    base = add("base", turned(0), ROWS, keep=True)
    look(registry)
    observations = registry.asking._behaviours.observations
    rows = registry.database.inputs.select(None, ["probes_sha256", "probes_of", "probes_source"])
    assert [(row["probes_of"], row["probes_source"]) for row in rows] == [("base@1", "sample")]
    registry.delete("base", 1)
    add("later", turned(0.3), 5 * ROWS)
    look(registry)
    assert registry.database.inputs.select(None, ["probes_sha256"]) == [{"probes_sha256": rows[0]["probes_sha256"]}]
    assert observations.known([stamp(base)])[stamp(base)] is Status.OBSERVED
    assert verify(registry).faults == []
    path = registry.storage.artifacts.path(rows[0]["probes_sha256"])  # type: ignore[attr-defined]
    path.chmod(0o644)
    path.write_bytes(b"x")
    assert [(fault.ref, fault.sha256) for fault in verify(registry).faults] == [("base@1", rows[0]["probes_sha256"])]


@pytest.mark.slow
@pytest.mark.usefixtures("prober")
def test_beyond_a_bound_candidates_are_chosen_by_projection(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("base", turned(0), ROWS)
    for number in range(1, 13):
        add(f"m{number}", turned(number / 12))
    look(registry)
    exact = like(registry, "base", k=5)
    monkeypatch.setattr(behaving, "EXACT", 4)
    projected = like(registry, "base", k=5)
    assert names(projected) == names(exact)
    assert [hit.parts for hit in projected.hits] == [hit.parts for hit in exact.hits]
    staged = Conditions.of([Stage.STAGING], {}, "")
    registry.set_stage("m9", 1, Stage.STAGING)
    assert names(like(registry, "base", conditions=staged)) == ["m9"]


def trained_like(registry: Registry, sample: Sample, conditions: Conditions = ALL) -> SearchResult:
    return registry.asking.search([TrainedLike(sample)], conditions, 10)


def columns(rows: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {**{f"X_{column}": rows[:, column] for column in range(rows.shape[1])}, **more}


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.usefixtures("prober")
def test_versions_are_found_by_the_data_they_were_trained_on(registry: Registry, add: Add, looked: bool) -> None:
    add("near", turned(0), ROWS)
    add("also", turned(1), ROWS)
    add("moved", turned(0), ROWS + 1)
    add("none", turned(0))
    add("wider", classifier(np.ones((4, 3)), width=4), np.hstack([ROWS, ROWS[:, :1]]))
    if looked:
        look(registry)
    result = trained_like(registry, Sample(columns(ROWS, unknown=ROWS[:, 0])))
    assert {hit.version.name: round(hit.similarity, 2) for hit in result.hits} == {
        "near": 1.0,
        "also": 1.0,
        "moved": pytest.approx(0.62, abs=0.03),  # 1 less the KS distance of normals a deviation apart, 0.38
    }
    assert result.coverage[0].compared == 2  # two of the three baselines are equal
    unnamed = Sample({str(place): ROWS[:, place] for place in range(WIDTH)}, names=False)
    assert set(names(trained_like(registry, unnamed))) == {"near", "also", "moved"}
    assert names(trained_like(registry, Sample(columns(ROWS[:, :2])))) == []
    assert names(trained_like(registry, unnamed, Conditions.of((), {}, 'name = "moved"'))) == ["moved"]


def test_columns_without_values_are_different_from_those_with(registry: Registry, add: Add) -> None:
    add("m", turned(0), ROWS)
    empty = ROWS.copy()
    empty[:, 0] = np.nan
    half = ROWS.copy()
    half[::2, 1] = np.nan
    assert trained_like(registry, Sample(columns(empty))).hits[0].similarity == pytest.approx(2 / 3, abs=0.01)
    assert trained_like(registry, Sample(columns(half))).hits[0].similarity == pytest.approx(1 - 0.5 / 3, abs=0.02)
    with pytest.raises(InvalidArgument, match="sample: 0 columns"):
        Sample({})


def test_a_bound_that_cuts_is_told(registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        add(f"m{number}", turned(0), ROWS + number)
    monkeypatch.setattr(sampled, "BASELINES_MAX", 2)
    result = trained_like(registry, Sample(columns(ROWS)))
    assert (names(result), result.coverage[0].compared, result.coverage[0].cut) == (["m2", "m3"], 2, True)


@pytest.mark.usefixtures("prober")
def test_several_parts_are_one_ranking_that_is_explained(registry: Registry, add: Add) -> None:
    add("base", turned(0), ROWS, description="wine from grapes", embeddings={"own": [1, 0]})
    add("twin", turned(0.01), ROWS, description="unlike words", embeddings={"own": [1, 1]})
    add("words", turned(3), ROWS + 2, description="wine from grapes")
    add("far", regressor(np.ones((3, 1))), description="nothing")
    look(registry)
    queries = [
        Like("wine grapes", weight=1),
        Like(Ref("base"), "own", weight=1),
        BehavesLike(Ref("base"), weight=2),
        TrainedLike(Sample(columns(ROWS)), weight=4),
    ]
    result = registry.asking.search(queries, ALL, 10)
    assert names(result) == ["twin", "words", "far"]
    for hit in result.hits:
        assert [part.name for part in hit.parts] == ["text", "own", "behaviour", "sample"]
        assert [part.weight for part in hit.parts] == [0.125, 0.125, 0.25, 0.5]
        assert hit.similarity == pytest.approx(sum(part.similarity * part.weight for part in hit.parts))
    told = {hit.version.name: [part.absent for part in hit.parts] for hit in result.hits}
    assert told == {
        "twin": [False, False, False, False],
        "words": [False, True, False, False],
        "far": [False, True, True, True],
    }
    assert {coverage.part for coverage in result.coverage} == {"behaviour", "sample"}
    alone = {hit.version.name: hit.similarity for hit in like(registry, "base").hits}
    assert {hit.version.name: hit.parts[2].similarity for hit in result.hits if not hit.parts[2].absent} == alone
    for weight in (0.0, -1.0, float("nan"), 1e6):
        with pytest.raises(InvalidArgument, match="weight: "):
            registry.asking.search([Like("wine", weight=weight)], ALL, 10)


def test_a_runtime_that_is_away_leaves_a_version_for_later(registry: Registry, add: Add) -> None:
    add("base", turned(0), ROWS)

    def away(_: Version) -> Run:
        raise Unavailable("no memory")

    registry.observer.attach(away)
    with pytest.raises(ServalError, match="no memory"):
        registry.observer.look()
    prober = Prober(registry)
    look(registry)
    assert like(registry, "base").coverage[0].compared == 0
    prober.stop()


def test_the_end_of_a_prober_waits_for_no_rest(registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "REST", 1e6)
    monkeypatch.setattr(observing, "BATCH", 1)
    first, second = add("base", turned(0), ROWS), add("other", turned(0.1))
    prober = Prober(registry)
    prober.start()
    observations = registry.asking._behaviours.observations
    deadline = time.monotonic() + 20
    while stamp(first) not in observations.known([stamp(first)]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    begin = time.monotonic()
    prober.stop()
    assert time.monotonic() - begin < 5
    assert observations.known([stamp(second)]) == {}
