"""Killed (as by kill -9) in the middle of writing the file that is named; test_checkpoint.py starts it."""

import os
import signal
import sys
from pathlib import Path

from utils.checkpoint import write_atomically


def write(temporary: Path) -> None:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)


write_atomically(Path(sys.argv[1]), write)
