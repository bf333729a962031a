"""Files that are written whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to, and put what was written in its place; where that fails, remove it.

    What is there and is no file, such as a pipe, is given itself. Every OSError names `target`, not the path beside it.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and not target.is_file():
        part = target
    else:
        target = target.resolve()  # what a link leads to is replaced, and not the link
        part = target.with_name(f".{target.name[:200]}.part{target.suffix}")
    try:
        yield part
        part.replace(target)
    except OSError as error:
        raise type(error)(error.errno, error.strerror or str(error), str(target)) from error
    finally:
        if part != target:
            part.unlink(missing_ok=True)
