"""The command line of the grader."""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from tools.grading import pool, report
from tools.grading.submissions import Row, jobs, place, submissions
from utils.runtime import utf8_output


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(
        prog="python tools/grade.py",
        description="Grade notebooks and my_transformer.py files. A guard against accidents, no sandbox against "
        "malice: notebooks/teachers.md says how to run it in a container.",
    )
    parser.add_argument("submissions", type=Path, help="a folder: a file or a folder for each learner")
    parser.add_argument("--out", type=Path, required=True, help="for the report: a new folder, or an older report")
    parser.add_argument("--seed", type=int, default=0, help="of the checks' random cases (default 0)")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes at a time (default: one for each core)")
    parser.add_argument("--seconds", type=float, default=120, help="for one exercise, on the clock (default 120)")
    parser.add_argument("--memory", type=float, default=2, help="GB for one exercise, beyond torch's (default 2)")
    parser.add_argument("--no-training", action="store_true", help="leave out the capstone's training, a minute each")
    args = parser.parse_args(argv)

    if not args.submissions.is_dir():
        return refuse(f"There is no folder {args.submissions}.")
    found, others = submissions(args.submissions)
    if not found:
        return refuse(f"There is no notebook and no my_transformer.py in {args.submissions}.")
    if args.out.resolve().is_relative_to(args.submissions.resolve()):
        return refuse("Choose a folder for the report that is not in the folder of submissions.")
    try:
        report.make_room(args.out)
    except OSError as error:
        return refuse(str(error))

    options = {"seed": args.seed, "seconds": args.seconds, "capstone": {"steps": 0} if args.no_training else {}}
    options["capstone_seconds"] = max(args.seconds, 900 if not args.no_training else 0)
    todo, rows = [], []
    for submission in found:
        more, at_once = jobs(submission, options)
        todo, rows = todo + more, rows + at_once
    try:
        rows += graded(todo, args.jobs, int(args.memory * 1e9))
    except KeyboardInterrupt:
        return refuse("Stopped: no report was written.")
    rows = better(rows)
    report.write(args.out, rows, others, args.seed)
    learners, passed = len({row.learner for row in rows}), sum(row.verdict == "passed" for row in rows)
    print(f"{learners} learners, {len(rows)} exercises, {passed} passed: see {args.out / 'index.html'}")
    return 0


def graded(todo: list[dict], at_once: int, memory: int) -> list[Row]:
    """Run the jobs under a progress bar."""
    rows = []
    with tqdm(total=len(todo), unit="exercise", file=sys.stderr) as bar:
        for job, results in pool.done(todo, max(1, at_once), memory):
            rows += [job["submission"].row(*result) for result in results]
            bar.update()
    return rows


def better(rows: list[Row]) -> list[Row]:
    """One row for each learner and exercise, in order: where it was handed in twice, the better one."""
    verdicts = ["passed", "wrong", "error", "not attempted", "missing", "unreadable"]
    best = {}
    for row in sorted(rows, key=lambda row: (verdicts.index(row.verdict), row.file)):
        best.setdefault((row.learner, row.exercise or row.file), row)
    return sorted(best.values(), key=lambda row: (row.learner, place(row.exercise), row.file))


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1
