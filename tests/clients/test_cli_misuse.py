"""What people give by mistake: every such command ends with one line that names it, and with 1 or 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serval_client import Client, errors
from serval_client.cli import main
from serval_client.cli.app import _advice
from serval_client.records import Artifact
from serval_client.whole_file import whole_file

SERVAL = Path(sys.executable).with_name("serval")
BEYOND_32, BEYOND_64 = "99999999999", "99999999999999999999"


@pytest.fixture
def serval(target, client, capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder, beside a model "area", and return its exit code, stdout and stderr."""
    monkeypatch.setenv("SERVAL_SERVER", target)
    monkeypatch.chdir(tmp_path)
    client.register(bytes(2000), "area", sample={"height": [1.0, 2.0], "width": [1.0, 2.0]})

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stage", "area@1", "prod"], "choose from 'none', 'staging', 'production', 'archived'"),
        (["models", "--stage", "prod"], "choose from 'none', 'staging', 'production', 'archived'"),
        (["request", "area@1", "prod"], "choose from 'none', 'staging', 'production', 'archived'"),
        (["gates", "area", "--approvals", BEYOND_32], "argument --approvals: got '99999999999', wanted a whole number"),
        (["search", "x", "-k", BEYOND_32], "argument -k: got '99999999999'"),
        (["lineage", "area", "--up", BEYOND_32], "argument --up: got '99999999999'"),
        (["lineage", "area", "--down", "x"], "argument --down: got 'x', wanted a whole number"),
        (["approve", BEYOND_64], "argument ID: got '99999999999999999999'"),
        (["refuse", BEYOND_64, "--reason", "x"], "argument ID: got '99999999999999999999'"),
        (["rollback", "area", "--to", BEYOND_64], "argument --to: got '99999999999999999999'"),
        (["audit", "-n", "-5"], "wanted a whole number from 0"),
        (["audit", "--since", "99999999999d"], "wanted a time"),
        (["audit", "verify", "--known", f"{BEYOND_64}:ab"], "wanted NUMBER:SHA256"),
        (["register", "m.onnx", "--name", "m", "--data", f"d:1:train:{BEYOND_64}"], "wanted NAME:VERSION:SPLIT:ROWS"),
    ],
)
def test_arguments_that_no_field_takes_are_wrong_usage(serval, arguments, words):
    code, out, err = serval(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "<Stage" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["request", BEYOND_64], "wanted NAME@VERSION and a stage"),
        (["alias", f"area@{BEYOND_64}", "champion"], "wanted NAME@VERSION"),
        (["show", "\udcff\udcfe"], "is no text in UTF-8"),
        (["models", "--timeout", "nan"], "--timeout: got nan, wanted more than 0 seconds"),
        (["models", "--timeout", "inf"], "--timeout: got inf, wanted more than 0 seconds"),
        (["models", "--server", ""], "target: got '', wanted HOST:PORT"),
        (
            ["models", "--server", "localhost:74006"],
            "'localhost:74006', wanted HOST:PORT, with a port up to",
        ),
        (["models", "--server", "http://localhost:8470"], "wanted HOST:PORT, without http://"),
        (["register", "gone.joblib", "--name", "m"], "model: 'gone.joblib' is not a file"),
        (["register", ".", "--name", "m"], "model: '.' is not a file"),
        (["download", "area", "-o", "."], "'.' is a folder; wanted a file"),
        (["download", "area", "--force", "-o", "."], "'.' is a folder; wanted a file"),
        (["download", "area", "-o", "none/x.onnx"], "--output-file: there is no folder 'none'"),
        (["predict", "area", "--data", "x.csv", "--output-file", "none/x.csv"], "there is no folder 'none'"),
    ],
)
def test_what_cannot_be_meant_is_one_line(serval, arguments, words):
    code, out, err = serval(*arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert err.startswith("serval: ")
    assert len(err.splitlines()) == 1


def test_a_host_that_is_not_known_is_no_server(serval):
    code, _, err = serval("models", "--server", "nobody.invalid:8470", "--timeout", "20")
    assert code == 1
    assert err.startswith("serval: no server answers at nobody.invalid:8470 (")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"\xff\xfe\x00bad", "x.csv: is no CSV in UTF-8"),
        ("x.csv", b"a,b\n\xff,1\n", "x.csv: "),
        ("x.parquet", b"x", "x.parquet: cannot be read as Parquet"),
        ("x.json", b"[[1, 2], [3]]", "x.json: row 1 has 1 values, wanted 2"),
        ("x.json", b"[[1, [2]], [3, 4]]", "x.json: row 0 holds more than single values"),
        ("x.json", b"[[1], 2]", "x.json: holds 2 among rows"),
        ("x.json", b"[1, [2]]", "x.json: holds 1 among rows"),
        ("x.json", b'[{"height": 1}, [2]]', "x.json: holds objects and others among rows"),
        ("x.npy", b"x", "x.npy: is no numpy array"),
    ],
)
def test_files_that_are_not_what_their_names_say(serval, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    for command in (["predict", "area"], ["drift", "area"]):
        code, out, err = serval(*command, "--data", name)
        assert (code, out) == (1, "")
        assert words in err
        assert "unsafely" not in err
        assert len(err.splitlines()) == 1


def test_who_is_answered_is_not_told_to_start_a_server():
    assert "serval serve" in _advice(errors.Unavailable("no server answers at localhost:1 (Connection refused)"))
    assert _advice(errors.Unavailable("model 'wine' is unloaded; load it to have it answer again")) == ""


def test_not_found_is_advised_by_what_was_not_found():
    def advised(error):
        return _advice(errors.NotFound(error))

    assert advised("no model is named 'gone'") == "`serval models` lists what there is"
    assert advised("model 'wine' has no version 9") == "`serval models` lists what there is"
    assert advised("id: there is no request 99") == ""


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "npz"])
def test_what_is_there_stays_where_writing_fails(serval, tmp_path, ending, monkeypatch):
    (tmp_path / "rows.csv").write_text("height,width\n1,2\n")
    target = tmp_path / f"scored.{ending}"
    target.write_bytes(b"before")

    def full(part, *_):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serval_client.cli.predict._write", full)
    code, out, err = serval("predict", "area", "--data", "rows.csv", "--output-file", target.name)
    assert (code, out, err) == (1, "", f"serval: {target}: No space left on device\n")
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", target.name]


def test_a_whole_file_follows_links_and_leaves_devices(tmp_path):
    target, link = tmp_path / "target.bin", tmp_path / "link.bin"
    target.write_bytes(b"before")
    link.symlink_to(target)
    with whole_file(link) as part:
        part.write_bytes(b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"
    with whole_file(Path("/dev/null")) as part:
        part.write_bytes(b"nothing")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), whole_file(Path("/dev/full")) as part:
        part.write_bytes(b"nothing")
    with pytest.raises(IsADirectoryError):
        Artifact("area", 1, "", b"").save(tmp_path)


@pytest.mark.parametrize("target", ["", "localhost:65536", "https://localhost:1", " localhost:1", f"h:{'9' * 5000}"])
def test_a_target_that_names_no_server_is_refused(target):
    with pytest.raises(errors.InvalidArgument, match="target: got"):
        Client(target)


@pytest.mark.parametrize(
    "target", ["localhost", "[::1]:1", "dns:///localhost:1", "unix:/tmp/none.sock", "ipv4:127.0.0.1:1"]
)
def test_other_forms_of_targets_are_left_to_grpc(target):
    Client(target).close()


def test_a_terminal_without_unicode_is_written_to(target, client, tmp_path):
    client.register(bytes(2000), "area", description="Größe \N{SNOWMAN}")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "SERVAL_SERVER": target}
    for arguments in (["show", "area"], ["show", "area", "--json"]):
        ended = subprocess.run(
            [SERVAL, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert ended.returncode == 0, ended.stderr
        if "--json" in arguments:
            assert json.loads(ended.stdout)["model"]["description"] == "Größe \N{SNOWMAN}"
        else:
            assert "Gr\\xf6\\xdfe \\u2603" in ended.stdout
