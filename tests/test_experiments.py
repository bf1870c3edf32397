"""Every long experiment runs in miniature and writes the file that its lesson reads."""

import importlib.util
import json
import math

import pytest

from utils import corpus
from utils.config import ROOT

TINY = ["--d-model", "16", "--d-ff", "32", "--tgt-vocab", "300", "--batch-tokens", "400", "--n-layers", "1"]


def load_experiment(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small_corpus(monkeypatch):
    whole = corpus.load()
    small = corpus.Corpus(whole.train[:200], whole.dev[:2], whole.test[:2])
    monkeypatch.setattr(corpus, "load", lambda: small)
    monkeypatch.setattr(corpus, "glosses", lambda corpus_, limit: [corpus.Pair("机器", "machine")] * 20)
    monkeypatch.setattr(corpus, "unseen", lambda: whole.test[:1])
    return small


def test_same_minutes(small_corpus, tmp_path):
    experiment, out = load_experiment("same_minutes"), tmp_path / "result.json"
    arguments = ["--minutes", "0.01", "--seeds", "0", "--runs", str(tmp_path / "runs"), "--out", str(out)]
    experiment.main([*arguments, "--options", *TINY])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [run["name"] for run in result["runs"]] == list(experiment.VARIANTS)
    for run in result["runs"]:
        glosses = 0 if "without" in run["name"] else 20
        assert run["pairs"] == len(small_corpus.train) + glosses
        assert run["history"][-1]["minutes"] >= 0.01 and math.isfinite(run["history"][-1]["dev_nll"])
    before = out.read_text(encoding="utf-8")
    experiment.main([*arguments, "--options", *TINY])  # finished runs are not trained again
    assert json.loads(out.read_text(encoding="utf-8"))["runs"] == json.loads(before)["runs"]
