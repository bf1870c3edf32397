"""The recipe: stages in the order of their needs, nothing twice, nothing lost; and what they may not be."""

import json
import os
import signal
import threading
import time
from dataclasses import fields

import pytest
from helpers.tiny import tiny_checkpoint

from utils import average, recipe
from utils.config import DataConfig, ModelConfig, TrainConfig, flag
from utils.recipe import RECIPE, Stage, command, is_done, run, ship, summary
from utils.training import parse_arguments

STAGED = "tests.helpers.staged"
THREE = (
    Stage("a", STAGED, "--out {out} --text x"),
    Stage("b", STAGED, "--out {out} --text y"),
    Stage("c", STAGED, "{a} {b} --out {out} --text z", ("a", "b")),
)


def calls(folder, name: str) -> int:
    path = folder / name / "calls.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_stages_run_once_in_the_order_of_their_needs(tmp_path, jobs, capsys):
    assert run(THREE[::-1], tmp_path, jobs) == 0
    assert (tmp_path / "c" / "pairs.tsv").read_text() == "z+x+y"
    assert [calls(tmp_path, name) for name in "abc"] == [1, 1, 1]
    threads = "1" if jobs == 2 else "None"  # side by side one thread each, alone as many as there are
    assert (tmp_path / "a" / "calls.txt").read_text() == f"threads {threads}\n"
    assert capsys.readouterr().out.count("complete") == 3
    assert run(THREE, tmp_path, jobs) == 0 and [calls(tmp_path, name) for name in "abc"] == [1, 1, 1]


def test_stages_get_huge_pages_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert run(THREE[:1], tmp_path) == 0
    assert (tmp_path / "a" / "tunables.txt").read_text() == recipe.HUGE_PAGES["GLIBC_TUNABLES"]
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert run(THREE[1:2], tmp_path) == 0
    assert (tmp_path / "b" / "tunables.txt").read_text() == "glibc.malloc.arena_max=1"


def test_another_command_repeats_a_stage_and_all_that_build_upon_it(tmp_path):
    assert run(THREE, tmp_path) == 0
    other = (THREE[0], THREE[1]._replace(arguments="--out {out} --text w"), THREE[2])
    assert run(other, tmp_path) == 0
    assert (tmp_path / "c" / "pairs.tsv").read_text() == "z+x+w"
    assert [calls(tmp_path, name) for name in "abc"] == [1, 2, 2]


def test_a_stage_that_fails_ends_the_recipe_and_is_tried_again(tmp_path, capsys):
    failing = (THREE[0]._replace(arguments="--out {out} --text x --fails 1"), *THREE[1:])
    assert run(failing, tmp_path) == 3
    assert "a: stopped with status 3, see a/log.txt" in capsys.readouterr().out
    assert calls(tmp_path, "c") == 0 and not is_done(failing[0], tmp_path)
    assert run(failing, tmp_path) == 0 and (tmp_path / "c" / "pairs.tsv").read_text() == "z+x+y"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_lets_its_stages_save(tmp_path, capsys, number):
    sleeping = (THREE[0]._replace(arguments="--out {out} --text x --sleeps"), *THREE[1:])

    def interrupt():
        while not calls(tmp_path, "a"):
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), number)

    # A program begun in the background may have Ctrl-C switched off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        assert run(sleeping, tmp_path, jobs=2) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the same command goes on from here" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "afterwards as before"
    assert run(sleeping, tmp_path) == 0 and (tmp_path / "c" / "pairs.tsv").read_text() == "z+x+y"


def test_every_stage_is_a_command_that_ends_after_so_many_updates():
    """Its flags are the command's own, and what it needs comes before it."""
    names: set[str] = set()
    for stage in RECIPE:
        assert stage.name not in names and names.issuperset(stage.needs)
        names.add(stage.name)
        module, *words = command(stage)
        if module == "utils.training":
            args = parse_arguments(words)
            assert args.steps and args.minutes is None and args.out.name == stage.name
            assert {"--seed", "--steps", "--precision"} <= set(words)
            records = (DataConfig, ModelConfig, TrainConfig)
            assert vars(args).keys() >= {f.name for record in records for f in fields(record) if flag(f)}
        elif module == "utils.synthetic":
            assert words[-1].endswith("pairs.tsv")
        else:
            assert module == "utils.average" and words[-2] == "--out"


def test_what_ships_is_the_last_stage_with_a_table_of_all(tmp_path):
    trained = Stage("trained", "utils.training", "--out {out}", ("pairs",))
    last = Stage("last", "utils.average", "{trained} {trained} --out {out}", ("trained",))
    average.write([tiny_checkpoint(tmp_path / "trained")] * 2, tmp_path / "last")
    log = {"machine": "m", "parameters": 5, "pairs": 7, "fingerprint": "f", "history": [{"step": 1}, {"step": 2}]}
    (tmp_path / "trained" / "training.json").write_text(json.dumps(log))
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "pairs.tsv").write_text("一\tone\n", encoding="utf-8")
    (tmp_path / "pairs" / "pairs.tsv.json").write_text(json.dumps({"pairs": 1, "dropped": {"held out": 2}}))
    stages = (Stage("pairs", "utils.synthetic", "{out}/pairs.tsv"), trained, last)
    ship(stages, tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "last" / "model.safetensors"
    ).read_bytes()
    rows = json.loads((tmp_path / "out" / "stages.json").read_text())
    assert rows == summary(stages, tmp_path)
    assert [row["stage"] for row in rows] == ["pairs", "trained", "last"]
    assert json.loads((tmp_path / "out" / "training.json").read_text()) == log
    assert rows[2]["mean of"] == ["trained", "trained"]
    assert rows[0]["dropped"] == {"held out": 2} and rows[1]["step"] == 2 and rows[1]["parameters"] == 5


def test_the_list_tells_the_stages(capsys):
    assert recipe.main(["--list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(RECIPE)


@pytest.mark.parametrize("flags", [["--jobs", "0"], ["--jobs=-1"], ["--threads", "0"]])
def test_fewer_than_one_job_or_thread_is_refused(flags, monkeypatch, capsys):
    monkeypatch.setattr(recipe, "run", lambda *_, **__: pytest.fail("it would wait for ever"))
    with pytest.raises(SystemExit, match="2"):
        recipe.main(flags)
    assert "it must be at least 1." in capsys.readouterr().err
