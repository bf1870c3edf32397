"""Scores are sacrebleu's, and the command prints them."""

import io
import json
from contextlib import redirect_stdout

import pytest
import sacrebleu
from helpers.tiny import PAIRS, tiny_checkpoint

from utils import corpus, dictionary, evaluation
from utils.corpus import Corpus, TestItem
from utils.evaluation import compounds, evaluate, scores
from utils.translate import load_translator

ITEMS = [
    TestItem("我喜欢学习。", ("I like to study.", "I like studying.", "I enjoy learning things.")),
    TestItem("你好！", ("Hello there, my friend!",)),
    TestItem("他们在看书。", ("They are reading a book.", "They are reading.")),
]


def test_scores_are_sacrebleus():
    found = scores(hypotheses := ["I like studying.", "Hello there, old friend!", "They are reading a book."], ITEMS)
    first = [[item.references[0] for item in ITEMS]]
    every = [
        ["I like to study.", "Hello there, my friend!", "They are reading a book."],
        ["I like studying.", None, "They are reading."],
        ["I enjoy learning things.", None, None],
    ]
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(hypotheses, first).score, abs=0.005)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(hypotheses, first).score, abs=0.005)
    assert found["bleu_multi"] == pytest.approx(sacrebleu.corpus_bleu(hypotheses, every).score, abs=0.005)
    assert found["bleu_multi"] > found["bleu"]
    assert "nrefs:1|case:mixed|eff:no|tok:13a" in found["bleu_signature"]
    assert "nrefs:1" in found["chrf_signature"]


def test_perfect_translations_score_a_hundred():
    found = scores([item.references[0] for item in ITEMS], ITEMS)
    assert (found["bleu"], found["chrf"], found["bleu_multi"]) == (100, 100, 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_evaluate_translates_and_scores(folder):
    translator = load_translator(folder, "cpu")
    items = [TestItem(zh, (en,)) for zh, en in PAIRS[:4]]
    perfect = [TestItem(item.zh, (translator.translate(item.zh, 2),)) for item in items]
    assert evaluate(translator, perfect, beam_size=2)["chrf"] == 100
    assert evaluate(translator, items, beam_size=1)["chrf"] < 100


def test_the_command_prints_its_figures_as_json(folder, monkeypatch):
    items = [TestItem(zh, (en,)) for zh, en in PAIRS[:3]]
    monkeypatch.setattr(corpus, "load", lambda: Corpus([], items, items[:2]))
    unseen = [TestItem("学生音乐", ("student music",))]
    monkeypatch.setattr(dictionary, "unseen", lambda: unseen)
    with redirect_stdout(io.StringIO()) as printed:
        evaluation.main([str(folder), "--split", "dev", "--beam-size", "1"])
    figures = json.loads(printed.getvalue())
    assert figures["split"] == "dev" and figures["parameters"] > 0 and 0 <= figures["bleu"] <= 100
    assert list(figures["compounds"]) == ["学生音乐"] and figures["compounds_right"] == 0

    translator = load_translator(folder, "cpu")
    said = translator.translate("学生音乐")
    unseen[0] = TestItem("学生音乐", ("something else", said.upper()))
    assert compounds(translator) == [("学生音乐", said, True)]
