"""The process that converts: reads the paths of jobs from its input, writes what became of them to its output.

A line in is a JSON object {"job": path, "seconds": limit}; the job is a pickled Job, the result lands beside it in
path + ".onnx". A line out is {"ready": true}, {"done": true}, or {"error": reason, "class": name}.
"""

import json
import os
import pickle
import signal
import sys
from typing import Any

# Left over after the parent's own limit: the parent kills first, unless it is gone.
_GRACE_SECONDS = 5.0


def main() -> None:
    """Serve jobs until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # converters print; the replies must stay clean
    import skl2onnx  # noqa: F401 the slow import, before the first time limit starts

    _reply(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        # A converter that hangs must not outlive its parent: the default action of the signal ends the process.
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE_SECONDS)
        _reply(replies, _result(request["job"], request["path"]))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _result(path: str, search: list[str]) -> dict[str, Any]:
    from serval_client.export.convert import convert
    from serval_client.export.errors import ExportError, NotConvertible, shortened

    sys.path.extend(entry for entry in search if entry not in sys.path)
    try:
        with open(path, "rb") as file:
            job = pickle.load(file)  # written by the parent, into a directory of its own
    except Exception as error:
        return {"error": shortened(f"{type(error).__name__}: {error}"), "class": "", "unreadable": True}
    try:
        data = convert(job)
    except NotConvertible as error:
        return {"error": str(error), "class": error.class_name}
    except ExportError as error:
        return {"error": str(error)}
    with open(path + ".onnx", "wb") as file:
        file.write(data)
    return {"done": True}


def _reply(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
