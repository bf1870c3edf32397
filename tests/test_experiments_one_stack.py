"""The long experiments of lessons 09 and 10 in miniature."""

import json
import math
from pathlib import Path

import pytest
import torch
from helpers import real

from experiments import associative_recall, induction, language_model, one_sequence, pretraining, since_2017
from utils import corpus, dictionary, paraphrases
from utils.checkpoint import build, load_model
from utils.config import ModelConfig
from utils.paraphrases import English, Question

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
TINY = ["--d-model", "16", "--n-heads", "4", "--d-ff", "32", "--tgt-vocab", "300", "--batch-tokens", "400"]
FAMILIES = {"train": 12, "dev": 5, "test": 5}


@pytest.fixture
def small(monkeypatch):
    """A small corpus, its small English, and small models."""
    whole = real.load()
    few = corpus.Corpus(whole.train[:600], whole.dev[:3], whole.test[:3])
    monkeypatch.setattr(corpus, "load", lambda: few)
    monkeypatch.setattr(dictionary, "glosses", lambda corpus_, limit: [])
    sentences = [pair.en for pair in few.train[:200]]
    a, b, c = sentences[:3]
    questions = [Question(a, b, 1), Question(a, c, 0), Question(c, b, 1), Question(c, a, 0)]
    monkeypatch.setattr(paraphrases, "load", lambda: English(sentences[3:], questions, questions, questions))
    monkeypatch.setattr(language_model, "SIZES", {"d_model": 16, "n_heads": 4, "n_layers": 1, "d_ff": 32})


def result(out: Path) -> dict:
    return json.loads(out.read_text(encoding="utf-8"))


def refused(script, out: Path, why: str, arguments: list[str]) -> None:
    """Runs with other settings would be put under the header of the file: a sentence, and the file as it was."""
    before = out.read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match=why):
        script.main(arguments)
    assert out.read_text(encoding="utf-8") == before


def test_language_model(small, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--steps", "3", "--vocabulary", "200", "--runs", str(tmp_path / "runs"), "--out", str(out)]
    language_model.main([*arguments, "--seeds", "0", "--shares", "1"])
    language_model.main([*arguments, "--seeds", "0", "--shares", "1", "4"])
    runs = result(out)["runs"]
    assert [(run["name"], run["share"]) for run in runs] == [("trigram", 1), ("GPT", 1), ("trigram", 4), ("GPT", 4)]
    assert all(1 < run["test"] < 1000 and math.isfinite(run["dev"]) for run in runs)
    assert runs[1]["history"][-1]["step"] == 3 and runs[0]["sentences"] == 4 * runs[2]["sentences"] + 1
    refused(language_model, out, "steps is 3, not 4", [*arguments, "--steps", "4", "--shares", "16"])
    model, tokenizer = load_model(tmp_path / "runs" / "share-1-0")
    assert model.config.kind == "decoder-only" and tokenizer.src_vocab == 4
    assert model.src_embedding.weight.numel() == 4 * 16, "nothing is spent on a source"


def test_a_kept_training_goes_on(small, tmp_path):
    """Stopped after two steps and called again, it ends with the weights of one that was not stopped."""
    sentences, dev, _ = language_model.texts()
    tokenizer = language_model.english_tokenizer(sentences, 200)
    config = language_model.config_of("decoder-only", tokenizer)
    make = language_model.gpt
    whole, _ = make(config, tokenizer, sentences, dev, tmp_path / "a", steps=5, cooldown=0.0)
    make(config, tokenizer, sentences, dev, tmp_path / "b", steps=2, cooldown=0.0)
    model, trainer = make(config, tokenizer, sentences, dev, tmp_path / "b", steps=5, cooldown=0.0)
    again, _ = make(config, tokenizer, sentences, dev, tmp_path / "b", steps=5, cooldown=0.0)
    with pytest.raises(SystemExit, match="trained with steps 5, not 4: keep the new one apart"):
        make(config, tokenizer, sentences, dev, tmp_path / "b", steps=4, cooldown=0.0)
    assert trainer.progress.step == 5 and len(trainer.progress.history) == 2
    for name, w in whole.state_dict().items():
        assert torch.equal(w, model.state_dict()[name]) and torch.equal(w, again.state_dict()[name])


@pytest.mark.slow
def test_pretraining(small, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--steps", "3", "--updates", "3", "--vocabulary", "200", "--runs", str(tmp_path / "runs")]
    pretraining.main([*arguments, "--seeds", "0", "--labels", "2", "10000", "--out", str(out)])
    found = result(out)
    assert [(run["arm"], run["labels"]) for run in found["runs"]] == [(a, n) for n in (2, 4) for a in pretraining.ARMS]
    assert all(0 <= run["test"] <= 1 and run["dev"] == max(t["dev"] for t in run["tried"]) for run in found["runs"])
    assert [len(run["tried"]) for run in found["runs"][:7] if run["arm"] != "shared words"] == [2, 2, 3, 3, 3, 3]
    assert found["pretraining"]["0"][-1]["step"] == 3 and 0 <= found["pretraining"]["0"][-1]["dev_right"] <= 1
    assert load_model(tmp_path / "runs" / "bert-0")[0].config.kind == "encoder-only"
    few = ["--labels", "2", "--arms", "pretrained", "shared words", "--out", str(out)]
    pretraining.main([*arguments, "--seeds", "1", *few])
    both = result(out)["pretraining"]
    assert list(both) == ["0", "1"] and both["0"] == found["pretraining"]["0"], "of the seed before, too"
    refused(pretraining, out, "updates is 3, not 4", [*arguments, *few, "--seeds", "2", "--updates", "4"])


def test_fine_tuning_begins_where_pretraining_ended_but_for_the_head(small):
    sentences, _, _ = language_model.texts()
    config = language_model.config_of("encoder-only", language_model.english_tokenizer(sentences, 200))
    texts, labels = [[1, 5, 2, 6, 2], [1, 7, 2, 8, 2]], [0, 1]
    torch.manual_seed(5)
    weights = build(config).state_dict()
    model = pretraining.fine_tuned(weights, config, texts, labels, seed=1, updates=1, lr=0.0)
    for name, w in model.state_dict().items():
        head = name.startswith(("pooler", "classifier"))
        assert torch.equal(w, weights[name]) != head, name
    scratch = pretraining.fine_tuned(None, config, texts, labels, seed=1, updates=1, lr=0.0)
    assert torch.equal(scratch.pooler.weight, model.pooler.weight), "the same head for both"


def test_comparisons_tell_what_differs_and_what_agrees(small):
    english = paraphrases.load()
    same = Question(english.train[0].a, english.train[0].a, 1)
    tokenizer = language_model.english_tokenizer(language_model.texts()[0], 200)
    model = build(language_model.config_of("encoder-only", tokenizer))
    found = pretraining.comparisons(model, tokenizer, english._replace(dev=[same]))
    assert set(found) == {*english.train, same} and all(x.shape == (2 * 16,) for x in found.values())
    x = torch.stack([found[q] for q in english.train])
    assert x.mean(dim=0).abs().max() < 1e-4 and (x.std(dim=0) - 0.1).abs().max() < 1e-3
    assert (found[same][:16] <= x[:, :16].amin(dim=0) + 1e-5).all(), "nothing differs least of all"
    swapped = english._replace(train=[Question(q.b, q.a, q.same) for q in english.train], dev=[], test=[])
    again = pretraining.comparisons(model, tokenizer, swapped)
    for q in english.train:
        torch.testing.assert_close(again[Question(q.b, q.a, q.same)], found[q], rtol=1e-3, atol=1e-4)


def test_second_sentence_alone_sees_nothing_of_the_first():
    questions = [Question("a b", "c", 1), Question("c", "c", 0)]
    assert pretraining.alone(questions) == [Question("", "c", 1), Question("", "c", 0)]


@pytest.mark.slow
def test_one_sequence(small, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--steps", "2", "--seeds", "0", "--runs", str(tmp_path / "runs"), "--out", str(out)]
    one_sequence.main([*arguments, "--options", *TINY])
    refused(one_sequence, out, "steps is 2, not 3", [*arguments, "--steps", "3", "--seeds", "1"])
    runs = result(out)["runs"]
    assert [run["name"] for run in runs] == list(one_sequence.ARMS)
    assert all(run["history"][-1]["step"] == 2 and run["bleu"] >= 0 for run in runs)


def parameters(options: str, d_ff: int, **sizes) -> int:
    config = ModelConfig(2987, 4000, d_model=128, d_ff=d_ff, **sizes, **since_2017.changes(options))
    return sum(p.numel() for p in build(config).parameters())


def test_since_2017_all_arms_are_equally_large():
    for kind, width in (("transformer", 1), ("decoder-only", 2)):
        sizes = [parameters(name, arm[width], kind=kind) for name, arm in since_2017.ARMS.items()]
        assert max(sizes) < 1.01 * min(sizes)


def test_one_sequence_all_arms_are_equally_large():
    both = ModelConfig(2987, 4000, d_model=128, d_ff=512, n_layers=3)
    one = ModelConfig(2987, 4000, "decoder-only", d_model=128, d_ff=512, n_layers=7)
    sizes = [sum(p.numel() for p in build(config).parameters()) for config in (both, one)]
    assert max(sizes) < 1.01 * min(sizes)


@pytest.mark.slow
def test_since_2017(small, tmp_path):
    out, arms = tmp_path / "result.json", ["the course's", "post-norm, as in 2017", "all together"]
    arguments = ["--steps", "2", "--seeds", "0", "--vocabulary", "200", "--runs", str(tmp_path / "runs")]
    since_2017.main(
        [*arguments, "--out", str(out), "--arms", *arms, "--options", *TINY[:4], *TINY[6:], "--n-layers", "1"]
    )
    refused(since_2017, out, "updates is .*2.*, not .*3", [*arguments, "--steps", "3", "--out", str(out)])
    runs = result(out)["runs"]
    assert [(run["bench"], run["name"]) for run in runs] == [(b, name) for b in ("translator", "GPT") for name in arms]
    for run in runs:
        assert run["history"][-1]["step"] == 2 and math.isfinite(
            run["bleu" if run["bench"] == "translator" else "perplexity"]
        )


def test_associative_recall_asks_for_what_stood_there():
    torch.manual_seed(0)
    tokens, right = associative_recall.texts(50, 12)
    assert tokens.shape == (50, 20) and right.shape == (50, 8)
    for row, answers in zip(tokens.tolist(), right.tolist(), strict=True):
        values = dict(divmod(pair - 4, 10) for pair in row[:12])
        assert len(values) == 12 and max(values) < 20
        assert [224 + values[key - 204] for key in row[12:]] == answers and len(set(row[12:])) == 8


@pytest.mark.parametrize("arm", associative_recall.ARMS)
def test_associative_recall_no_arm_sees_what_comes_later(arm):
    """The logits at a key that is asked for do not move with the questions after it."""
    model, (tokens, right) = associative_recall.make(arm), associative_recall.texts(3, 5)
    assert right.shape == (3, 5) and tokens.shape == (3, 10)
    other = tokens.clone()
    other[:, -1] = 204 + (other[:, -1] - 203) % 20
    before, after = (associative_recall.answers(model, ids, 5) for ids in (tokens, other))
    assert torch.equal(before[:, :-1], after[:, :-1]) and not torch.equal(before, after)
    assert before.shape == (*right.shape, associative_recall.VOCABULARY)


def test_associative_recall(tmp_path):
    out = tmp_path / "result.json"
    associative_recall.main(["--steps", "2", "--seeds", "0", "--rates", "0.001", "--out", str(out)])
    found = result(out)
    assert [run["arm"] for run in found["runs"]] == list(associative_recall.ARMS)
    assert all(len(run["right"]) == 5 and max(run["right"]) < 0.5 for run in found["runs"]), "untrained"
    sizes = [run["parameters"] for run in found["runs"][:2]]
    assert max(sizes) < 1.01 * min(sizes) and found["guess"][0] == 1.0
    refused(associative_recall, out, "steps is 2, not 3", ["--steps", "3", "--seeds", "3", "--out", str(out)])


def test_induction_the_second_half_is_the_first_and_each_token_has_one_place():
    tokens = induction.twice(20, 9)
    assert torch.equal(tokens[:, :9], tokens[:, 9:]) and all(len(set(row[:9])) == 9 for row in tokens.tolist())
    assert tokens.min() >= 4 and tokens.max() < induction.VOCABULARY


def test_induction_a_perfect_head_is_found_and_missed(monkeypatch):
    """A model that looks where it should: score 1; and taking a head away takes its columns, for a while."""
    torch.manual_seed(0)
    model, n = induction.make("two layers"), induction.LONGEST
    looks = torch.zeros(100, 2, 2, 2 * n, 2 * n)
    at = torch.arange(n, 2 * n)
    looks[:, 1, 0, at, at - n + 1] = 1.0
    looks[:, 0, 1, at, at - 1] = 1.0
    monkeypatch.setattr(model, "attention_weights", lambda *_: looks)
    rows = induction.heads(model)
    assert rows[2]["around"] == [0, 0, 0, 0, 1, 0, 0, 0]
    found = {(h["layer"], h["head"]): (h["induction"], h["previous"]) for h in rows}
    assert found.pop((1, 0)) == (1.0, 0.0) and found.pop((0, 1)) == (0.0, 1.0) and set(found.values()) == {(0.0, 0.0)}
    tokens = induction.twice(2, 5)
    before = model(tokens[:, :0], tokens)
    with induction.without(model, 1, 1):
        silent = model(tokens[:, :0], tokens)
    assert not torch.equal(silent, before) and torch.equal(model(tokens[:, :0], tokens), before)
    with torch.no_grad():
        model.stack.layers[1].self_attention.out_proj.weight[:, 16:32] = 0
    torch.testing.assert_close(model(tokens[:, :0], tokens), silent)


def test_induction(tmp_path):
    out = tmp_path / "result.json"
    induction.main(["--steps", "3", "--seeds", "0", "--out", str(out)])
    runs = result(out)["runs"]
    assert [run["arm"] for run in runs] == 2 * list(induction.ARMS)
    assert [len(run["heads"]) for run in runs] == 2 * [2, 4, 4] and {run["lr"] for run in runs} == {2e-3, 6e-3}
    assert runs[2]["parameters"] > runs[1]["parameters"] > runs[0]["parameters"], "the wide control is the largest"
    assert all(run["right"] < 0.3 and math.isfinite(run["curve"][0]) for run in runs)
    refused(induction, out, "steps is 3, not 4", ["--steps", "4", "--seeds", "1", "--out", str(out)])
