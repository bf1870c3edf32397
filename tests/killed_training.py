"""`python -m utils.training`, killed (as by kill -9) at a chosen call of a chosen function; test_training.py starts it.

python killed_training.py FUNCTION CALL ARGUMENTS...
"""

import io
import os
import signal
import sys

import torch

from utils import training

function, call, *arguments = sys.argv[1:]
left = int(call)


def kill_at_last_call() -> None:
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def half_written(state, path) -> None:
    """torch.save that dies half-way through the file."""
    whole = io.BytesIO()
    save(state, whole)
    with open(path, "wb") as file:
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        kill_at_last_call()
        file.write(whole.getvalue()[whole.tell() // 2 :])


def first_kill(original):
    def wrapped(*args, **kwargs):
        kill_at_last_call()
        return original(*args, **kwargs)

    return wrapped


save = torch.save
if function == "torch.save":
    torch.save = half_written
elif function == "os.replace":
    os.replace = first_kill(os.replace)
else:
    training.Trainer.train_step = first_kill(training.Trainer.train_step)
sys.exit(training.main(arguments))
