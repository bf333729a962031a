"""Makes one change of stage in a directory and dies by SIGKILL before or after one of its steps."""

import os
import signal
import sys
from pathlib import Path

from serval_registry.lifecycle.entries import Actor
from serval_registry.lifecycle.journal import Journal
from serval_registry.model import Stage
from serval_registry.registry import Registry
from serval_registry.tables import Table

STEPS = {"announce": (Journal, "append"), "commit": (Table, "update_sql")}


def main(directory: str, when: str, step: str) -> None:
    owner, name = STEPS[step]
    with Registry.open(Path(directory)) as registry:
        inner = getattr(owner, name)

        def deadly(*args: object, **kwargs: object) -> None:
            if when == "after":
                inner(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, deadly)
        registry.set_stage("wine", 2, Stage.PRODUCTION, Actor.claimed("alice"))


if __name__ == "__main__":
    main(*sys.argv[1:])
