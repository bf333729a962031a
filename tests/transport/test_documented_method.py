"""The vectorized method of docs/transport.md runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "transport.md"
EXAMPLE = re.compile(r"<!-- example: vectorized -->\n```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(#([^)]+)\)")
# Calls that the vectorized method has to take fail where the ordinary handler gets them.
ORDINARY = "def mean(request, context):\n"
# Many calls at once, so that turns have several messages of both kinds; and what the ordinary handler says.
MORE = """
    waiting = [call.future(np.full(2 + 2 * (number % 2), number, "<f4").tobytes()) for number in range(400)]
    assert all(np.frombuffer(each.result(), "<f4") == number for number, each in enumerate(waiting))
    print(call.future(b"abc").exception().details())
"""


@pytest.mark.slow
def test_the_vectorized_method_runs() -> None:
    (program,) = EXAMPLE.findall(DOCUMENT.read_text())
    assert program.count(ORDINARY) == 1
    program = program.replace(ORDINARY, ORDINARY + "    assert len(request) != 16\n")
    program = program.replace("server.stop(", f"{MORE}server.stop(")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=280, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[2.5]\n[1.5]\n3 octets; wanted float32 values\n"), done.stderr


def test_links_within_the_document_lead_somewhere() -> None:
    text = DOCUMENT.read_text()
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    links = LINK.findall(text)
    assert links
    assert set(links) <= headings
