"""Every long experiment runs in miniature and writes the file that its lesson reads."""

import json
import math
from pathlib import Path

import pytest
import torch
from helpers.tiny import tiny_checkpoint

from experiments import (
    ablations,
    average,
    bottleneck,
    copying,
    leaks,
    look_up,
    nearest,
    penalty,
    positions,
    recall,
    recipe,
    same_minutes,
    scaling,
    short_sentences,
    sums,
    two_heads,
    vocabulary,
    without_rnn,
    write_pairs,
)
from utils import corpus, dictionary, names, synthetic
from utils.evaluation import PLAIN_SEARCH
from utils.fetch import fetched
from utils.numbers import Item, Number
from utils.positional import rotary

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
TINY = ["--d-model", "16", "--d-ff", "32", "--tgt-vocab", "300", "--batch-tokens", "400", "--n-layers", "1"]


def paths(folder, out):
    return ["--runs", str(folder / "runs"), "--out", str(out)]


@pytest.fixture(scope="module")
def whole():
    return corpus.load()


@pytest.fixture(scope="module")
def rows():
    return list(corpus.read_rows(fetched("tatoeba.tsv")))


@pytest.fixture
def small_corpus(whole, monkeypatch):
    small = corpus.Corpus(whole.train[:200], whole.dev[:2], whole.test[:2])
    monkeypatch.setattr(corpus, "load", lambda: small)
    monkeypatch.setattr(dictionary, "glosses", lambda corpus_, limit: [corpus.Pair("机器", "machine")] * 20)
    monkeypatch.setattr(dictionary, "unseen", lambda path=None: whole.test[:1])
    return small


@pytest.mark.slow
def test_same_minutes(small_corpus, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--minutes", "0.01", "--seeds", "0", *paths(tmp_path, out)]
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
    with pytest.raises(SystemExit, match="trained with minutes 0.01, not 0.005: keep the new one apart with --runs"):
        same_minutes.main(["--minutes", "0.005", "--seeds", "0", *paths(tmp_path, out), "--options", *TINY])


@pytest.mark.slow
def test_recipe(small_corpus, tmp_path, monkeypatch):
    """Each arm once, also when it is called again for some and with another seed."""
    out = tmp_path / "result.json"
    monkeypatch.chdir(tmp_path)
    made = (Path(recipe.MADE) / name / "pairs.tsv" for name in ("from-there-1", "from-back-1"))
    for path in (*made, Path(recipe.TAUGHT)):
        write_pairs(path, [corpus.Pair("你好吗？", "How are things?")])
    arguments = ["--updates", "2", *paths(tmp_path, out)]
    arms = list(recipe.ARMS)
    recipe.main([*arguments, "--arms", *arms[:2], "--options", *TINY, "--numbers", "5"])
    recipe.main([*arguments, "--options", *TINY, "--numbers", "5"])
    recipe.main([*arguments, "--seeds", "1", "--arms", arms[0], "--options", *TINY])
    with pytest.raises(SystemExit, match="updates is 2, not 3: keep the new ones apart"):
        recipe.main([*arguments, "--updates", "3", "--seeds", "2"])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(run["name"], run["seed"]) for run in runs] == [*((name, 0) for name in arms), (arms[0], 1)]
    for run in runs:
        assert run["history"][-1]["step"] == 2 and run["bleu"] >= 0 and run["compounds_right"] in (0, 1)


@pytest.mark.parametrize("script", [same_minutes, recipe])
def test_every_score_of_a_row_is_of_the_same_search(small_corpus, monkeypatch, tmp_path, script):
    asked = []

    class Translator:
        def translate(self, sentences, **settings):
            asked.append(settings)
            return ["" for _ in sentences]

    monkeypatch.setattr(script, "train_and_score", lambda *_: ({}, Translator()))
    if script is recipe:
        recipe.run("plain", 0, 2, tmp_path, [])
    else:
        same_minutes.run("rnn", [], 1.0, 0, tmp_path, [])
    assert asked and all(settings == PLAIN_SEARCH for settings in asked)


@pytest.mark.slow
def test_copying(small_corpus, tmp_path, monkeypatch):
    """The model before, and the arms from it, each once."""
    out = tmp_path / "result.json"
    monkeypatch.setattr(copying, "START", tiny_checkpoint(tmp_path / "final"))
    few = [
        Item("我有35本书。", Number("integer", "35"), "template"),
        Item("第三课", Number("ordinal", "3"), "template"),
    ]
    monkeypatch.setattr(copying, "items", lambda *_, **__: few)
    monkeypatch.setattr(names, "name_items", lambda *_, **__: [names.NameItem("Otto来了。", ("Otto",))])
    options = ["--steps", "2", "--numbers", "6", "--joined", "2", "--batch-tokens", "400"]
    copying.main([*paths(tmp_path, out), "--arms", "before", "--options", *options])
    copying.main([*paths(tmp_path, out), "--options", *options, "--copies", "5", "--practice", "3"])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [run["name"] for run in runs] == list(copying.ARMS) and "bleu" not in runs[0]
    assert [run["kept"]["all numbers"]["of"] for run in runs] == [2] * 4 and runs[0]["kept"]["ordinal"]["of"] == 1
    assert [run["kept"]["names"]["of"] for run in runs] == [1] * 4
    assert [run["history"][-1]["step"] for run in runs[1:]] == [2] * 3
    assert {run["pairs"] for run in runs[1:]} == {200 + 20 + 6 + 5 + 3 + 2}


@pytest.mark.slow
def test_nearest(small_corpus, tmp_path, monkeypatch):
    """The stage `near` as it is, and the other arm, which goes on from the same model with what that makes alone."""
    out = tmp_path / "result.json"
    monkeypatch.setattr(nearest, "MADE", tmp_path)
    monkeypatch.setattr(synthetic, "usable", lambda pairs, data: (pairs, {}))  # a random model's pairs are not
    tiny_checkpoint(tmp_path / "mean-4", n_layers=1)
    tiny_checkpoint(tmp_path / "near", n_layers=1)
    write_pairs(tmp_path / "from-back-2/pairs.tsv", [corpus.Pair("你好吗？", "How are things?")])
    write_pairs(tmp_path / "from-mean-4/pairs.tsv", small_corpus.train[:10])
    options = "--steps 2 --numbers 6 --joined 2 --compounds 0 --names 0 --more-practice 0 --batch-tokens 1000"
    nearest.main([*paths(tmp_path, out), "--options", *options.split()])
    before, best, likest = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [run["name"] for run in (before, best, likest)] == list(nearest.ARMS) and "history" not in before
    assert best["history"][-1]["step"] == 2 and best["pairs"] == 200 + 20 + 6 + 2 + 1 + best["made"]
    assert likest["made"] == 10 and likest["made_bleu"] == 100 > best["made_bleu"]
    log = json.loads((tmp_path / "runs/best/pairs.tsv.json").read_text())
    assert not log["nearest"] and log["beam_size"] == 5


@pytest.mark.slow
def test_average(small_corpus, tmp_path):
    """The mean of a model and itself translates as it does."""
    out = tmp_path / "result.json"
    tiny_checkpoint(tmp_path / "first")
    average.main(["--made", str(tmp_path), "--means", "first", "first+first", "--out", str(out)])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [run.pop("mean_of") for run in runs] == ["first", "first+first"] and runs[0] == runs[1]


@pytest.mark.slow
def test_penalty(small_corpus, tmp_path):
    """A row for each penalty; a larger one makes no shorter answers."""
    out = tmp_path / "result.json"
    folder = tiny_checkpoint(tmp_path / "first")
    penalty.main(["--checkpoint", str(folder), "--penalties", "0", "2", "--out", str(out)])
    short, long = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert (short["length_penalty"], long["length_penalty"]) == (0, 2)
    assert 0 <= short["length_ratio"] <= long["length_ratio"]


@pytest.mark.slow
def test_leaks_both_training_sets_are_as_large_and_one_shares_sentences_with_the_test(rows):
    test, sets = leaks.two_training_sets(rows[:5000], 500, seed=0)
    known = {name: {side for row in train for side in (row.zh, row.en)} for name, train in sets.items()}
    shared = {name: sum(bool({i.zh, *i.references} & known[name]) for i in test) for name in sets}
    assert len(test) == 500 and len(sets["random split"]) == len(sets["groups split"])
    assert shared["groups split"] == 0 and shared["random split"] > 50
    kinds = leaks.by_kind(test, sets["random split"])
    assert len(kinds["shared"]) == shared["random split"] and len(kinds["shared"]) + len(kinds["unshared"]) == 500
    for train in sets.values():
        assert len(set(train)) == len(train) and set(train) <= set(rows)
        assert not {(row.zh, row.en) for row in train} & {(i.zh, i.references[0]) for i in test}


def test_without_the_corpus_a_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(leaks, "fetched", lambda name: fetched(name, tmp_path))
    with pytest.raises(corpus.CorpusError, match="run `python -m utils.corpus` once"):
        leaks.main(paths(tmp_path, tmp_path / "result.json"))


@pytest.mark.slow
def test_leaks(rows, monkeypatch, tmp_path):
    out = tmp_path / "result.json"
    monkeypatch.setattr(leaks, "read_rows", lambda path: rows[:300])
    leaks.main(["--steps", "2", "--seeds", "0", "--n-test", "60", *paths(tmp_path, out), "--options", *TINY])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [run["name"] for run in result["runs"]] == ["random split", "groups split"]
    for run in result["runs"]:
        assert run["pairs"] > 150 and run["shared"]["sentences"] + run["unshared"]["sentences"] == 60


@pytest.mark.slow
def test_short_sentences(small_corpus, tmp_path, monkeypatch):
    """Every rate at the first seed, every seed at the best; called again, nothing is trained a second time."""
    out = tmp_path / "result.json"
    monkeypatch.setattr(short_sentences, "LENGTH", 100)
    arguments = [
        "--updates",
        "2",
        "--gloss-updates",
        "2",
        "--seeds",
        "0",
        "1",
        "--rates",
        "1e-3",
        "1e-2",
        "--out",
        str(out),
        "--questions",
        "models",
        "cuts",
        "glosses",
    ]
    short_sentences.main(arguments)
    text = out.read_text(encoding="utf-8")
    runs = json.loads(text)["runs"]
    assert len(runs) == 2 * (2 + 1) + 2 * 3 + 2 * len(short_sentences.GLOSSES)
    assert all(math.isfinite(run["test_nll"]) and run["updates"] == 2 for run in runs)
    for kind in short_sentences.SIZES:
        mine = [run for run in runs if run["question"] == "models" and run["kind"] == kind]
        assert [run["seed"] for run in mine] == [0, 0, 1] and mine[2]["lr"] == short_sentences.best_rate(runs, kind)
    assert all(run["compounds"] for run in runs if run["question"] == "glosses")
    short_sentences.main(arguments)
    assert json.loads(out.read_text(encoding="utf-8"))["runs"] == runs


def test_chinese_is_cut_by_the_dictionary_and_by_merges():
    assert short_sentences.chinese_words("我喜欢学习。", {"喜欢", "学习"}) == ["我", "喜欢", "学习", "。"]
    pieces = short_sentences.pieces_of(["学习学习。", "学习"], 20)
    assert pieces.encode("学习。").tokens == ["学习", "。"] and pieces.encode("习").tokens == ["习"]


@pytest.mark.slow
def test_scaling(small_corpus, tmp_path):
    out = tmp_path / "result.json"
    few = ["--widths", "8", "16", "--shares", "1", "2"]
    tiny = [option for option in TINY if option not in ("--d-model", "16", "--d-ff", "32")]
    scaling.main(["--steps", "2", "--seeds", "0", *few, *paths(tmp_path, out), "--options", *tiny])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(run["share"], run["d_model"]) for run in runs] == [(1, 8), (1, 16), (2, 8), (2, 16)]
    assert runs[0]["parameters"] < runs[1]["parameters"] and runs[0]["pairs"] > runs[2]["pairs"]
    assert all(run["history"][-1]["step"] == 2 for run in runs)


@pytest.mark.slow
def test_positions(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    monkeypatch.setattr(positions, "LENGTHS", (4, 16))
    monkeypatch.setattr(positions, "all_pairs", lambda n, every=positions.all_pairs: every(20))
    positions.main(["--steps", "2", "--seeds", "0", "--questions", "100", "--out", str(out)])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [run["scheme"] for run in runs] == list(positions.SCHEMES)
    for run in runs:
        assert set(run["right"]) == {"4", "16"} and len(run["by_distance"]) == 19 and len(run["by_blocks"]) == 5
        if run["scheme"] in ("none", "ALiBi"):  # blind to a reversal, trained or not
            assert set(run["right"].values()) == {50} == set(run["by_distance"])
        paces = [(other["hand"], other["factor"]) for other in run.get("other_paces", [])]
        assert paces == [(h, f) for h in range(4) for f in positions.PACES if run["scheme"] == "rotary"]


def test_positions_asks_every_sentence_forwards_and_backwards():
    torch.manual_seed(0)
    words, places = positions.sentences(50, 7)
    assert torch.equal(words.gather(1, places), torch.tensor([[0, 1]]).expand(50, 2))
    assert (words < 2).sum() == 100, "one 我 and one 你 in each"
    words, places = positions.all_pairs(7)
    right, asked = positions.ask(positions.Encoder("learned"), words, places)
    assert sorted(map(tuple, asked.tolist())) == [(p, r) for p in range(7) for r in range(7) if p != r]
    assert positions.by_distance(right, asked)[5] == 50 * (right[[5, 26]].sum().item()), "0 and 6, both ways"
    always_first = asked[:, 0] < 4
    assert positions.by_blocks(always_first, asked) == [[100, 100], [0, 0]]


def test_positions_turns_as_rotary_does_and_one_hand_as_told():
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    model = positions.Encoder("rotary")
    torch.testing.assert_close(positions.turn(x, model.layers[0].speeds.double()), rotary(x), atol=1e-6, rtol=0)
    positions.set_pace(model, 1, 0.5)
    assert all(layer.speeds.tolist() == pytest.approx([1, 0.05, 0.01, 0.001]) for layer in model.layers)


@pytest.mark.slow
def test_recall(tmp_path):
    out = tmp_path / "recall.json"
    recall.main(["--seeds", "3", "--updates", "3", "--lengths", "5", "9", "--out", str(out)])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(run["layer"], run["labels"]) for run in runs] == [(name, n) for n in (1, 4) for name in recall.LAYERS]
    for run in runs:
        assert len(run["by_distance"]) == recall.LONGEST - 1 and len(run["by_length"]) == 2
        assert 0 <= min(run["by_distance"]) and max(run["by_distance"]) <= 1
    sizes = [run["parameters"] for run in runs]
    assert max(sizes) < 1.05 * min(sizes)


@pytest.mark.parametrize("labels", [1, 4])
def test_recall_puts_the_asked_label_at_its_distance_and_asks_for_one_only(labels):
    torch.manual_seed(0)
    distances = torch.randint(1, 9, (200,))
    tokens, color = recall.questions(distances, 9, labels)
    asked = torch.tensor([recall.NAMES.index(recall.WORDS[word].rstrip("?")) for word in tokens[:, -1]])
    assert torch.equal(tokens[torch.arange(200), -1 - distances], 8 * asked + color)
    names = [[int(word) // 8 for word in row if word < 64] for row in tokens]
    assert all(len(set(row)) == len(row) == labels for row in names), "different names"


def test_recall_the_mean_hears_a_set():
    torch.manual_seed(0)
    tokens, _ = recall.questions(torch.full((5,), 3), 9, labels=4)
    model = recall.Recall(*recall.LAYERS["mean"]())
    torch.testing.assert_close(model(tokens), model(tokens[:, [2, 0, 1, 7, 6, 5, 4, 3, 8]]))


@pytest.mark.parametrize("kernel, dilations", [(5, (1, 1, 1)), (3, (1, 2, 4)), (2, (1,))])
def test_the_causal_cnn_sees_its_field_and_nothing_of_the_future(kernel, dilations):
    torch.manual_seed(0)
    a = torch.randn(1, 20, 8, requires_grad=True)
    recall.CausalCNN(8, kernel, dilations)(a)[0, 15].sum().backward()
    seen = a.grad[0].abs().amax(dim=1).nonzero().flatten().tolist()
    assert seen[0] == 15 - (kernel - 1) * sum(dilations) and seen[-1] == 15


@pytest.mark.slow
def test_look_up(tmp_path):
    out = tmp_path / "result.json"
    look_up.main(["--seeds", "0", "--steps", "3", "--out", str(out)])
    rows = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(row["name"], row["lr"]) for row in rows] == [
        (n, lr) for n, (rates, _) in look_up.VARIANTS.items() for lr in rates
    ]
    assert all(0 <= row["dev"] <= 1 and 0 <= row["test"] <= 1 for row in rows)
    again, kept = rows[0], rows[1]
    out.write_text(json.dumps({"steps": 3, "runs": [kept | {"test": 0.5}, *rows[2:]]}))
    look_up.main(["--seeds", "0", "--steps", "3", "--out", str(out)])
    assert json.loads(out.read_text(encoding="utf-8"))["runs"] == [kept | {"test": 0.5}, *rows[2:], again]


@pytest.mark.parametrize("scale, start", [(1 / 16, 1.0), (1, 0.25)])
def test_look_up_untrained_guesses(scale, start):
    assert all(abs(share - 1 / 8) < 0.12 for share in look_up.learn_to_look_up(scale, 0.01, 0, start, steps=0))


@pytest.mark.slow
def test_two_heads(tmp_path):
    out = tmp_path / "result.json"
    two_heads.main(["--seeds", "0", "1", "--many", "3", "--steps", "5", "--out", str(out)])
    rows = json.loads(out.read_text(encoding="utf-8"))["runs"]
    seeds = {name: range(3 if name in two_heads.OFTEN else 2) for name in two_heads.VARIANTS}
    assert [(row["name"], row["seed"]) for row in rows] == [(name, seed) for name in seeds for seed in seeds[name]]
    assert all(math.isfinite(row["error"]) for row in rows)
    parameters = {row["name"]: row["parameters"] for row in rows}
    assert parameters["1 head"] == parameters["2 heads"] == parameters["4 heads"]
    assert parameters["2 layers of 1 head"] < parameters["1 head, four times as wide"]
    assert all(len(row["factors"]) == 2 for row in rows)


def test_in_two_heads_a_layer_that_keeps_its_words_has_a_second_way():
    """One head in each layer: only where words are kept can income and costs move the output in opposite directions."""
    for keep in (True, False):
        opposite = []
        for seed in range(40):
            torch.manual_seed(seed)
            model = two_heads.TwoLayers(keep)
            for to_q in model.to_q:
                to_q.weight.data *= 100  # a layer that has made up its mind
            first, second = two_heads.factors(model, batch=1)
            opposite.append(first * second < -1e-6)
        assert any(opposite) is keep


def test_in_two_heads_the_baseline_hears_all_words_alike():
    model = two_heads.mean_of_all()
    two_heads.train(model, steps=3, rate=0.0)
    first, second = two_heads.factors(model)
    assert first == pytest.approx(second, abs=1e-6)


def test_in_two_heads_only_the_switch_lets_keys_read_numbers():
    """What the lesson's proof rests on: numbers move the output of one head linearly, unless the keys read them."""
    x, target = two_heads.sentences(50)
    assert (x[:, 1, -1] - x[:, 2, -1] == target).all() and (x[..., : two_heads.N_NAMES].sum(-1) == 1).all()
    shown = x * (torch.arange(16) < two_heads.N_NAMES)  # the same names, all numbers zero
    for reads, linear in ((False, True), (True, False)):
        torch.manual_seed(0)
        model = two_heads.Subtractor(1, keys_read_numbers=reads)
        once, twice = model(x) - model(shown), model(2 * x - shown) - model(shown)
        assert torch.allclose(twice, 2 * once, atol=1e-5) is linear


def test_bottleneck_every_digit_comes_back_mirrored():
    src, tgt = bottleneck.sentences(50, 2, 6, torch.Generator().manual_seed(0))
    for row, back in zip(src.tolist(), tgt.tolist(), strict=True):
        digits = [i for i in row if i != bottleneck.PAD]
        assert 2 <= len(digits) <= 6 and row[: len(digits)] == digits, "padding on the right"
        assert back == [*digits[::-1], bottleneck.EOS] + [bottleneck.PAD] * (6 - len(digits))
    again = bottleneck.sentences(50, 2, 6, torch.Generator().manual_seed(0))
    assert torch.equal(src, again[0]), "the seed fixes the sentences, for every model the same"


@pytest.mark.parametrize("name", bottleneck.MODELS)
def test_bottleneck_padding_changes_nothing_and_writing_agrees_with_teacher_forcing(name):
    torch.manual_seed(0)
    scores, d = bottleneck.MODELS[name]
    model = bottleneck.Seq2Seq(scores, d)
    src, tgt = bottleneck.sentences(4, 5, 5, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(src, (0, 3))
    (logits, weights), (again, wide) = model(src, tgt), model(padded, tgt)
    torch.testing.assert_close(logits, again)
    assert wide[..., 5:].abs().max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 6))
    if "one vector" in name:
        assert torch.equal(weights, torch.eye(5)[4].expand(4, 6, 5)), "only the last state"
    written = bottleneck.write(model, src, 6)
    forced = model(src, written)[0].argmax(-1)
    assert torch.equal(written, forced)


@pytest.mark.slow
def test_bottleneck(tmp_path):
    out = tmp_path / "result.json"
    bottleneck.main(["--seeds", "0", "--steps", "2", "--longest", "4", "--out", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    which = [(run["model"], run["steps"]) for run in result["runs"]]
    longer = [("one vector", 2 * times) for times in bottleneck.LONGER]
    assert which == [*((name, 2) for name in bottleneck.MODELS), *longer] and result["lengths"] == [2, 4]
    assert all(len(run["right"]) == len(run["bits"]) == 2 for run in result["runs"])
    equal = [run["parameters"] for run in result["runs"] if "wide" not in run["model"]]
    assert max(equal) < 1.05 * min(equal)
    assert all(run["bits"][1] < 4 * math.log2(10) for run in result["runs"])
    result["runs"].pop()
    out.write_text(json.dumps(result), encoding="utf-8")
    bottleneck.main(["--seeds", "0", "--steps", "2", "--longest", "4", "--out", str(out), "--keep"])
    again = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert again[:-1] == result["runs"] and len(again) == len(which), "what is there is kept, what is missing is run"
    with pytest.raises(SystemExit, match=r"lengths is \[2, 4\], not \[2, 4, 6\]"):
        bottleneck.main(["--seeds", "0", "--steps", "2", "--longest", "6", "--out", str(out), "--keep"])


def test_without_rnn_a_zero_turns_the_digit_behind_it():
    src, tgt = without_rnn.opposites(50, 2, 6, torch.Generator().manual_seed(0))
    zero = without_rnn.ZERO
    for row, back in zip(src.tolist(), tgt.tolist(), strict=True):
        digits = [i - zero for i in row if i != bottleneck.PAD]
        said = [10 - x if before == 0 < x else x for before, x in zip([None, *digits], digits, strict=False)]
        assert back == [x + zero for x in said[::-1]] + [bottleneck.EOS] + [bottleneck.PAD] * (6 - len(digits))
    assert 0.4 < (src[src != bottleneck.PAD] == zero).float().mean() < 0.65


def test_without_rnn_who_hears_whom():
    src, _ = bottleneck.sentences(1, 6, 6, torch.Generator().manual_seed(0))
    other = src.clone()
    other[0, 2] = 4 + (src[0, 2] - 3) % 10
    for hears, moved in (("all", 6), ("itself", 1)):
        torch.manual_seed(0)
        model = without_rnn.WithoutRNN(bottleneck.DotProduct, 48, hears)
        change = (model.encode(other)[0] - model.encode(src)[0]).abs().amax(-1)[0] > 1e-6
        assert change.sum() == moved and change[2]
    model = without_rnn.WithoutRNN(bottleneck.DotProduct, 48, places=False)
    torch.testing.assert_close(model.encode(src.flip(1))[0].flip(1), model.encode(src)[0])


@pytest.mark.slow
def test_without_rnn(tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--steps", "2", "--longest", "3", "--out", str(out), "--keep"]  # a file that is not there yet
    without_rnn.main([*arguments, "--seeds", "0"])
    rows = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(r["language"], r["encoder"]) for r in rows] == [
        (language, encoder) for language in without_rnn.LANGUAGES for encoder in without_rnn.ENCODERS
    ]
    assert len({r["parameters"] for r in rows if r["encoder"] != "GRU"}) == 1, "only who hears whom differs"
    assert all(0 <= r["right"] <= 1 for r in rows)
    without_rnn.main([*arguments, "--seeds", "1"])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["seeds"] == [0, 1] and result["runs"][: len(rows)] == rows, "the header names the seeds of all rows"


@pytest.mark.parametrize("part", ablations.PARTS)
def test_ablations_takes_out_one_part_and_no_other(part):
    """Which outputs move when a word is replaced, and what a sublayer's silence and a missing Add look like."""
    torch.manual_seed(0)
    src, tgt = ablations.numbers(1)
    whole, model = ablations.small(1), ablations.without(part, ablations.small(1))

    def moves(src_place, tgt_place):
        other_src, other_tgt = src.clone(), tgt.clone()
        if src_place is not None:
            other_src[0, src_place] = 4 + (src[0, src_place] - 3) % 10
        if tgt_place is not None:
            other_tgt[0, tgt_place] = 4 + (tgt[0, tgt_place] - 3) % 10
        return (model(other_src, other_tgt) - model(src, tgt)).abs().amax(-1)[0] > 1e-6

    assert moves(0, None).any() == (part != "cross-attention"), "the source speaks through cross-attention alone"
    assert moves(None, 4)[:4].any() == (part == "mask"), "the future is heard without the mask alone"
    turned = torch.allclose(model(src.flip(1), tgt), model(src, tgt), atol=1e-6)
    assert turned == (part in ("positions", "cross-attention")), "without positions the source is a set"
    removed = sum(p.numel() for p in whole.parameters()) - sum(p.numel() for p in model.parameters())
    sublayer = {"cross-attention": whole.decoder[0].cross_attention, "feed-forward": whole.encoder[0].feed_forward}
    gone = sum(p.numel() for p in sublayer[part].parameters()) if part in sublayer else 0
    assert removed == (2 * gone if part == "feed-forward" else gone)


@pytest.mark.parametrize("norm_first", [True, False])
def test_ablations_no_residual_norms_and_does_not_add(norm_first):
    model = ablations.small(1, norm_first)
    x, mask = torch.randn(1, 3, 32), torch.ones(1, 1, 1, 3, dtype=torch.bool)
    for layer, inputs in ((model.encoder[0], (x, mask)), (model.decoder[0], (x, x, mask))):
        for name in ("self_attention", "cross_attention", "feed_forward"):
            if hasattr(layer, name):
                setattr(layer, name, ablations.Silence())
        assert torch.equal(ablations.NoResidual(layer)(*inputs), torch.zeros(1, 3, 32)), "nothing said, nothing left"
        if norm_first:
            torch.testing.assert_close(layer(*inputs), x)


def test_ablations_shuffled_answers_belong_to_other_numbers():
    torch.manual_seed(0)
    src, tgt = ablations.numbers(50)
    assert torch.equal(tgt[:, 1:].flip(1), src) and (tgt[:, 0] == 1).all()
    src, tgt = ablations.numbers(50, shuffled=True)
    answers = {tuple(row) for row in tgt[:, 1:].flip(1).tolist()}
    assert answers == {tuple(row) for row in src.tolist()} and not torch.equal(tgt[:, 1:].flip(1), src)


@pytest.mark.slow
def test_ablations(tmp_path):
    out = tmp_path / "result.json"
    few = ["--steps", "12", "--deep-steps", "2", "--depth", "1", "--warmup", "1", "--seeds", "0"]
    ablations.main([*few, "--out", str(out)])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [run["name"] for run in runs] == [*ablations.PARTS, *ablations.SHUFFLED, *ablations.DEEP]
    assert all(len(run["curve"]) == (1 if run["name"] in ablations.DEEP else 2) for run in runs)
    assert all(0 <= run["alone"] <= 1 and math.isfinite(run["curve"][0]) for run in runs)


@pytest.mark.slow
def test_sums(tmp_path):
    src, tgt = sums.sums(20)
    digits, added = src - 4, tgt[:, 1:].flip(1) - 4
    assert torch.equal(added[:, 0], (digits[:, 0] + digits[:, 1]) % 10)
    assert torch.equal(added[:, 5], (digits[:, 5] + digits[:, 0]) % 10) and (tgt[:, 0] == 1).all()
    out = tmp_path / "result.json"
    sums.main(["--steps", "12", "--seeds", "0", "--out", str(out)])
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [run["removed"] for run in runs] == ["nothing", "feed-forward"]
    assert all(len(run["curve"]) == 2 and 0 <= run["right"] <= 1 for run in runs)


@pytest.mark.slow
def test_vocabulary(small_corpus, tmp_path):
    out, options = tmp_path / "result.json", [o for o in TINY if o not in ("--tgt-vocab", "300")]
    limits = ["--minutes", "0.001", "--seeds", "0", "--sizes", "80", "300"]
    vocabulary.main([*limits, *paths(tmp_path, out), "--options", *options])
    few, many = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert few["vocabulary"] < many["vocabulary"] and few["tokens_per_word"] > many["tokens_per_word"] > 1
