"""Text to ids and back: nothing is lost that training has seen, and nothing breaks on what it has not."""

import json
import os
import subprocess
import sys

import pytest
from helpers.tiny import PAIRS, few, tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from utils.config import ROOT
from utils.text import CLEANING
from utils.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizer

TOKENIZER = tiny_tokenizer()
LETTERS = sorted({c for _, en in PAIRS for c in en if c.isalpha()})


def test_the_special_tokens_have_their_fixed_ids_on_both_sides():
    for side in (TOKENIZER.src_tokens, TOKENIZER.tgt_tokens):
        assert side([PAD, BOS, EOS, UNK]) == SPECIALS


def test_chinese_is_cut_into_characters():
    ids = TOKENIZER.encode_src(["我们学习翻译。"])[0]
    assert TOKENIZER.src_tokens(ids) == [*"我们学习翻译。", "<eos>"] and UNK not in ids


@few
@given(st.text(max_size=30))
def test_every_character_gets_one_id_whatever_it_is(text):
    """White space gets none; emoji, rare characters and controls are <unk>, one each."""
    ids = TOKENIZER.encode_src([text])[0]
    assert ids[-1] == EOS and len(ids) <= len(text) + 1
    known = {c for zh, _ in PAIRS for c in zh}
    assert [i for i in ids if i > UNK] == TOKENIZER.encode_src(["".join(c for c in text if c in known)])[0][:-1]


def test_rare_characters_are_unknown_and_frequent_ones_have_small_ids():
    tokenizer = Tokenizer.train(["人人人你你我"], ["a"], tgt_vocab=10)
    assert tokenizer.encode_src(["人你我"])[0] == [4, 5, UNK, EOS]


def test_a_source_that_is_not_chinese_keeps_its_spaces():
    """Without them a model of German could not know where words begin."""
    tokenizer = Tokenizer.train(["Anna kauft Brot."] * 2, ["a"], tgt_vocab=10, source="any")
    ids = tokenizer.encode_src(["Anna kauft", "Annakauft"])
    assert tokenizer.src_tokens(ids[0]) == [*"Anna▁kauft", "<eos>"] and UNK not in ids[0]
    assert tokenizer.src_tokens(ids[1]) == [*"Annakauft", "<eos>"]
    assert TOKENIZER.encode_src(["我们 学习"]) == TOKENIZER.encode_src(["我们学习"]), "in Chinese they mean nothing"


def test_english_comes_back_as_it_was():
    english = [en for _, en in PAIRS]
    ids = TOKENIZER.encode_tgt(english)
    assert [TOKENIZER.decode(i) for i in ids] == english
    assert TOKENIZER.tgt_vocab == 70 and max(map(max, ids)) < 70 and min(map(min, ids)) > UNK


@few
@given(st.lists(st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=6))
def test_words_never_seen_come_back_from_their_letters(words):
    sentence = " ".join(words)
    assert TOKENIZER.decode(TOKENIZER.encode_tgt([sentence])[0]) == sentence


def test_special_tokens_vanish_from_decoded_text():
    ids = TOKENIZER.encode_tgt(["I like music."])[0]
    assert TOKENIZER.decode([BOS, *ids, EOS, PAD]) == "I like music."
    assert TOKENIZER.decode([]) == ""


def test_pieces_stay_within_words():
    """A piece is part of one word, of one number or of punctuation: a subword never spans two words."""
    for piece in TOKENIZER.tgt_tokens(list(range(4, TOKENIZER.tgt_vocab))):
        assert "▁" not in piece[1:] and (piece.strip("▁").isalpha() or len(piece.strip("▁")) <= 1)


def test_saved_and_loaded_is_the_same(tmp_path):
    TOKENIZER.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert (loaded.src_vocab, loaded.tgt_vocab) == (TOKENIZER.src_vocab, TOKENIZER.tgt_vocab)
    assert loaded.encode_src(["我喜欢😀"]) == TOKENIZER.encode_src(["我喜欢😀"])
    assert loaded.encode_tgt(["I like you."]) == TOKENIZER.encode_tgt(["I like you."])
    assert (loaded.source, loaded.cleaning) == (TOKENIZER.source, TOKENIZER.cleaning) == ("zh", CLEANING)


def test_the_file_says_what_the_source_is(tmp_path):
    """Two Chinese characters in a German corpus change nothing."""
    german = Tokenizer.train(["Anna trinkt 茶."] * 2, ["Anna drinks tea."] * 2, tgt_vocab=40, source="any")
    german.save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path / "tokenizer.json").source == "any"


@pytest.mark.parametrize(("sentence", "source"), [("我喜欢茶。", "zh"), ("Anna trinkt Tee.", "any")])
def test_files_of_an_earlier_version_do_not_say_and_load(tmp_path, sentence, source):
    tokenizer = Tokenizer.train([sentence] * 2, ["a"], tgt_vocab=10)
    old = {"src": json.loads(tokenizer.src.to_str()), "tgt": json.loads(tokenizer.tgt.to_str())}
    (tmp_path / "tokenizer.json").write_text(json.dumps(old, ensure_ascii=False), encoding="utf-8")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert (loaded.source, loaded.cleaning) == (source, 1)
    assert loaded.encode_src([sentence]) == tokenizer.encode_src([sentence])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"source": "de"}, "source is 'de'; it must be 'zh'"), ({"cleaning": CLEANING + 1}, "cleaned by version")],
)
def test_files_that_another_version_made_are_refused(tmp_path, change, message):
    TOKENIZER.save(path := tmp_path / "tokenizer.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(path)


def test_another_process_learns_the_same_vocabularies(tmp_path):
    """Resumed training needs it: the cut must not depend on the seed of Python's or Rust's hashes."""
    code = "import sys; from utils.tokenizer import Tokenizer; english = sys.stdin.read().splitlines();"
    code += "Tokenizer.train(english, english, tgt_vocab=70).save(sys.argv[1])"
    english = [en for _, en in PAIRS]
    command, env = [sys.executable, "-c", code, str(tmp_path / "theirs.json")], os.environ | {"PYTHONHASHSEED": "123"}
    subprocess.run(command, input="\n".join(english), text=True, check=True, cwd=ROOT, env=env)
    Tokenizer.train(english, english, tgt_vocab=70).save(tmp_path / "ours.json")
    assert (tmp_path / "ours.json").read_bytes() == (tmp_path / "theirs.json").read_bytes()


def test_spellings_of_one_thing_become_one_in_new_checkpoints(tmp_path):
    """著 is 着 but in 著名 and the like; a checkpoint from before keeps the spellings that it learned."""
    tokenizer = Tokenizer.train(["他看着「它」们著名著。"] * 2, ["a"] * 2)
    spelled = lambda text, t: "".join(t.src_tokens(t.encode_src([text])[0][:-1]))  # noqa: E731
    assert spelled("他看著『牠』们", tokenizer) == "他看着<unk>它<unk>们"  # no single mark was learned
    assert spelled("“著名”的名著著名", tokenizer) == '"著名"<unk>名著著名'
    shipped = Tokenizer.load(ROOT / "data/checkpoints/zh-en/tokenizer.json")
    assert spelled("他看著「牠」们", shipped) == '他看着"它"们'
    file = json.loads(tokenizer.to_json())
    del file["source"], file["cleaning"]
    file["src"]["normalizer"] = None
    (tmp_path / "old.json").write_text(json.dumps(file), encoding="utf-8")
    assert spelled("他看著它", Tokenizer.load(tmp_path / "old.json")) == "他看著它"
    other = Tokenizer.train(["“著牠”"] * 2, ["a"] * 2, source="any")
    assert spelled("“著牠”", other) == "“著牠”"


def test_reversed_it_reads_english_and_writes_chinese(tmp_path):
    one = Tokenizer.train([zh for zh, _ in PAIRS], [en for _, en in PAIRS], tgt_vocab=70)
    other = one.reversed()
    assert (other.source, other.src_vocab, other.tgt_vocab) == ("any", one.tgt_vocab, one.src_vocab)
    english, chinese = "We like music.", "我们喜欢音乐。"
    assert other.encode_src([english]) == [one.encode_tgt([english])[0] + [EOS]]
    (ids,) = other.encode_tgt([chinese])
    assert other.decode([*ids, EOS]) == chinese
    other.save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path / "tokenizer.json").to_json() == other.to_json()


def test_a_target_of_characters_keeps_its_spaces():
    one = Tokenizer.train(["ab cd", "ab cd"], ["x", "y"], tgt_vocab=6, source="any").reversed()
    assert one.decode(one.encode_tgt(["cd ab"])[0]) == "cd ab"
