"""The engine with every index held against its array: NUMBA_BOUNDSCHECK, in processes of their own.

Compiled code does not look at bounds, as each module's "who checks what" says why it need not. Here it does, under the
tests that throw the most at it; the kernel cache keeps what is compiled so in a folder apart.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
THROWN = [
    *(path for path in sorted(Path(__file__).parent.glob("test_*.py")) if path != Path(__file__)),
    TESTS / "transport" / "test_fuzz.py",
    TESTS / "transport" / "test_attacks.py",
    TESTS / "kernels" / "test_trees.py",
]
TARGETS = "vectorized vectors"


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("SERVAL_BOUNDS"), reason="compiles everything anew: make bounds")
@pytest.mark.timeout(1200)  # minutes of it are the compiler's, the first time
def test_no_index_is_out_of_bounds():
    environment = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "SERVAL_FUZZ_SESSIONS": "60",
        "SERVAL_TRANSPORT_TARGETS": TARGETS,
    }
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "900", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *map(str, THROWN)],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


@pytest.mark.slow
def test_the_check_is_on_where_it_is_asked_for(tmp_path):
    """The environment variable reaches the compiled code: without it the test above would say nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from serval_kernels.compile import kernel\n"
        "@kernel\n"
        "def beyond(array, at):\n"
        "    return array[at]\n"
        "try:\n"
        "    beyond(np.zeros(4), 4)\n"
        "except IndexError:\n"
        "    print('held')\n"
    )
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "held"
