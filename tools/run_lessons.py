"""Run the lessons' text twins and store them, with their outputs, as notebooks.

    python tools/run_lessons.py             every lesson and every solution
    python tools/run_lessons.py 02 08       only these (the beginning of a name is enough)
    python tools/run_lessons.py --check     only say whether twins and notebooks agree
    python tools/run_lessons.py --format    run nothing: only write the twins as jupytext writes them

The twin of `notebooks/02_name.ipynb` is `notebooks/text/02_name.md` (MyST Markdown, jupytext): it is
what a maintainer edits and reviews. Each twin runs from top to bottom in a fresh kernel whose folder is
`notebooks/`. Where a cell fails, it is shown and no file is written. A twin is stored byte for byte as
jupytext writes it: saving its notebook in JupyterLab then changes only what the hand changed.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
TEXT = NOTEBOOKS / "text"

# All that a stored notebook says about its kernel: nothing that differs between machines.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")
WIDGET = "application/vnd.jupyter.widget-view+json"
# What a stored page shows where a running kernel would show sliders: a widget's state is of no use without a kernel.
PLAY = "Run this cell to play with the figure."
# A tqdm bar: "  3%|#    | 3/100 [00:01<00:30]". What it showed is a matter of one machine's speed.
PROGRESS_BAR = re.compile(r"\d+%\|.*\||\d+\w+ \[\d\d:\d\d")


class LessonError(Exception):
    """A cell of a lesson failed; the message shows the cell and the error."""


def twins(names: list[str] = ()) -> list[Path]:
    """The text twins whose names begin with one of `names` (without names: all), solutions last."""
    found = sorted(TEXT.glob("*.md")) + sorted((TEXT / "solutions").glob("*.md"))
    chosen = [path for path in found if not names or path.name.startswith(tuple(names))]
    for name in names:
        if not any(path.name.startswith(name) for path in found):
            raise SystemExit(f"there is no lesson in {TEXT.relative_to(ROOT)}/ whose name begins with {name!r}")
    return chosen


def notebook_of(twin: Path) -> Path:
    """The notebook that belongs to a text twin."""
    return NOTEBOOKS / twin.relative_to(TEXT).with_suffix(".ipynb")


def read_twin(twin: Path) -> NotebookNode:
    """Read a text twin as a notebook without outputs, its cell ids made of name and position."""
    notebook = jupytext.read(twin, fmt="md:myst")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells):
        cell.id = f"{twin.stem[:50].replace('.', '-')}-{index:03d}"
    return notebook


def as_jupytext_writes(twin: Path) -> str:
    """The text of a twin in jupytext's own style, as JupyterLab saves it once a kernel has run."""
    notebook = jupytext.read(twin, fmt="md:myst")
    notebook.metadata.language_info = nbformat.from_dict({"name": "python", "pygments_lexer": "ipython3"})
    return jupytext.writes(notebook, fmt="md:myst")


def format_twin(twin: Path) -> None:
    """Store a twin as jupytext writes it; the cells stay as they are."""
    text = as_jupytext_writes(twin)
    if text != twin.read_text(encoding="utf-8"):
        replace(twin, text)


def run_notebook(notebook: NotebookNode, folder: Path = NOTEBOOKS) -> NotebookNode:
    """Execute every cell in order in a fresh kernel and keep the outputs.

    Raises:
        LessonError: a cell raised an error, took longer than ten minutes, or lost its kernel.
    """
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        cell = next(c for c in notebook.cells if any(o.output_type == "error" for o in c.get("outputs", ())))
        index = notebook.cells.index(cell)
        raise LessonError(f"cell {index} failed: {error.ename}: {error.evalue}\n\n{cell.source}\n") from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise LessonError(str(error)) from error
    return normalize(notebook)


def normalize(notebook: NotebookNode) -> NotebookNode:
    """Drop from an executed notebook what depends on the run, and give each picture its alt text."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = [out for out in cell.outputs if not is_progress_bar(out)]
        for output in cell.outputs:
            if output.output_type in ("display_data", "execute_result"):
                if WIDGET in output.data:
                    output.data = nbformat.from_dict({"text/plain": PLAY})
                output.metadata = picture_metadata(cell, output)
    return notebook


def is_progress_bar(output: NotebookNode) -> bool:
    """Whether an output is nothing but tqdm's bar on stderr (a warning is kept: the tests refuse it)."""
    if output.output_type != "stream" or output.name != "stderr":
        return False
    lines = [line for line in re.split(r"[\r\n]", output.text) if line.strip()]
    return all(PROGRESS_BAR.search(line) for line in lines)


def picture_metadata(cell: NotebookNode, output: NotebookNode) -> dict:
    """What `figures.show` says of its pictures, else the alt text of the cell, repeated for each picture."""
    if any("alt" in about for about in output.metadata.values()):
        return output.metadata
    alt = alt_text(cell)
    return {kind: {"alt": alt} for kind in output.data if kind in PICTURES} if alt else {}


def alt_text(cell: NotebookNode) -> str:
    """The alt text that the cell's call of `figures.show` or its twin (`mystnb: image: alt:`) gives, or nothing."""
    for output in cell.get("outputs", ()):
        for about in output.get("metadata", {}).values():
            if isinstance(about, dict) and {"alt", "width"} <= set(about):  # only `figures.show` says how wide
                return about["alt"]
    return " ".join(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").split())


def differences(twin: NotebookNode, notebook: NotebookNode) -> list[str]:
    """What differs between a twin and its notebook, outputs apart: one line per difference."""
    if len(twin.cells) != len(notebook.cells):
        return [f"the twin has {len(twin.cells)} cells, the notebook {len(notebook.cells)}"]
    found = []
    for index, (ours, theirs) in enumerate(zip(twin.cells, notebook.cells, strict=True)):
        for what in ("cell_type", "source", "id", "metadata"):
            if ours[what] != theirs[what]:
                found.append(f"cell {index}: {what} differs: {str(ours[what])[:80]!r} | {str(theirs[what])[:80]!r}")
        # A notebook stores them sorted, and JupyterLab refuses to open a pair whose text says otherwise.
        if list(ours.metadata) != sorted(ours.metadata):
            found.append(f"cell {index}: write the header's entries in the order {sorted(ours.metadata)}")
    return found


def replace(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it: what was there stays whole till then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def check(chosen: list[Path]) -> int:
    """Print every difference between twins and notebooks; return how many there are."""
    found = 0
    for twin in chosen:
        path = notebook_of(twin)
        lines = differences(read_twin(twin), nbformat.read(path, 4)) if path.exists() else ["there is no notebook yet"]
        if twin.read_text(encoding="utf-8") != as_jupytext_writes(twin):
            lines.append("its twin is not what jupytext writes: call `python tools/run_lessons.py --format`")
        for line in lines:
            print(f"{path.relative_to(ROOT)}: {line}")
        found += len(lines)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of lesson names, such as 02")
    parser.add_argument("--check", action="store_true", help="run nothing: compare twins with notebooks")
    parser.add_argument("--format", action="store_true", help="run nothing: write the twins as jupytext writes them")
    args = parser.parse_args()
    chosen = twins(args.names)
    if args.check:
        return int(check(chosen) > 0)
    for twin in chosen:
        format_twin(twin)
    if args.format:
        return 0

    with as_in_the_tests():
        return int(not all([run_and_store(twin) for twin in chosen]))


@contextmanager
def as_in_the_tests() -> Iterator[None]:
    """Kernels get what `make test` gives them: one thread, so that sums have one order, and no learner's progress."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel before the user's own
    os.environ.pop("MPLBACKEND", None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFORMER_COURSE_PROGRESS"] = str(Path(folder) / "progress.json")
        yield


def run_and_store(twin: Path) -> bool:
    """Run one twin and write its notebook; where a cell fails, say so and write nothing."""
    path, start = notebook_of(twin), time.monotonic()
    try:
        replace(path, nbformat.writes(run_notebook(read_twin(twin))) + "\n")
        os.utime(twin)  # JupyterLab refuses to open a notebook that is newer than its text
    except LessonError as error:
        print(f"{path.relative_to(ROOT)}: not written, {error}", file=sys.stderr)
        return False
    print(f"{path.relative_to(ROOT)}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1e3:.0f} kB")
    return True


if __name__ == "__main__":
    sys.exit(main())
