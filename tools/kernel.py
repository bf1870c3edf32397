"""The kernel of `make lab`: it imports the course's modules, whatever the files beside a lesson are called.

Jupyter's own kernel looks into the notebook's folder before the installed packages, so that a learner's `utils.py` or
`torch.py` would break the lessons. Here that folder comes last, and such a file is named before the first cell runs.
"""

import os
import sys

from lab import ROOT, shadowing

told = set()


def tell(*_) -> None:
    """Before a cell runs: name the files that cannot be imported, each once."""
    for sentence in shadowing(os.getcwd()):
        if sentence not in told:
            told.add(sentence)
            print(sentence)


def main() -> None:
    sys.path = [str(ROOT), *sys.path[1:], ""]  # "" is the notebook's folder; IPython adds none where it finds one
    from ipykernel.kernelapp import IPKernelApp

    import utils  # noqa: F401 - before a lesson loads torch: it says how torch's threads wait

    app = IPKernelApp.instance()
    app.initialize()
    app.shell.events.register("pre_run_cell", tell)
    app.start()


if __name__ == "__main__":
    main()
