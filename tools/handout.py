"""`make handout`: the course without its solutions, as a folder to give to learners.

    python tools/handout.py --out FOLDER      (build/handout if not said)

What git knows of the course, as it stands in the working tree, without the solved exercises, without the tests, which
hold solved ones, too, and without the teachers' pages, the grader, the lessons' text twins and CONTRIBUTING.md. Links
to what is left out become plain text. The right answers that the checks compare with stay in `utils/checks`: without
them there is no check.
"""

import argparse
import json
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("notebooks/text", "notebooks/teachers.md", "notebooks/zh/teachers.md", "tests", "conftest.py")
LEFT_OUT += ("tools/grading", "tools/grade.py", "CONTRIBUTING.md", ".ci", ".github")
# The texts of the lessons in other languages: a figure takes its caption from there.
KEPT = re.compile(r"notebooks/text/(?!solutions/)[a-z]+/[^/]+\.md")
LINK = re.compile(r"(?<!!)\[([^\]\[]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def files(root: Path = ROOT) -> list[str]:
    """The paths of what is handed out. Raises OSError with a sentence where git knows no course."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, encoding="utf-8")
    if git.returncode or not git.stdout:
        raise OSError("A handout is made of what git knows of the course: call this in a clone of its repository.")
    found = (path for path in git.stdout.split("\0") if path and (root / path).is_file())
    return [path for path in found if not is_left_out(path)]


def is_left_out(path: str) -> bool:
    place = PurePosixPath(path)
    if KEPT.fullmatch(path):
        return False
    return "solutions" in place.parts or any(place.is_relative_to(folder) for folder in LEFT_OUT)


def without_links(text: str, path: str) -> str:
    """Links to what is left out become their own words."""

    def kept(link: re.Match) -> str:
        words, target = link[1], link[2]
        if "://" in target:
            return link[0]
        return words if is_left_out(normalized(PurePosixPath(path).parent, target)) else link[0]

    return LINK.sub(kept, text)


def normalized(folder: PurePosixPath, target: str) -> str:
    return posixpath.normpath(folder / target)


def handed_out(root: Path, path: str) -> bytes:
    """A file as learners get it."""
    content = (root / path).read_bytes()
    if path.endswith(".md"):
        return without_links(content.decode(), path).encode()
    if path.endswith(".ipynb"):
        notebook = json.loads(content)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = without_links("".join(cell["source"]), path).splitlines(keepends=True)
        return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()
    return content


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tools/handout.py", description="The course without its solutions.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "handout", help="a folder that is not there yet")
    args = parser.parse_args(argv)
    unfinished = args.out.with_name(f".{args.out.name}.new")
    try:
        if args.out.exists() and args.out != parser.get_default("out"):  # there, nobody works
            raise OSError(f"{args.out} is there already: name a new folder.")
        paths = files()
        for path in paths:
            place = unfinished / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(handed_out(ROOT, path))
            shutil.copymode(ROOT / path, place)
        shutil.rmtree(args.out, ignore_errors=True)
        unfinished.rename(args.out)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{len(paths)} files in {args.out}: the course without its solutions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
