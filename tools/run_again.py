"""Run the cells of a lesson again after its last one: each must show what it showed the first time.

    python -m tools.run_again          every lesson (a part of `make soak`)
    python -m tools.run_again 02 08    only these (the beginning of a name is enough)

A learner goes back, changes a number and runs a cell again, when later cells have given names other values. So every
cell of less than two seconds is run again, each with names and random numbers as they were after the last cell.
Outputs are compared as `make test` compares them.
"""

import copy
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tools.rules import IGNORED, shown, tags, texts
from tools.run_lessons import NOTEBOOKS, ROOT, TEXT, as_in_the_tests, normalize, read_twin, twins

SECONDS = 2.0  # a longer cell is not run again
AS_AFTER_THE_LAST = """\
def keep(shell):
    import random, numpy, torch
    kept = dict(shell.user_ns)
    python, arrays, tensors = random.getstate(), numpy.random.get_state(), torch.get_rng_state()

    def as_after_the_last_cell(_):
        shell.user_ns.clear()
        shell.user_ns.update(kept)
        random.setstate(python), numpy.random.set_state(arrays), torch.set_rng_state(tensors)

    shell.events.register("pre_run_cell", as_after_the_last_cell)

keep(get_ipython())"""


def run_twice(notebook: NotebookNode, folder=NOTEBOOKS) -> Iterator[tuple[int, NotebookNode, NotebookNode | str]]:
    """Each cell that is run again: its index, the cell as it was the first time, and again (or its error)."""
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where, coalesce_streams=True)
    again = []
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            start = time.monotonic()
            client.execute_cell(cell, index)
            if cell.cell_type == "code" and time.monotonic() - start < SECONDS:
                again.append((index, copy.deepcopy(cell)))
        client.execute_cell(new_code_cell(AS_AFTER_THE_LAST), len(notebook.cells) - 1)
        for index, first in again:
            try:
                yield index, first, client.execute_cell(copy.deepcopy(first), index)
            except CellExecutionError as error:
                yield index, first, f"{error.ename}: {error.evalue}".splitlines()[0]


def compared(cell: NotebookNode) -> list[dict[str, str]]:
    """What of a cell's outputs is compared: the texts, without times and what else tests/nbval_sanitize.cfg names."""
    from nbval.plugin import get_sanitize_patterns

    patterns = get_sanitize_patterns((ROOT / "tests" / "nbval_sanitize.cfg").read_text(encoding="utf-8"))

    def sanitized(text: str) -> str:
        for regex, replacement in patterns:
            text = re.sub(regex, replacement, text)
        return text

    (cell,) = normalize(NotebookNode(cells=[cell], metadata={})).cells
    return [{kind: sanitized(text) for kind, text in texts(output).items()} for output in shown(cell)]


def differences(notebook: NotebookNode, folder=NOTEBOOKS) -> tuple[list[str], int]:
    """One line for each cell that shows something else, or fails, when run again; and how many were run again."""
    found, n = [], 0
    for index, first, again in run_twice(notebook, folder):
        n += 1
        if isinstance(again, str):
            found.append(f"cell {index} fails when run again: {again}")
        elif IGNORED not in tags(first) and compared(first) != compared(again):
            found.append(f"cell {index} shows something else: {compared(first)} | {compared(again)}"[:300])
    return found, n


def lessons(names: list[str]) -> list[Path]:
    """The twins of the lessons whose names begin with one of `names` (without names: of all), no solutions."""
    return [twin for twin in twins(names) if twin.parent == TEXT]


def main(names: list[str]) -> int:
    wrong = 0
    with as_in_the_tests():
        for twin in lessons(names):
            found, n = differences(read_twin(twin))
            print(f"{twin.stem}: {n} cells run again, {len(found)} not as before", *found, sep="\n  ", flush=True)
            wrong += len(found)
    print("FAILED" if wrong else "ok")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
