"""The report: `grades.csv`, `index.html` with the summary, `mistakes.png`, and a page for each learner."""

import csv
import html
import io
import re
from collections import Counter
from pathlib import Path

from tools.grading.submissions import Row, place
from utils.checks.engine.result import Result
from utils.files import write_files

COLUMNS = ("learner", "lesson", "exercise", "verdict", "stars", "mistake")
VERDICTS = ("passed", "wrong", "error", "not attempted", "missing")
STATES = {"passed": True, "wrong": False, "error": False, "unreadable": False}
MOST = 20  # mistakes in the picture
WARNING = (
    "The grader guards against accidents; it is no sandbox. A learner who wants to can read the answers, change "
    "files or fake a verdict: run submissions of strangers in a container, as notebooks/teachers.md says."
)
STYLE = """
:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem } table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .8rem .2rem 0;
border-bottom: 1px solid #8886; vertical-align: top } td.number { text-align: right } img { max-width: 100%;
background: white } pre { overflow-x: auto }
"""


# ---- the folder --------------------------------------------------------------------------------------------


def make_room(folder: Path) -> None:
    """Make the folder. Raises OSError with a sentence where something else than an older report lies in it."""
    if folder.exists() and not folder.is_dir():
        raise OSError(f"{folder} is a file: name a folder for the report.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "grades.csv").exists():
        raise OSError(f"{folder} holds other files than a report: name a new folder.")
    try:
        (folder / "learners").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"Cannot make the folder {folder}: {error.strerror}.") from None


def write(folder: Path, rows: list[Row], others: list[str], seed: int) -> None:
    pages = page_names(rows)
    for old in (folder / "learners").glob("*.html"):
        old.unlink()
    learners = {f"{name}.html": learner_page(name, learner, rows) for learner, name in pages.items()}
    write_files(folder / "learners", learners)
    counted = by_mistake(rows)
    files = {"grades.csv": table_of_grades(rows)}
    if counted:
        files["mistakes.png"] = picture(counted)
    write_files(folder, files | {"index.html": index(rows, others, seed, counted, pages)})


def page_names(rows: list[Row]) -> dict[str, str]:
    """A file's name for each learner, whatever characters are in theirs."""
    names = {}
    for learner in dict.fromkeys(row.learner for row in rows):
        plain = re.sub(r"[^\w-]+", "_", learner)[:80].strip("_") or "learner"
        taken = {name.lower() for name in names.values()}  # some systems do not tell A from a
        names[learner] = next(
            name for n in range(1, len(rows) + 2) if (name := plain + f"_{n}" * (n > 1)).lower() not in taken
        )
    return names


def table_of_grades(rows: list[Row]) -> bytes:
    """The CSV, in UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        values = (row.learner, row.lesson, row.name, row.verdict, row.stars or "", "; ".join(row.mistakes))
        # What begins so is a formula to a spreadsheet.
        writer.writerow([f"'{value}" if str(value)[:1] in "=+-@\t\r" and value else value for value in values])
    return text.getvalue().encode("utf-8-sig", "replace")


# ---- the summary -------------------------------------------------------------------------------------------


def by_mistake(rows: list[Row]) -> list[tuple[str, str, int, int]]:
    """(exercise, mistake, how many learners made it, how many handed the exercise in), most frequent first."""
    handed_in = Counter(row.exercise for row in rows)
    made = Counter((row.exercise, mistake) for row in rows for mistake in dict.fromkeys(row.mistakes))
    order = sorted(made, key=lambda key: (-made[key], key))
    return [(plain(key[0]), key[1], made[key], handed_in[key[0]]) for key in order]


def plain(exercise: str) -> str:
    """02 scores, for lesson02.scores."""
    return exercise.removeprefix("lesson").replace(".", " ") or "files"


def picture(counted: list[tuple[str, str, int, int]]) -> bytes:
    """The most frequent mistakes as bars: a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from utils import figures

    figures.use_style()
    shown = counted[:MOST][::-1]
    fig, ax = plt.subplots(figsize=(9, 1.2 + 0.32 * len(shown)), layout="constrained")
    ax.barh(range(len(shown)), [n for _, _, n, _ in shown], color=figures.ORANGE)
    labels = [f"{exercise}: {shorter(mistake)}".replace("$", r"\$") for exercise, mistake, _, _ in shown]
    ax.set_yticks(range(len(shown)), labels=labels)
    for y, (_, _, n, of) in enumerate(shown):
        ax.text(n, y, f" {n} of {of}", va="center")
    ax.set(xlabel="learners", xlim=(0, 1.15 * shown[-1][2]), ylim=(-0.6, len(shown) - 0.4))
    ax.xaxis.get_major_locator().set_params(integer=True)
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=110)
    plt.close(fig)
    return file.getvalue()


def shorter(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# ---- the pages ---------------------------------------------------------------------------------------------


def page(title: str, *parts: str) -> str:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    head += '<meta name="viewport" content="width=device-width"><style>' + STYLE + "</style>"
    text = "\n".join([head, f"<h1>{html.escape(title)}</h1>", *parts, "</html>\n"])
    return text.encode("utf-8", "replace").decode()  # halves of surrogate pairs cannot be written


def table(head: tuple[str, ...], lines: list[tuple]) -> str:
    """Cells that are `Raw` stand as they are, all others are text or numbers."""

    def cell(value) -> str:
        inner = value if isinstance(value, Raw) else html.escape(str(value))
        return f'<td class="number">{inner}</td>' if isinstance(value, int) else f"<td>{inner}</td>"

    rows = "\n".join("<tr>" + "".join(map(cell, line)) + "</tr>" for line in lines)
    return "<table><tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + f"</tr>\n{rows}</table>"


class Raw(str):
    """HTML that is written as it is."""


def index(rows: list[Row], others: list[str], seed: int, counted: list, pages: dict[str, str]) -> str:
    verdicts = Counter((row.exercise, row.verdict) for row in rows)
    stars = {row.exercise: "★" * row.stars for row in rows if row.exercise}
    lines = [
        (plain(name), stars[name], *(verdicts[name, verdict] for verdict in VERDICTS))
        for name in sorted(stars, key=place)
    ]
    parts = [
        f"<p>{len(pages)} learners. Seed of the checks' random cases: {seed}. {html.escape(WARNING)}</p>",
        "<h2>By exercise</h2>",
        table(("exercise", "", *VERDICTS), lines),
    ]
    if counted:
        alt = "; ".join(f"{exercise}, {mistake}: {n} of {of}" for exercise, mistake, n, of in counted[:MOST])
        parts += [
            "<h2>By mistake</h2>",
            "<p>A mistake that no check recognizes stands here in the words of the check's first sentence.</p>",
            f'<p><img src="mistakes.png" alt="{html.escape(alt)}"></p>',
            table(
                ("exercise", "mistake", "learners"),
                [(exercise, mistake, f"{n} of {of}") for exercise, mistake, n, of in counted],
            ),
        ]
    parts += ["<h2>By learner</h2>", table(("learner", "passed", "of", "stars"), by_learner(rows, pages))]
    if others:
        parts += ["<h2>Not graded</h2>", f"<p>Neither notebook nor capstone: {html.escape(', '.join(others))}</p>"]
    return page("Exercises: the report", *parts)


def by_learner(rows: list[Row], pages: dict[str, str]) -> list[tuple]:
    lines = []
    for learner, name in pages.items():
        mine = [row for row in rows if row.learner == learner]
        passed = [row for row in mine if row.verdict == "passed"]
        link = Raw(f'<a href="learners/{html.escape(name)}.html">{html.escape(learner)}</a>')
        lines.append((link, len(passed), len(mine), sum(row.stars for row in passed)))
    return lines


def learner_page(name: str, learner: str, rows: list[Row]) -> str:
    parts = []
    for row in rows:
        if row.learner == learner:
            heading = f"{plain(row.exercise)} {'★' * row.stars}".strip() if row.exercise else row.file
            parts.append(f"<h2>{html.escape(heading)}: {row.verdict}</h2><p>{html.escape(row.file)}</p>")
            parts.append(Result(STATES.get(row.verdict), row.words)._repr_html_())
    return page(learner, *parts)
