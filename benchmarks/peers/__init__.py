"""The programs that the course is compared with, in environments of their own: imports nothing they might not have.

NAME.txt lists what pip installs for environment NAME; training.py and decoding.py are run there as workers,
quality.py as a program.
"""

import json
import os
import sys
from pathlib import Path


def serve(peers: dict) -> None:
    """Be the worker of the peer and the job file that the command line names, until standard input ends.

    A peer is a function: job -> (what to say about it, a function task -> answer). Tasks and answers are JSON lines.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    name, path = sys.argv[1:]
    about, work = peers[name](json.loads(Path(path).read_text(encoding="utf-8")))
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), file=answers, flush=True)
