"""The front door: text of any kind comes back, in order, with nothing dropped; harm gets one sentence."""

import inspect
import io
import os
import shutil
import subprocess
import sys

import pytest
import torch
from helpers.tiny import PAIRS, few, tiny_checkpoint
from hypothesis import example, given
from hypothesis import strategies as st
from torch.testing import assert_close

from utils import load_translator, translate
from utils.config import ROOT
from utils.text import clean
from utils.tokenizer import Tokenizer
from utils.translate import LONGEST, main, split_sentences

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
LONG = "".join(zh for zh, _ in PAIRS)
LONG = (LONG * (2000 // len(LONG) + 1))[:2000]
KINDS_OF_TEXT = {
    "Chinese": "我喜欢学习。",
    "long": LONG,
    "long without a mark": "我" * 300,
    "empty": "",
    "spaces": " \t \u3000 ",
    "emoji": "😀👍🏽👨‍👩‍👧",
    "Latin": "Hello, world! Bye.",
    "mixed": "我喜欢Python 3和😀。",
    "never seen": "我喜欢𠮷龘。",
    "lines": "我喜欢学习。\n\n你看见机器。\n",
    "half a surrogate pair": "我\ud83d喜欢",
    "controls": "我\x00喜\x1b欢\u2028你\r",
}


@pytest.fixture(scope="module", params=["transformer", "rnn"])
def translator(request, tmp_path_factory):
    torch.set_num_threads(1)
    found = load_translator(tiny_checkpoint(tmp_path_factory.mktemp(request.param), request.param), "cpu")
    found.model.double()  # so that rounding decides nothing when batches differ
    return found


@pytest.fixture
def echo(translator, monkeypatch):
    """A translator whose model says what it was asked, between marks: shows what is cut, ordered and joined."""

    def say(sentences, beam_size, length_penalty):
        echo.batches.append(sentences)
        return [f"<{sentence}>" for sentence in sentences]

    monkeypatch.setattr(translator, "translate_batch", say)
    echo = translator
    echo.batches = []
    return echo


# -------------------------------------------------------------------------------------------- text of any kind


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
def test_any_text_gets_an_answer(translator, kind):
    text = KINDS_OF_TEXT[kind]
    english = translator.translate(text, beam_size=1)
    assert isinstance(english, str) and english.count("\n") == text.count("\n")
    english.encode()  # whole characters: can be printed


@few
@given(st.text(st.characters(codec=None), max_size=40))
def test_random_text_gets_an_answer(text):
    """Whatever the characters: only what has Chinese in it reaches the model."""
    asked = translate.pieces(text)
    assert "".join("".join(asked).split()) in (
        "".join(clean(text.encode(errors="replace").decode()).split()),
        "".join(text.encode(errors="replace").decode().split()),
    )


def test_nothing_to_translate_stays_as_it_is(echo):
    for text in ("Hello, world!Bye", "x" * 300, "https://example.org/" + "a/" * 99, "👨‍👩‍👧", "3.14", "naïve café"):
        assert echo.translate(text) == text
    assert (echo.translate(""), echo.translate(" \u3000 "), echo.translate([])) == ("", "", [])
    assert echo.batches == []


def test_two_thousand_characters_and_none_dropped(echo):
    english = echo.translate(LONG)
    assert english.replace("> <", "").strip("<>") == clean(LONG) and len(LONG) == 2000
    assert len([s for batch in echo.batches for s in batch]) == LONG.count("。") + (not LONG.endswith("。"))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_batches_on_threads_of_their_own_find_what_one_after_the_other_does(translator, monkeypatch, beam_size):
    monkeypatch.setattr(translate, "BATCH", 2)
    texts = ["我喜欢学习"[: 1 + i % 5] for i in range(12)]
    one_after_the_other = translator.translate(texts, beam_size)
    torch.set_num_threads(4)
    try:
        assert translator.translate(texts, beam_size) == one_after_the_other
    finally:
        torch.set_num_threads(1)


def test_sentences_and_lines_keep_their_places(echo):
    assert echo.translate("我来了！你好吗？ OK.\n\n  他说：“好。”") == "<我来了!> <你好吗?> OK.\n\n<他说:“好。”>"


@few
@given(st.text(st.characters(codec="utf-8"), max_size=300))
@example("，".join(["我" * 70] * 3))
@example("。" * 200 + "”" * 70)
@example("我\n你\u2028他😀𠮷" * 30)
def test_pieces_joined_are_the_text(text):
    assert "".join(split_sentences(text)) == text
    assert all(0 < len(piece) <= LONGEST for piece in split_sentences(text))


def test_cuts_come_after_marks_if_they_can():
    assert split_sentences("我来了。你好吗?好!") == ["我来了。", "你好吗?", "好!"]
    clauses = [char * 40 + "," for char in "我你他"]
    assert split_sentences("".join(clauses) + "好。") == [clauses[0], clauses[1], clauses[2] + "好。"]
    assert split_sentences("我" * 130) == ["我" * 60, "我" * 60, "我" * 10]


def test_traditional_characters_are_simplified_first(translator):
    assert translator.translate("我們喜歡機器翻譯。") == translator.translate("我们喜欢机器翻译。")
    assert translator.translate("我喜欢学习！") == translator.translate("我喜欢学习!")  # full-width marks likewise


def test_lists_keep_their_order_whatever_the_lengths(echo, translator):
    texts = [("我" * (n * 37 % 50 + 1)) + str(n) for n in range(150)] + ["", "OK"]
    assert echo.translate(texts) == [f"<{text}>" for text in texts[:150]] + ["", "OK"]
    assert max(map(len, echo.batches)) == translate.BATCH
    # Similar lengths share a batch: little is padded.
    assert all(max(map(len, batch)) - min(map(len, batch)) <= 25 for batch in echo.batches)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_list_is_its_texts_one_by_one(translator, beam_size):
    texts = [PAIRS[0][0], "", "我喜欢音乐。你好。", "OK", "学生看见他们看见机器。", "你"]
    assert translator.translate(texts, beam_size) == [translator.translate(text, beam_size) for text in texts]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [(None, "NoneType"), (3, "int"), (b"abc", "bytes"), (("我",), "tuple"), (["我", 3], "a list with something else")],
)
def test_a_wrong_type_is_told(translator, wrong, found):
    with pytest.raises(TypeError, match=f"translate takes a str or a list of str, not {found}"):
        # unwrap: the tests check every signature (conftest.py), and that check would speak first.
        inspect.unwrap(translate.Translator.translate)(translator, wrong)


@pytest.mark.parametrize("beam_size", [0, -1, 2.0, "4"])
def test_a_beam_without_hypotheses_is_refused(translator, beam_size):
    with pytest.raises(ValueError, match=f"beam_size is {beam_size!r}; it must be a whole number"):
        inspect.unwrap(translate.Translator._translate)(translator, ["我"], beam_size, 1.0)


# --------------------------------------------------------------------------------------------------- attention


def test_attend_shows_where_every_word_looked(translator):
    alignment = translator.attend("我喜欢学习。")
    assert alignment.src_tokens == [*"我喜欢学习。", "<eos>"] and alignment.tgt_tokens[-1] == "<eos>"
    L, H = (2, 2) if translator.model.config.kind == "transformer" else (1, 1)
    assert alignment.weights.shape == (L, H, len(alignment.tgt_tokens), 7)
    assert_close(alignment.weights.sum(-1), torch.ones_like(alignment.weights[..., 0]))
    text = "".join(alignment.tgt_tokens[:-1]).replace("▁", " ").replace("<unk>", "").strip()
    assert text == translator.translate("我喜欢学习。")


def test_attend_takes_the_target_up_to_each_word(translator):
    """Row t belongs to the step that chose token t: it is the same with the rest of the translation cut off."""
    alignment = translator.attend("我喜欢学习。")
    ids = [translator.tokenizer.tgt.token_to_id(t) for t in alignment.tgt_tokens[:2]]
    src = torch.tensor(translator.tokenizer.encode_src(["我喜欢学习。"]))
    weights = translator.model.cross_attention_weights(src, torch.tensor([[1, *ids]]))[0].detach()
    assert_close(weights, alignment.weights[:, :, :3], check_dtype=False)


def test_attend_refuses_what_has_no_tokens(translator):
    with pytest.raises(ValueError, match="at least one character"):
        translator.attend("  ")


# ----------------------------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def run(arguments, folder, monkeypatch, stdin=b""):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    return main([*arguments, "--checkpoint", str(folder), "--device", "cpu"])


def test_the_command_prints_the_translation(folder, monkeypatch, capsys):
    for text in ("我喜欢学习。", "", "我喜欢Python 3和😀。\n好。", "我\ud83d喜欢"):
        assert run([text, "--beam-size", "2"], folder, monkeypatch) == 0
        assert capsys.readouterr().out == load_translator(folder).translate(text, 2) + "\n"


def test_a_thousand_lines_in_order(folder, monkeypatch, capsys):
    lines = [f"{n}{PAIRS[n % len(PAIRS)][0][: n % 5 + 2]}" for n in range(990)]
    lines[5], lines[700], lines[800] = "", "OK", "  "
    lines += ["一行\u2028里", "有\r回车", "\x0b我", "\ufeff你", "我来了。你好。", *"我你他们我"]
    stdin = "\n".join(lines).encode() + b"\n"
    monkeypatch.setattr(translate.Translator, "translate_batch", lambda self, s, *_: [f"<{x}>" for x in s])
    assert run(["-"], folder, monkeypatch, stdin) == 0
    printed = capsys.readouterr().out.split("\n")
    assert len(lines) == 1000 and len(printed) == 1001 and printed[-1] == ""
    assert printed[:990] == [f"<{x}>" if x.strip() and x != "OK" else x.strip() for x in lines[:990]]
    assert printed[990:996] == ["<一行 里>", "<有 回车>", "<我>", "<你>", "<我来了。> <你好。>", "<我>"]


def test_lines_that_are_no_utf8_or_lack_an_end(folder, monkeypatch, capsys):
    assert run(["-"], folder, monkeypatch, "我\r\n".encode() + b"\xff\xfe\n" + "你".encode()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert run(["-"], folder, monkeypatch, b"") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["我", "--beam-size", "0"], "beam_size is 0"),
        (["我", "--device", "gpu"], "no device called 'gpu'"),
        (["我", "--checkpoint", "nowhere"], "There is no checkpoint in nowhere"),
        (["我", "--checkpoint", "broken"], "truncated or damaged"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_status_1(folder, tmp_path, capsys, arguments, message):
    broken = shutil.copytree(folder, tmp_path / "broken")
    os.truncate(broken / "model.safetensors", 1000)
    arguments = [str(broken) if argument == "broken" else argument for argument in arguments]
    assert main(["--checkpoint", str(folder), *arguments]) == 1
    streams = capsys.readouterr()
    assert message in streams.err and streams.err.count("\n") == 1 and streams.out == ""


def test_the_command_as_a_process(folder):
    """As people call it, whatever the terminal speaks."""
    env = os.environ | {"PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "utils.translate", "--checkpoint", str(folder)]
    found = subprocess.run([*command, "-"], input="我喜欢学习。\n😀\n".encode(), capture_output=True, env=env, cwd=ROOT)
    assert found.returncode == 0 and found.stderr == b""
    assert found.stdout.decode() == load_translator(folder).translate("我喜欢学习。") + "\n😀\n"


def test_a_model_that_learned_to_read_latin_is_asked(translator):
    """Trained on pairs whose source is not Chinese, it translates them; ours passes such sentences on."""
    tokenizer = Tokenizer.train(["Anna kauft Brot."] * 2, ["Anna buys bread."] * 2, tgt_vocab=40)
    asked = translate.Translator(translator.model, tokenizer, torch.device("cpu"))
    asked.translate_batch = lambda sentences, beam_size, length_penalty: [f"<{sentence}>" for sentence in sentences]
    assert asked.translate(["Anna kauft Brot.", "", "Brot"]) == ["<Anna kauft Brot.>", "", "<Brot>"]
    assert translator.translate("Anna kauft Brot.") == "Anna kauft Brot."
