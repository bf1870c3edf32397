"""Scores are sacrebleu's, and the command prints them."""

import io
import json
import sys
from collections import Counter

import pytest
import sacrebleu
import torch
from helpers.tiny import PAIRS, SRC, TGT, tiny_checkpoint, tiny_model, tiny_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode

from utils import corpus, dictionary, evaluation, limits, translate
from utils.batching import make_batch
from utils.checkpoint import save_model
from utils.corpus import Corpus, CorpusError, TestItem
from utils.evaluation import compounds, evaluate, scores
from utils.loss import batch_loss
from utils.trainer import dev_nll
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


@pytest.fixture
def small_splits(monkeypatch):
    """Three pairs in place of the corpus, one compound in place of forty, which a test may replace."""
    items = [TestItem(zh, (en,)) for zh, en in PAIRS[:3]]
    unseen = [TestItem("学生音乐", ("student music",))]
    monkeypatch.setattr(corpus, "load", lambda: Corpus([], items, items[:2]))
    monkeypatch.setattr(dictionary, "unseen", lambda: unseen)
    return unseen


def test_the_command_prints_its_figures_as_json(folder, small_splits, capsys):
    assert evaluation.main([str(folder), "--split", "dev", "--beam-size", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["split"] == "dev" and found["parameters"] > 0 and 0 <= found["bleu"] <= 100
    assert list(found["compounds"]) == ["学生音乐"] and found["compounds_right"] == 0

    translator = load_translator(folder, "cpu")
    plain = evaluate(translator, corpus.load().dev, beam_size=1, length_penalty=1.0, no_repeat=0)
    assert found["plain_search"] == {key: plain[key] for key in ("bleu", "chrf", "bleu_multi")} | {"compounds_right": 0}
    said = translator.translate("学生音乐")
    small_splits[0] = TestItem("学生音乐", ("something else", said.upper()))
    assert compounds(translator) == [("学生音乐", said, True)]


def test_the_figures_are_printed_and_saved_whatever_the_redirect_speaks(folder, small_splits, monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii", write_through=True))
    assert evaluation.main([str(folder), "--beam-size", "1", "--save"]) == 0
    assert printed.getvalue() == (folder / "evaluation.json").read_bytes()
    assert list(json.loads(printed.getvalue())["compounds"]) == ["学生音乐"]


@pytest.mark.parametrize("command", [evaluation, limits])
def test_a_translator_of_another_language_is_not_scored_on_chinese(tmp_path, small_splits, capsys, command):
    tokenizer = tiny_tokenizer().reversed()
    model = tiny_model(src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    save_model(tmp_path, model.state_dict(), model.config, tokenizer)
    assert command.main([str(tmp_path)]) == 1
    streams = capsys.readouterr()
    assert "does not read Chinese" in streams.err and streams.err.count("\n") == 1 and streams.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "There is no checkpoint in nowhere"), (["--beam-size", "0"], "beam_size is 0")],
)
def test_mistakes_get_one_sentence_and_exit_status_1(folder, small_splits, capsys, arguments, message):
    assert evaluation.main(arguments if arguments[0] == "nowhere" else [str(folder), *arguments]) == 1
    streams = capsys.readouterr()
    assert message in streams.err and streams.err.count("\n") == 1 and streams.out == ""


def test_a_missing_corpus_is_told(folder, monkeypatch, capsys):
    def missing():
        raise CorpusError("The corpus is missing.")

    monkeypatch.setattr(corpus, "load", missing)
    monkeypatch.setattr(dictionary, "unseen", list)
    assert evaluation.main([str(folder)]) == 1 and capsys.readouterr().err == "The corpus is missing.\n"


@pytest.mark.parametrize("module", [evaluation, translate])
def test_commands_do_without_docstrings(module, monkeypatch, capsys):
    """python -OO takes them away."""
    monkeypatch.setattr(module, "__doc__", None)
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    assert f"usage: python -m {module.__name__}" in capsys.readouterr().out


class Products(TorchDispatchMode):
    """Counts products of two matrices by the shape of the result."""

    def __init__(self):
        super().__init__()
        self.sizes = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten.mm.default, torch.ops.aten.matmul.default):
            self.sizes[tuple(found.shape)] += 1
        return found


def test_evaluation_computes_no_gradients():
    """Of the output layer's products training needs three: the logits, and both gradients; evaluation the first."""
    model, device = tiny_model(src_vocab=13, tgt_vocab=11), torch.device("cpu")
    with Products() as evaluating:
        dev_nll(model, SRC, TGT, device)
    n_tokens, d, vocab = sum(len(tgt) + 1 for tgt in TGT), 8, 11
    assert evaluating.sizes[n_tokens, vocab] == 1 and evaluating.sizes[n_tokens, d] == evaluating.sizes[vocab, d] == 0
    with Products() as training:
        batch_loss(model, make_batch(SRC, TGT), eps=0.1)
    assert training.sizes - evaluating.sizes == {(n_tokens, d): 1, (vocab, d): 1}
