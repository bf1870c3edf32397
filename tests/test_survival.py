"""It survives: two trainings in one folder, full disks, folders that cannot be written, kill -9 at any moment, time."""

import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from helpers import forked
from torch.testing import assert_close

from tools import soak
from utils.checkpoint import load_model
from utils.training import main

pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.fixture(scope="module")
def begun(command, tmp_path_factory):
    """A folder in which three steps are done."""
    folder = tmp_path_factory.mktemp("begun") / "checkpoint"
    assert main([*command, "--steps", "3", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "copy")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ------------------------------------------------------------------------------------------ two in one folder


@pytest.mark.slow
def test_a_second_training_in_a_folder_is_refused_while_the_first_is_alive(command, tmp_path, capsys):
    arguments = [*command, "--eval-minutes", "0", "--out", str(tmp_path / "out")]
    first = forked.start(tmp_path / "log", main, [*arguments, "--steps", "1000000"])
    while not (tmp_path / "out" / "training.json").exists():
        assert first.is_alive(), (tmp_path / "log").read_text()
        time.sleep(0.02)
    for fresh in ([], ["--fresh"]):
        assert main([*arguments, "--steps", "1", *fresh]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"Another training is at work in {tmp_path / 'out'}: wait") and error.count("\n") == 1
    first.kill()
    first.join()
    done = torch.load(tmp_path / "out" / "train_state.pt", weights_only=True)["progress"]["step"]
    assert main([*arguments, "--steps", str(done + 1)]) == 0
    assert not (tmp_path / "out" / ".training.lock").exists()


# ------------------------------------------------------------------------------- disks that do not take a file


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, the disk that is always full, is Linux's")
@pytest.mark.parametrize("name", ["train_state.pt", "model.safetensors", "tokenizer.json", "training.json"])
def test_a_full_disk(command, copy, capsys, name):
    """Whichever file it does not take, all old ones stay, and go on once there is room."""
    before = contents(copy)
    (copy / f".{name}.tmp").symlink_to("/dev/full")
    assert main([*command, "--steps", "5", "--out", str(copy)]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"Cannot write {copy / name}: No space left on device. What was there before is unharmed")
    assert contents(copy) == before
    load_model(copy)
    assert main([*command, "--steps", "5", "--out", str(copy)]) == 0


@pytest.fixture
def public(begun):
    """A copy of `begun` in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copy = shutil.copytree(begun, Path(folder) / "copy")
        yield copy
        copy.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other rights there")
@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (
            "write_files",
            "Cannot write {}/train_state.pt: Permission denied. What was there before is unh",
        ),
        ("alone_in", "Cannot write in {}: Permission denied. Mend that, or give another --out."),
    ],
)
def test_a_folder_that_cannot_be_written(command, public, tmp_path, moment, message):
    """From the beginning, or when it is time to save: one sentence, and what is there stays."""
    before = contents(public)
    arguments = [*command, "--steps", "5", "--out", str(public)]
    stopped = forked.start(tmp_path / "log", forked.without_rights, moment, public, arguments)
    assert forked.join([stopped]) == [1], (tmp_path / "log").read_text()
    *_, error = (tmp_path / "log").read_text().splitlines()
    assert error.startswith(message.format(public))
    left = contents(public)
    left.pop(".training.lock", None)  # where nothing can be written, nothing can be removed
    assert left == before
    load_model(public)


# ------------------------------------------------------------------------------------------- kill -9, any time

KILLS, STEPS = 20, 60


@pytest.mark.slow
def test_killed_at_random_moments_is_uninterrupted(command, tmp_path, seed):
    """To the last bit, whenever training dies: at its start, in a step, in a save."""
    draw, log = random.Random(seed), tmp_path / "log"
    # Checked and saved every hundredth of a second of computing, after about every second step.
    arguments = [*command, "--steps", str(STEPS), "--eval-minutes", str(0.01 / 60), "--out"]
    started = time.monotonic()
    assert forked.join([forked.start(log, forked.training_without_bleu, [*arguments, str(tmp_path / "whole")])]) == [0]
    longest = (time.monotonic() - started) / 3
    whole = torch.load(tmp_path / "whole" / "train_state.pt", weights_only=True)

    kills = runs = 0
    while kills < KILLS or runs == 0:
        out = tmp_path / f"out{runs}"
        process = forked.start(log, forked.training_without_bleu, [*arguments, str(out)])
        process.join(draw.uniform(0, longest) if kills < KILLS else 60)
        if process.is_alive():
            process.kill()
            process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert process.exitcode in (0, -signal.SIGKILL), log.read_text()
        if process.exitcode == 0:
            runs += 1
            state = torch.load(out / "train_state.pt", weights_only=True)
            for key in ("model", "average", "optimizer"):
                assert_close(state[key], whole[key], rtol=0, atol=0)
            weights = [(folder / "model.safetensors").read_bytes() for folder in (out, tmp_path / "whole")]
            assert weights[0] == weights[1]
            assert sorted(contents(out)) == sorted(contents(tmp_path / "whole"))
    assert log.read_text().count("Going on in") > KILLS / 4, "most died before the first save"


# ---------------------------------------------------------------------------------------------------- long use


@pytest.mark.slow
def test_random_lines_for_some_seconds(capsys):
    assert soak.main(["--minutes", "0.08", "--warm-up", "0", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "seed 3" in printed and re.search(
        r"[1-9]\d* lines in 0.08 minutes, one output each; memory [+-]\d+ MB", printed
    )


@pytest.mark.parametrize("minutes", [["--minutes", "1"], ["--minutes", "0.01"], ["--minutes", "2", "--warm-up", "3"]])
def test_a_soak_that_ends_with_its_warm_up_is_refused(minutes, capsys):
    with pytest.raises(SystemExit):
        soak.main(minutes)
    assert "--minutes must be more than" in capsys.readouterr().err


def test_lines_of_every_kind():
    lines = soak.random_lines(random.Random(0), 400)
    characters = set("".join(lines))
    assert "" in lines and max(map(len, lines)) > 500 and len(lines) == 400
    assert {ord(c) >> 16 for c in characters} == set(range(17)), "all planes"
    assert any(0xD800 <= ord(c) < 0xE000 for c in characters) and {"\0", "\x85", "\r"} <= characters
    assert any("我" <= c <= "龥" for c in characters)


def test_growth_is_told_from_ups_and_downs():
    rng = random.Random(0)
    level = [400 + rng.uniform(-30, 30) for _ in range(300)]
    assert abs(soak.growth(level)) < 15
    assert soak.growth([mb + i for i, mb in enumerate(level)]) == pytest.approx(225, abs=15)  # 3/4 of 300


@pytest.mark.parametrize(
    ("translate", "message"),
    [
        (lambda lines: lines[1:], "not one output per line"),
        (lambda lines: ["\n"] * len(lines), "not one output per line"),
        (lambda lines: 1 / 0, "ZeroDivisionError"),
        (lambda lines: lines, "memory grew"),
    ],
)
def test_what_goes_wrong_is_told(monkeypatch, capsys, translate, message):
    class Translator:
        def translate(self, lines, beam_size):
            return translate([""] * len(lines))

    memory = iter(range(0, 10**9, soak.MOST_GROWTH))
    monkeypatch.setattr(soak, "resident", lambda: next(memory) if message == "memory grew" else 1.0)
    monkeypatch.setattr(soak, "load_translator", Translator)
    assert soak.main(["--minutes", "0.003", "--warm-up", "0"]) == 1
    assert f"FAILED: {message}" in capsys.readouterr().out
