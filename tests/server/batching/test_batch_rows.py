"""How many rows a run of a model has at most, as an operator says it."""

import argparse
import time

import numpy as np
import pytest
from serval_client import Client
from serval_server import cli
from serval_server.app import App
from serval_server.config import BatchRows, Options
from serval_server.engine.loaded import LoadedModel
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def options_of(*arguments: str) -> Options:
    parser = argparse.ArgumentParser()
    cli.SERVE.configure(parser)
    return cli._options(parser.parse_args(arguments))


def test_what_is_said_of_all_and_of_some_is_kept_apart() -> None:
    rows = options_of("--max-batch-rows", "wine=4", "--max-batch-rows", "64").max_batch_rows
    assert (rows.of("wine"), rows.of("others")) == (4, 64)
    assert options_of().max_batch_rows == BatchRows()


@pytest.mark.parametrize("wrong", ["0", "wine=", "wine=x", "-3"])
def test_what_is_no_number_of_rows_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_of("--max-batch-rows", wrong)
    assert "whole number above 0" in capsys.readouterr().err


def test_a_worker_process_is_told() -> None:
    options = options_of("--max-batch-rows", "wine=4")
    assert Options.from_json(options.to_json()).max_batch_rows == options.max_batch_rows


@pytest.mark.slow
def test_no_run_of_a_model_has_more(tmp_path, monkeypatch) -> None:
    data, labels = load_wine(return_X_y=True)
    rows = data.astype(np.float32)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    sizes: list[int] = []
    run = LoadedModel.run

    def counted(self, inputs, outputs=None):
        sizes.append(len(next(iter(inputs.values()))))
        return run(self, inputs, outputs)

    monkeypatch.setattr(LoadedModel, "run", counted)
    app = App(Options(data=tmp_path, listen="127.0.0.1:0", max_batch_rows=BatchRows(models={"wine": 4})))
    app.start()
    try:
        with Client(f"127.0.0.1:{app.port}") as client:
            client.register(model, "wine", sample=rows)
            deadline = time.monotonic() + 30.0
            while True:  # the first calls of a model are answered one by one, until its batches are prepared
                sizes.clear()
                answer = client.predict("wine", rows[:10])
                assert (answer.labels == model.predict(rows[:10])).all()
                if sizes == [4, 4, 2]:
                    break
                assert time.monotonic() < deadline, sizes
    finally:
        app.stop()
