"""Pairs that models make: nothing of dev, test or the test's compounds among them, and stopping loses nothing."""

import json

import pytest
import torch
from helpers import real
from helpers.tiny import PAIRS, tiny_checkpoint, tiny_model

from utils import corpus, dictionary, synthetic
from utils.checkpoint import load_model, save_model
from utils.corpus import Corpus, Pair, TestItem
from utils.decoding import hypotheses
from utils.ensemble import load_ensemble
from utils.synthetic import HeldOut, keeps_digits, likeness, read, usable, write

TRAIN = [Pair(*pair) for pair in PAIRS]
DEV, TEST = [TestItem("他来了。", ("He came.", "He has come."))], [TestItem("下雨了!", ("It is raining.",))]
DATA = Corpus(TRAIN, DEV, TEST)

LEAKS = {
    "a dev sentence": Pair("他来了。", "There he was."),
    "a dev sentence with other marks": Pair("他来了!!", "There he was."),
    "its second reference": Pair("他到了。", "He has come."),
    "a reference in other case": Pair("他到了。", "he HAS come"),
    "a test sentence": Pair("下雨了", "Rain."),
    "a test reference": Pair("雨来了。", "It is raining!"),
    "a compound": Pair("我喜欢机器学习。", "I like studying machines."),
    "a compound alone": Pair("机器学习", "machine study"),
}
GOOD = Pair("我们到了。", "We have come.")


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_planted_leaks_are_dropped_and_counted_and_refused_when_read(tmp_path, leak):
    kept, dropped = usable([GOOD, leak, GOOD], DATA)
    assert kept == [GOOD]
    assert dropped["held out"] == 1 and dropped["repeated"] == 1 and sum(dropped.values()) == 2
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{zh}\t{en}\n" for zh, en in (GOOD, leak)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: .* is a sentence of dev or test"):
        read(path, HeldOut(DATA))


@pytest.mark.parametrize("which", ["dev", "test"])
def test_no_real_sentence_that_is_held_out_gets_through(which):
    data = real.load()
    held_out = HeldOut(data)
    for item in getattr(data, which)[::7]:
        assert all(held_out.has(Pair(item.zh, "x")) and held_out.has(Pair("x", en)) for en in item.references)
    assert all(held_out.has(Pair(f"这是{item.zh}吗?", "x")) for item in dictionary.unseen())
    assert not held_out.has(Pair("x", "x"))


def test_other_pairs_that_would_teach_nothing_good_are_dropped():
    pairs = [
        (Pair("三", ""), "empty"),
        (TRAIN[0], "in train"),
        (Pair("我有25本书。", "I have 52 books."), "other digits"),
        (Pair("我去了。", "I went went went went."), "loops"),
    ]
    for pair, reason in pairs:
        kept, dropped = usable([pair], DATA)
        assert kept == [] and [name for name, n in dropped.items() if n] == [reason]
    assert keeps_digits(Pair("1990年5月", "May 1990, or 5")) and not keeps_digits(Pair("5和5", "5"))


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "load", lambda: DATA)
    monkeypatch.setattr(synthetic, "PIECE", 10)
    return tiny_checkpoint(tmp_path / "there")


@pytest.fixture
def back(there, tmp_path):
    tokenizer = load_model(there)[1].reversed()
    model = tiny_model(src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    save_model(tmp_path / "back", model.state_dict(), model.config, tokenizer)
    return tmp_path / "back"


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["there", "back"])
def test_stopped_and_called_again_writes_the_same(request, tmp_path, monkeypatch, direction):
    """Stopped between two pieces, and in the middle of writing one."""
    checkpoint, out = request.getfixturevalue(direction), tmp_path / "out" / "pairs.tsv"
    whole = write([checkpoint], out, beam_size=1)
    text, log = out.read_bytes(), json.loads((tmp_path / "out" / "pairs.tsv.json").read_text())
    assert (
        log == whole
        and log["sentences"] == len(TRAIN)
        and sorted(path.name for path in out.parent.iterdir())
        == [
            "pairs.tsv",
            "pairs.tsv.json",
        ]
    )
    pairs = read(out, HeldOut(DATA))
    assert len(pairs) == log["pairs"] == log["sentences"] - sum(log["dropped"].values())
    side = 0 if direction == "there" else 1
    assert {pair[side] for pair in pairs} <= {pair[side] for pair in TRAIN}

    translate, calls = synthetic.Translator.translate, []

    def stopping(self, texts, *args, **named):
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return translate(self, texts, *args, **named)

    monkeypatch.setattr(synthetic.Translator, "translate", stopping)
    out.unlink()
    assert synthetic.main([str(checkpoint), "--out", str(out), "--beam-size", "1"]) == 130
    assert not out.exists()
    (part,) = out.parent.glob("*.part")
    with part.open("a") as file:
        file.write('"half a li')
    calls.clear()
    monkeypatch.setattr(synthetic.Translator, "translate", translate)
    again = write([checkpoint], out, beam_size=1)
    assert out.read_bytes() == text and again["sha256"] == whole["sha256"] and not part.exists()


def test_the_length_penalty_reaches_the_search_and_the_log(there, tmp_path, monkeypatch):
    asked = []

    def translate(self, texts, beam_size, length_penalty, no_repeat):
        asked.append((beam_size, length_penalty))
        return ["Some words."] * len(texts)

    monkeypatch.setattr(synthetic.Translator, "translate", translate)
    log = write([there], tmp_path / "pairs.tsv", beam_size=2, length_penalty=1.5)
    assert set(asked) == {(2, 1.5)} and (log["beam_size"], log["length_penalty"]) == (2, 1.5)


def test_what_is_kept_of_all_sentences_is_not_taken_for_a_few(there, tmp_path, monkeypatch):
    """Stopped in the middle of all, and asked for three: three are written, and all go on later."""
    out = tmp_path / "pairs.tsv"
    monkeypatch.setattr(synthetic.Translator, "translate", lambda self, texts, *_, **__: ["Some words."] * len(texts))
    monkeypatch.setattr(synthetic, "write_files", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write([there], out, beam_size=1)
    monkeypatch.undo()
    monkeypatch.setattr(corpus, "load", lambda: DATA)
    assert write([there], out, beam_size=1, limit=3)["sentences"] == 3
    assert len(list(tmp_path.glob("*.part"))) == 1


def test_a_translation_is_like_the_reference_that_it_is_likest_to():
    people = ["He has come home.", "He came back."]
    assert likeness("He came back.", people) == pytest.approx(100)
    assert likeness("He came back.", people) > likeness("He comes back.", people) > likeness("It rains.", people)
    assert likeness("", people) == 0
    assert likeness("他来了。", ["他来了。"]) == pytest.approx(100)
    assert likeness("他走了。", ["他来了。"]) > likeness("x", ["他来了。"]), "each Chinese character is a word"


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["there", "back"])
def test_nearest_takes_from_each_beam_what_is_likest_to_people(request, direction, tmp_path, monkeypatch):
    """By the definition, one sentence at a time; and the file holds just these."""
    checkpoint = request.getfixturevalue(direction)
    translator = load_ensemble([checkpoint])
    people = synthetic.sources(DATA, translator.tokenizer.source)
    found = synthetic.nearest(translator, list(people), list(people.values()), 3, 1.0)
    better = 0
    for text, references, chosen in zip(people, people.values(), found, strict=True):
        (src,) = translator.tokenizer.encode_src([text])
        (beam,) = hypotheses(translator.model, torch.tensor([src]), 2 * len(src) + 10, 3, 1.0)
        grades = [likeness(translator.tokenizer.decode(ids), references) for ids in beam]
        assert likeness(chosen, references) == max(grades)
        better += max(grades) > grades[0]
    assert better, "the best by the model was the likest everywhere: this shows nothing"
    monkeypatch.setattr(synthetic, "usable", lambda pairs, data: (pairs, {}))  # a random model's pairs are not
    log = write([checkpoint], tmp_path / "pairs.tsv", beam_size=3, likest=True)
    side = 1 if direction == "there" else 0
    lines = [line.split("\t") for line in (tmp_path / "pairs.tsv").read_text(encoding="utf-8").splitlines()]
    assert log["nearest"] and [line[side] for line in lines] == [" ".join(text.split()) for text in found]


@pytest.mark.parametrize(
    ("checkpoint", "flags", "message"),
    [
        ("none", "", "There is no checkpoint"),
        ("reader", "", "reads and does not write; give the folder of a translator"),
        ("there", "--beam-size 0", "beam_size is 0"),
        ("there", "--limit -3", "limit is -3; it must be at least 1"),
        ("there", "--out there", "there is a folder: name the file of pairs to write"),
        (
            "there",
            "--out there/config.json/x.tsv",
            "Cannot make the folder there/config.json (File exists): name another",
        ),
        ("there", "--beam-size 0 --nearest", "beam_size is 0"),
        ("there", "--length-penalty -1 --nearest", "length_penalty is -1"),
    ],
)
def test_mistakes_get_one_sentence(there, tmp_path, monkeypatch, capsys, checkpoint, flags, message):
    monkeypatch.chdir(tmp_path)
    tiny_checkpoint(tmp_path / "reader", "encoder-only")
    assert synthetic.main([str(tmp_path / checkpoint), "--out", str(tmp_path / "x.tsv"), *flags.split()]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.glob("x.tsv*"))


def test_a_line_that_is_no_pair_is_named(tmp_path):
    (tmp_path / "bad.tsv").write_text("一个\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: expected Chinese, one tab, English"):
        read(tmp_path / "bad.tsv", HeldOut(DATA))
    (tmp_path / "bad.tsv").write_bytes(b"\xff\xfe\xd6")
    with pytest.raises(ValueError, match=r"Cannot read .*bad.tsv as UTF-8 text"):
        read(tmp_path / "bad.tsv", HeldOut(DATA))
