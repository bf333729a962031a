"""What the documents tell people to type works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from serval_e2e import Server

pytestmark = pytest.mark.slow("both")

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")


def examples(document: str = "README.md") -> dict[str, str]:
    return dict(EXAMPLE.findall((ROOT / document).read_text()))


@pytest.fixture(scope="module")
def fresh(serve) -> Server:
    """A server that nobody has registered anything with, as a reader's."""
    return serve()


@pytest.mark.slow
def test_the_example_of_searching_finds_what_it_says(fresh) -> None:
    code = examples("docs/search.md")["search"].replace("localhost:8470", fresh.address)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    behaves, *trained = done.stdout.splitlines()
    assert behaves.startswith("cellar-linear@1 Agreement(probes=256, share=")
    assert {line.split()[0] for line in trained[:2]} == {"cellar-linear@1", "cellar-trees@1"}
    assert trained[2].startswith("cellar-linear@1 [('text', ")
    assert "Space(name='notes', dimension=8, count=2)" in trained[3]


@pytest.mark.slow
def test_the_examples_of_the_readme_run_one_after_the_other(fresh) -> None:
    found = examples()
    assert list(found) == ["client", "tritonclient"]
    assert len([line for line in found["client"].splitlines() if line]) <= 12
    shown = {}
    for name, code in found.items():
        program = code.replace("localhost:8470", fresh.address)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        shown[name] = done.stdout
    assert shown["client"].startswith("wine@1 1 ")
    assert "alcohol" in shown["client"]
    assert "[[" in shown["tritonclient"]


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/operations.md", "docs/search.md", "docs/registry.md"]
)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), f"{document} links to {target}"


def test_every_command_of_the_table_is_there() -> None:
    table = re.findall(r"^\| `serval (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(table) >= 10
    shown = subprocess.run(
        [Path(sys.executable).with_name("serval"), "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for command in table:
        assert re.search(rf"^\s+{command}\b", shown, re.MULTILINE), f"serval --help does not list {command}"
