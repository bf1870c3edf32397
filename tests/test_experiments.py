"""Every long experiment runs in miniature and writes the file that its lesson reads."""

import json
import math

import pytest

from experiments import same_minutes
from utils import corpus

TINY = ["--d-model", "16", "--d-ff", "32", "--tgt-vocab", "300", "--batch-tokens", "400", "--n-layers", "1"]


@pytest.fixture
def small_corpus(monkeypatch):
    whole = corpus.load()
    small = corpus.Corpus(whole.train[:200], whole.dev[:2], whole.test[:2])
    monkeypatch.setattr(corpus, "load", lambda: small)
    monkeypatch.setattr(corpus, "glosses", lambda corpus_, limit: [corpus.Pair("机器", "machine")] * 20)
    monkeypatch.setattr(corpus, "unseen", lambda: whole.test[:1])
    return small


def test_same_minutes(small_corpus, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--minutes", "0.01", "--seeds", "0", "--runs", str(tmp_path / "runs"), "--out", str(out)]
    same_minutes.main([*arguments, "--options", *TINY])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [run["name"] for run in result["runs"]] == list(same_minutes.VARIANTS)
    for run in result["runs"]:
        glosses = 0 if "without" in run["name"] else 20
        assert run["pairs"] == len(small_corpus.train) + glosses
        assert run["history"][-1]["minutes"] >= 0.01 and math.isfinite(run["history"][-1]["dev_nll"])
    before = out.read_text(encoding="utf-8")
    same_minutes.main([*arguments, "--options", *TINY])  # finished runs are not trained again
    assert json.loads(out.read_text(encoding="utf-8"))["runs"] == json.loads(before)["runs"]
