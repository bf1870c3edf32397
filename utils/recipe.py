"""The command `make train`: all stages that make the translator that ships, from the corpus on (lesson 08b).

python -m utils.recipe --jobs 2      two stages at a time, with one thread each

Each stage is a command of its own, ends after so many updates, and keeps what it makes in data/cache/stages/. Called
again, the recipe goes on where it was: a stage that is complete is not repeated, one that was stopped is resumed.
"""

import argparse
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from utils.config import CHECKPOINT, ROOT
from utils.fetch import CACHE
from utils.files import write_files, write_text_atomically
from utils.runtime import utf8_output

STAGES = CACHE / "stages"

# Memory in huge pages: trainings in bfloat16 were faster with them (benchmarks/ageing.py). Only glibc reads this.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class Stage(NamedTuple):
    """A step of the recipe: a module of utils with its arguments, and the names of the stages that it builds upon.

    In the arguments {name} stands for the folder of the stage of that name, {out} for its own.
    """

    name: str
    module: str
    arguments: str
    needs: tuple[str, ...] = ()


def training(name: str, arguments: str, *needs: str, precision: str = "float32") -> Stage:
    """A stage that trains a model."""
    return Stage(name, "utils.training", f"--out {{out}} {arguments} --precision {precision} --eval-minutes 10", needs)


def translating(name: str, *models: str, options: str = "") -> Stage:
    """A stage in which a model, or several as an ensemble, translate the training sentences."""
    return Stage(name, "utils.synthetic", f"{folders(*models)} {options} --out {{out}}/pairs.tsv", models)


def averaging(name: str, *models: str) -> Stage:
    """A stage that takes the mean of several models' weights."""
    return Stage(name, "utils.average", f"{folders(*models)} --out {{out}}", models)


def folders(*names: str) -> str:
    """The folders of these stages, as arguments."""
    return " ".join(f"{{{name}}}" for name in names)


def pairs(*names: str) -> str:
    """The option that adds the pairs of these stages to the training pairs."""
    return "--synthetic " + ",".join(f"{{{name}}}/pairs.tsv" for name in names)


TEACHER = "--steps 6000 --numbers 10000"
STUDENT = "--steps 6500 --numbers 20000 --joined 5000 --dropout 0.2"
GOING_ON = "--lr 5e-4 --warmup 100 --cooldown 1"
PRACTICE = f"--steps 4000 {GOING_ON} --numbers 20000 --joined 5000 --dropout 0.2"
OF_NO_MODEL = "--numbers 10000 --joined 5000 --dropout 0.2"
FURTHER = f"--steps 4000 {GOING_ON} {OF_NO_MODEL}"
DOWN = f"--warmup 100 --cooldown 1 {OF_NO_MODEL} --glosses 30000 --compounds 30000"
LAST = f"--steps 3000 {DOWN}"
MIDST = "--names 25000 --more-practice 60000"
ANYWHERE = f"{LAST} {MIDST}"

RECIPE = (
    # Teachers: two translate into English, one back into Chinese.
    training("there-1", "--steps 6000 --dropout 0.3 --numbers 10000 --seed 1"),
    training("there-2", f"{TEACHER} --seed 2"),
    training("back-1", f"{TEACHER} --seed 3 --reverse"),
    # What they make of the training sentences.
    translating("from-there-1", "there-1"),
    translating("from-back-1", "back-1"),
    translating("from-both", "there-1", "there-2"),
    # The first teacher goes on as the student of all: at a level learning rate, then while that falls to zero.
    training(
        "student",
        f"{STUDENT} {pairs('from-there-1', 'from-back-1')} --cooldown 0 --seed 4 --start {{there-1}}",
        *("from-there-1", "from-back-1", "there-1"),
    ),
    training(
        "final",
        f"{STUDENT} {pairs('from-both', 'from-back-1')} --cooldown 1 --warmup 100 --seed 5 --start {{student}}",
        *("from-both", "from-back-1", "student"),
    ),
    # It practises to copy digits, on no pairs that a model made.
    training("digits", f"{PRACTICE} --copies 30000 --seed 6 --start {{final}}", "final", precision="auto"),
    # Both together translate the training sentences once more, and the better copyist learns from that, and more names.
    translating("from-final", "final", "digits"),
    training(
        "copying",
        f"{PRACTICE} --copies 60000 --names 20000 {pairs('from-final')} --seed 7 --start {{digits}}",
        *("from-final", "digits"),
        precision="auto",
    ),
    # The mean of the last two was better on dev than either (data/experiments/average.json).
    averaging("mean", "digits", "copying"),
    # Another model into Chinese, and longer translations by two that decide together.
    training("back-2", f"{TEACHER} --seed 3 --reverse", precision="auto"),
    translating("from-back-2", "back-2"),
    translating("from-copying", "final", "copying", options="--length-penalty 2"),
    # Two go on from the mean, with numbers in many kinds of sentence; the second learns from all pairs that there are.
    training(
        "longer",
        f"{FURTHER} --copies 20000 --practice 50000 --names 20000 {pairs('from-final', 'from-copying')} --seed 8 "
        "--start {mean}",
        *("from-final", "from-copying", "mean"),
        precision="auto",
    ),
    training(
        "sentences",
        f"{FURTHER} --glosses 30000 --copies 20000 --practice 50000 --names 15000 "
        f"{pairs('from-final', 'from-copying', 'from-back-2')} --seed 9 --start {{mean}}",
        *("from-final", "from-copying", "from-back-2", "mean"),
        precision="auto",
    ),
    averaging("mean-2", "longer", "sentences"),
    # It translates once more; compounds put together join the pairs.
    translating("from-mean-2", "final", "mean-2", options="--length-penalty 2"),
    training(
        "words",
        f"{LAST} --lr 5e-4 --copies 10000 --practice 30000 --names 15000 --seed 10 "
        f"{pairs('from-mean-2', 'from-back-2')} --start {{mean-2}}",
        *("from-mean-2", "from-back-2", "mean-2"),
        precision="auto",
    ),
    averaging("mean-3", "sentences", "words"),
    # Twice with numbers in the midst of training sentences.
    training(
        "anywhere",
        f"{ANYWHERE} --lr 5e-4 --seed 12 {pairs('from-mean-2', 'from-back-2')} --start {{mean-3}}",
        *("from-mean-2", "from-back-2", "mean-3"),
        precision="auto",
    ),
    training(
        "anywhere-2",
        f"{ANYWHERE} --lr 3e-4 --seed 13 {pairs('from-mean-2', 'from-copying')} --start {{mean-3}}",
        *("from-mean-2", "from-copying", "mean-3"),
        precision="auto",
    ),
    averaging("mean-4", "anywhere", "anywhere-2"),
    # Their mean translates once more, and is taught those of its translations that are most like people's.
    translating("from-mean-4", "mean-4", options="--nearest --beam-size 5"),
    training(
        "near",
        f"--steps 2500 {DOWN} {MIDST} --lr 3e-4 --seed 22 {pairs('from-mean-4', 'from-back-2')} --start {{mean-4}}",
        *("from-mean-4", "from-back-2", "mean-4"),
        precision="auto",
    ),
    translating("from-near", "near", options="--nearest --beam-size 5"),
    training(
        "near-2",
        f"--steps 2000 {DOWN} {MIDST} --lr 3e-4 --seed 23 {pairs('from-near', 'from-mean-4', 'from-back-2')} "
        "--start {near}",
        *("from-near", "from-mean-4", "from-back-2", "near"),
        precision="auto",
    ),
    averaging("mean-5", "near", "near-2"),
)


def command(stage: Stage, folder: Path = STAGES) -> list[str]:
    """The stage's command line, after `python -m`; paths are relative to the repository where they lie in it."""

    def path(name: str) -> str:
        where = folder / name
        return str(where.relative_to(ROOT) if where.is_relative_to(ROOT) else where)

    places = {need: path(need) for need in stage.needs} | {"out": path(stage.name)}
    return [stage.module, *(word.format(**places) for word in stage.arguments.split())]


def note(folder: Path) -> dict:
    """What was noted when a stage was complete: its key, and a hash of what it made; nothing before."""
    try:
        return json.loads((folder / "done.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def is_done(stage: Stage, folder: Path) -> bool:
    """Whether the stage was completed by this very command, upon stages that were."""
    return note(folder / stage.name).get("key") == key(stage, folder)


def key(stage: Stage, folder: Path) -> str:
    """A hash of the stage's command and of what the stages that it needs have made."""
    needed = [note(folder / need).get("made") for need in stage.needs]
    return hashlib.sha256(repr((command(stage, folder), needed)).encode()).hexdigest()[:16]


def made(folder: Path) -> str:
    """A hash of what a stage has made: its weights, or its pairs."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "pairs.tsv"):
        with suppress(FileNotFoundError):
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Within it `kill`, or a terminal that is closed, does what Ctrl-C does; what the user had ignored stays so."""
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@as_ctrl_c()
def run(recipe: tuple[Stage, ...], folder: Path = STAGES, jobs: int = 1, threads: int | None = None) -> int:
    """Run every stage whose needs are complete, `jobs` at a time; returns 0, or the status of the first that failed.

    A stage's output is added to `log.txt` in its folder. Ctrl-C, or `kill`, stops all of them; each saves where it is.
    """
    running: dict[Stage, subprocess.Popen] = {}
    threads = threads or (1 if jobs > 1 else None)
    failed = 0
    try:
        while True:
            for stage in [stage for stage, process in running.items() if process.poll() is not None]:
                status = running.pop(stage).returncode
                say(stage, "complete" if status == 0 else f"stopped with status {status}, see {stage.name}/log.txt")
                if status == 0:
                    noted = {"key": key(stage, folder), "made": made(folder / stage.name)}
                    write_text_atomically(folder / stage.name / "done.json", json.dumps(noted) + "\n")
                failed = failed or status
            done = {stage.name for stage in recipe if stage not in running and is_done(stage, folder)}
            waiting = [stage for stage in recipe if stage not in running and stage.name not in done]
            if not running and (failed or not waiting):
                return failed
            for stage in waiting:
                if len(running) < jobs and not failed and done.issuperset(stage.needs):
                    running[stage] = start(stage, folder, threads)
            time.sleep(0.2)
    except KeyboardInterrupt:
        for process in running.values():
            process.terminate()  # a training saves then; what translates has saved all but its last piece
        for process in running.values():
            process.wait()
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130


def start(stage: Stage, folder: Path, threads: int | None) -> subprocess.Popen:
    """Begin a stage, or go on with it."""
    (folder / stage.name).mkdir(parents=True, exist_ok=True)
    words = command(stage, folder) + ([f"--threads={threads}"] if threads else [])
    say(stage, f"python -m {shlex.join(words)}")
    with (folder / stage.name / "log.txt").open("a", encoding="utf-8") as log:
        # In a group of its own: Ctrl-C reaches `run` alone, which passes it on once.
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=HUGE_PAGES | os.environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def say(stage: Stage, text: str) -> None:
    print(f"{time.strftime('%H:%M')} {stage.name}: {text}", flush=True)


def summary(recipe: tuple[Stage, ...], folder: Path = STAGES) -> list[dict]:
    """What each stage did: its command, minutes, updates and last figures, or how many pairs it made and dropped."""
    rows = []
    for stage in recipe:
        row = {"stage": stage.name, "command": shlex.join(["python", "-m", *command(stage, folder)])}
        row["made"] = made(folder / stage.name)
        if (path := folder / stage.name / "training.json").exists():
            log = json.loads(path.read_text(encoding="utf-8"))
            row |= {name: log[name] for name in ("machine", "parameters", "pairs", "fingerprint")} | log["history"][-1]
        for name in ("pairs.tsv.json", "average.json"):
            if (path := folder / stage.name / name).exists():
                row |= json.loads(path.read_text(encoding="utf-8"))
        rows.append(row)
    return rows


def ship(recipe: tuple[Stage, ...], folder: Path = STAGES, out: Path = CHECKPOINT) -> None:
    """Copy the last stage's model into the folder that ships, the last training's log, and a table of all stages."""
    last = folder / recipe[-1].name
    files: dict[str, bytes | str] = {
        name: (last / name).read_bytes() for name in ("tokenizer.json", "config.json", "model.safetensors")
    }
    trained = [folder / stage.name / "training.json" for stage in recipe if stage.module == "utils.training"]
    files["training.json"] = trained[-1].read_bytes()
    files["stages.json"] = json.dumps(summary(recipe, folder), indent=1, ensure_ascii=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    write_files(out, files)


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.recipe", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time; with more than one, one thread each")
    parser.add_argument("--threads", type=int, help="CPU threads of each stage")
    parser.add_argument("--list", action="store_true", help="only tell the stages, and which are complete")
    args = parser.parse_args(argv)
    for name in ("jobs", "threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}; it must be at least 1.")
    if args.list:
        for stage in RECIPE:
            say(stage, "complete" if is_done(stage, STAGES) else f"python -m {shlex.join(command(stage))}")
        return 0
    status = run(RECIPE, jobs=args.jobs, threads=args.threads)
    if status == 0:
        ship(RECIPE)
        print(f"The translator is in {CHECKPOINT}; `make results` scores it.")
    return status


if __name__ == "__main__":
    sys.exit(main())
