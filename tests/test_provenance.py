"""Where results come from: commands that can be typed again, the commit, the machine, all in the file of the result."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import torch

from utils import provenance
from utils.config import ROOT
from utils.provenance import command, commit, experiment, machine, record


@pytest.mark.parametrize("argv", [[], ["--out", "a folder; of 'mine'", "$HOME", "学习"], None])
def test_a_command_can_be_typed_again(argv, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["anything.py", "--pairs", "my pairs.tsv"])
    words = ["--pairs", "my pairs.tsv"] if argv is None else argv
    assert shlex.split(command("utils.training", argv)) == ["python", "-m", "utils.training", *words]


def test_a_recorded_command_holds_no_private_path():
    argv = ["--out", "/mine/one", f"--pairs={ROOT}/data/a.tsv,{ROOT}/data/b.tsv", "--runs=/mine/runs", "--seed", "3"]
    said = command("experiments.one", argv, provenance.PLACES)
    assert said == "python -m experiments.one --pairs=data/a.tsv,data/b.tsv --seed 3"
    assert command("experiments.one", ["--seed", "3", "--out"], provenance.PLACES).endswith(" --seed 3")


SHIPPED = [f"data/checkpoints/{name}" for name in ("zh-en", "bert", "gpt")]  # learners have more there
RECORDS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("data/experiments", "benchmarks/results", *SHIPPED)
    for path in (ROOT / folder).rglob("*.*")
    if path.suffix in (".json", ".md") and path.name != "tokenizer.json"
)


@pytest.mark.parametrize("path", RECORDS)
def test_what_is_committed_can_be_run_again_by_everyone(path):
    """No absolute path, and every command names a module of the course."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not re.findall(r"""(?<![\w.:/)])/(?=[A-Za-z_]+/)[^\s"']*""", text)
    for said in re.findall(r'"command": "(.*)"', text):
        assert re.match(r"python -m (utils|experiments|benchmarks)\.\w+", said), said
        module = said.split()[2].replace(".", "/")
        assert (ROOT / f"{module}.py").exists(), said


def test_the_commit_is_gits_or_unknown(monkeypatch):
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert commit() == git.stdout.strip()
    monkeypatch.setenv("PATH", "")
    assert commit() == ""


def test_the_machine_in_a_line():
    line = machine(torch.device("cpu"))
    assert re.search(r", \d+ threads?, torch 2\.\S+, \d+ cores, Python 3\.\d+\.\d+$", line) and "\n" not in line


def test_a_result_tells_where_it_comes_from(tmp_path, capsys):
    path = record(
        "experiments.one",
        ["--seed", "3", "--out", str(tmp_path)],
        tmp_path / "new" / "one.json",
        {"runs": [{"name": "学"}]},
    )
    result = json.loads(path.read_text(encoding="utf-8"))
    assert list(result) == ["command", "commit", "machine", "runs"] and result["runs"] == [{"name": "学"}]
    assert result["command"] == "python -m experiments.one --seed 3"
    assert [file.name for file in path.parent.iterdir()] == ["one.json"] and not capsys.readouterr().out
    record("benchmarks.one", [], path, {"rates": [1.5]}, tables="| a |\n| 1 |")
    text = (path.parent / "one.md").read_text(encoding="utf-8")
    assert text.startswith("| a |\n| 1 |\n\ncommand: python -m benchmarks.one\ncommit: ")
    assert json.loads(path.read_text(encoding="utf-8"))["rates"] == [1.5] and "| 1 |" in capsys.readouterr().out


def test_an_experiment_is_read_back_and_one_that_was_not_run_has_no_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert experiment("one") == []
    record("experiments.one", [], tmp_path / "data/experiments/one.json", {"runs": [{"name": "学"}]})
    assert experiment("one") == [{"name": "学"}]
