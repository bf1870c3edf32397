"""The small BERT and GPT of lesson 09 load, say how they were trained, and have read nothing of their tests."""

import json

import pytest
import torch

from experiments import language_model, pretraining
from utils import corpus, paraphrases
from utils.checkpoint import load_model
from utils.config import ROOT
from utils.encoder_only import hidden_words_found, one_text
from utils.trainer import dev_nll

FOLDERS = {kind: ROOT / "data/checkpoints" / name for kind, name in (("encoder-only", "bert"), ("decoder-only", "gpt"))}
FILES = ["config.json", "model.safetensors", "tokenizer.json", "training.json"]
HERE = pytest.mark.parametrize("kind", FOLDERS)


def log(kind: str) -> dict:
    return json.loads((FOLDERS[kind] / "training.json").read_text(encoding="utf-8"))


@HERE
def test_they_load_and_are_small(kind: str):
    model, tokenizer = load_model(FOLDERS[kind])
    assert model.config.kind == kind and tokenizer.tgt_vocab == model.config.tgt_vocab == 4000
    assert sorted(path.name for path in FOLDERS[kind].iterdir()) == FILES
    assert log(kind)["parameters"] == sum(p.numel() for p in model.parameters())


def test_both_together_take_eight_megabytes_at_most():
    assert sum(path.stat().st_size for folder in FOLDERS.values() for path in folder.iterdir()) <= 8_000_000


@HERE
def test_they_say_how_they_were_trained(kind: str):
    found = log(kind)
    name = {"encoder-only": "pretraining", "decoder-only": "language_model"}[kind]
    assert found["command"].startswith(f"python -m experiments.{name}") and found["commit"] and found["machine"]
    assert found["history"][-1]["step"] == found["training"]["steps"]


@pytest.mark.slow
def test_what_they_read_is_the_training_text_without_dev_test_and_the_families_set_aside():
    """Both learn from `texts()[0]` alone, and their subwords are those that it gives."""
    whole, english = corpus.load(), paraphrases.load()
    read, dev, test = language_model.texts()
    assert read == english.sentences and set(read) <= {pair.en for pair in whole.train}
    tested = {text for part in (whole.dev, whole.test) for item in part for text in item.references}
    aside = {text for part in english[1:] for question in part for text in (question.a, question.b)}
    assert tested and aside and not set(read) & (tested | aside) and set(dev) | set(test) <= tested
    cut = language_model.english_tokenizer(read, 4000)
    for folder in FOLDERS.values():
        assert load_model(folder)[1].to_json() == cut.to_json()
    assert len(pretraining.two_by_two(cut, read)) == len(read) // 2


@pytest.mark.slow
def test_they_are_as_good_as_their_logs_say():
    """Stored in half precision, they have lost nothing that counts."""
    dev = [item.references[0] for item in corpus.load().dev]
    bert, tokenizer = load_model(FOLDERS["encoder-only"])
    found = hidden_words_found(bert, [one_text(ids) for ids in tokenizer.encode_tgt(dev)])
    assert found["nll"] == pytest.approx(log("encoder-only")["history"][-1]["dev_nll"], abs=0.01)
    gpt, tokenizer = load_model(FOLDERS["decoder-only"])
    nll = dev_nll(gpt, [[]] * len(dev), tokenizer.encode_tgt(dev), torch.device("cpu"))
    assert nll == pytest.approx(log("decoder-only")["history"][-1]["dev_nll"], abs=0.01)
