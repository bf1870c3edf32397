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


def test_the_commit_is_gits_or_unknown(monkeypatch):
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert commit() == git.stdout.strip()
    monkeypatch.setenv("PATH", "")
    assert commit() == ""


def test_the_machine_in_a_line():
    line = machine(torch.device("cpu"))
    assert re.search(r", \d+ threads?, torch 2\.\S+, \d+ cores, Python 3\.\d+\.\d+$", line) and "\n" not in line


def test_a_result_tells_where_it_comes_from(tmp_path, capsys):
    path = record("experiments.one", ["--seed", "3"], tmp_path / "new" / "one.json", {"runs": [{"name": "学"}]})
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
