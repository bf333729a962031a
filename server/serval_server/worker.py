"""`python -m serval_server.worker OPTIONS`: one worker process; started by `serval_server.workers`."""

import logging
import sys

from serval_server.cli import LOG_FORMAT
from serval_server.workers import worker_main

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    worker_main(sys.argv[1])
