"""The front door: text of any kind comes back, in order, with nothing dropped; harm gets one sentence."""

import inspect
import io
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import real
from helpers.tiny import PAIRS, SRC, TGT, few, tiny_checkpoint, tiny_model, tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from utils import load_translator, translate
from utils.batching import make_batch
from utils.checkpoint import build, save_model
from utils.config import ROOT, ModelConfig
from utils.loss import batch_loss
from utils.text import HAN, clean, clean_source, guess_source
from utils.tokenizer import Tokenizer
from utils.translate import main

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
LONG = "".join(zh for zh, _ in PAIRS)
LONG = (LONG * (2000 // len(LONG) + 1))[:2000]
READER = translate.Translator(torch.nn.Identity(), tiny_tokenizer(), torch.device("cpu"))  # cuts, translates nothing
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

    def say(sentences, *settings):
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
def test_random_text_is_cut_and_nothing_dropped(text):
    """Whatever the characters: cleaned where there is Chinese, as it is where there is none."""
    text = text.replace("\n", " ")
    asked = "".join("".join(translate.Translator.pieces(READER, text)).split())
    whole = text.encode(errors="replace").decode()
    assert asked == "".join(
        "".join((clean(part) if HAN.search(clean(part)) else part).split()) for part in whole.splitlines()
    )


def test_nothing_to_translate_stays_as_it_is(echo):
    for text in ("Hello, world!Bye", "x" * 300, "https://example.org/" + "a/" * 99, "👨‍👩‍👧", "3.14", "naïve café"):
        assert echo.translate(text) == text
    assert (echo.translate(""), echo.translate(" \u3000 "), echo.translate([])) == ("", "", [])
    assert echo.batches == []


def test_two_thousand_characters_and_none_dropped(echo):
    english = echo.translate(LONG)
    assert english.replace("> <", "").strip("<>") == clean(LONG) and len(LONG) == 2000
    assert english.count("<") == LONG.count("。") + (not LONG.endswith("。"))


@pytest.mark.parametrize("mark", ["。", "．", "...", "…", "！", "~", "；", "\r", "\u2028", "\r\n"])
def test_each_of_four_hundred_sentences_is_translated(echo, mark):
    sentences = ["我饿了", "他在家", "你喜欢音乐", "我喜欢学习"]
    english = echo.translate((mark.join(sentences) + mark) * 100).split()
    assert [word.strip("<>.。!~;") for word in english] == sentences * 100
    assert sum(map(len, echo.batches)) == 4, "and each distinct one once"


def test_sentences_between_plain_points_are_translated(echo):
    assert echo.translate("我饿了.他在家.") == "<我饿了.> <他在家.>"


def test_what_is_no_text_stays_as_it_is(echo):
    assert echo.translate("看https://a.bc/d?e=1了解。") == "<看> https://a.bc/d?e=1 <了解。>"
    assert echo.translate('<p title="中文">我来了。</p>') == '<p title="中文"> <我来了。> </p>'


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


WRONG_SEARCHES = [
    *(("beam_size", wrong) for wrong in (0, -1, 101, 2.0, "4", True, None, torch.tensor(4))),
    *(("length_penalty", wrong) for wrong in (math.nan, math.inf, -5, -0.1, 11, "1", None, True, 1j)),
    *(("no_repeat", wrong) for wrong in (-1, 101, 2.0, "2", True, None)),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_SEARCHES)
def test_searches_that_cannot_be_are_refused_at_every_entrance(translator, name, wrong):
    """unwrap: the tests check every signature (conftest.py), and that check would speak first."""
    kind, message = translate.Translator, f"^{name} is .*; it must be a (whole )?number from [01] "
    for entrance, argument in (
        (kind.translate, "我"),
        (kind.translate, ["OK"]),  # even where there is nothing to translate
        (kind.translate, []),
        (kind.translate_batch, ["我"]),
        (kind.generate, [[4, 2]]),
        (kind.attend, "我"),
    ):
        if entrance is kind.attend and name != "beam_size":
            continue  # has no others
        with pytest.raises(ValueError, match=message):
            inspect.unwrap(entrance)(translator, argument, **{name: wrong})


def test_numbers_of_numpy_are_numbers(translator):
    say = inspect.unwrap(translate.Translator.translate)
    assert say(translator, "我喜欢", np.int64(2), np.float32(0.5)) == translator.translate("我喜欢", 2, 0.5)
    found = inspect.unwrap(translate.Translator.attend)(translator, "我喜欢", np.int32(2))
    assert found.tgt_tokens == translator.attend("我喜欢", 2).tgt_tokens


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
    assert printed[990:996] == ["<一行> <里>", "<有> <回车>", "<我>", "<你>", "<我来了。> <你好。>", "<我>"]


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


def test_a_language_model_is_no_translator(tmp_path, capsys):
    """It has learned from texts of one language alone; asked to translate, it would write something of its own."""
    tokenizer = Tokenizer.train([], [en for _, en in PAIRS], tgt_vocab=70, source="any")
    model = tiny_model("decoder-only", src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    save_model(tmp_path, model.state_dict(), model.config, tokenizer)
    assert main(["hello there", "--checkpoint", str(tmp_path), "--device", "cpu"]) == 1
    streams = capsys.readouterr()
    assert "is a language model" in streams.err and streams.err.count("\n") == 1 and streams.out == ""


@pytest.mark.parametrize("text", ["-5度", "-我", "--你好", "-", "—我", "-5"])
def test_text_that_begins_with_a_dash_is_text(folder, monkeypatch, capsys, text):
    monkeypatch.setattr(translate.Translator, "translate_batch", lambda self, s, *_: [f"<{x}>" for x in s])
    for arguments in ([text], ["--", text]) if text != "-" else (["-"], ["--", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("-5度\n".encode())))
        assert main(["--checkpoint", str(folder), "--device", "cpu", *arguments]) == 0
        assert capsys.readouterr().out == {"-": "<-5度>", "-5": "-5"}.get(text, f"<{text}>") + "\n"
    assert main([text, "--checkpoint", str(folder), "--beam-size", "2"]) == 0


@pytest.mark.parametrize("arguments", [["我", "--beamsize", "2"], ["-x", "我"], ["我", "你"], []])
def test_unknown_options_are_refused(folder, monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        run(arguments, folder, monkeypatch)
    assert ended.value.code == 2 and "error:" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk"])
@pytest.mark.parametrize("argument", ["-", "😀"])
def test_output_is_utf8_whatever_the_terminal_or_the_redirect_speaks(folder, monkeypatch, encoding, argument):
    """😀 fits in none of these encodings; the sentence about a device in the first three not."""
    printed, told = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding, write_through=True))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(told, encoding, write_through=True))
    assert run([argument], folder, monkeypatch, "😀\n".encode()) == 0
    assert main([argument, "--device", "茶"]) == 1
    assert printed.getvalue().decode() == "😀\n" and "no device called '茶'" in told.getvalue().decode()


@pytest.mark.slow
def test_the_command_as_a_process(folder):
    """As people call it."""
    env = os.environ | {"PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "utils.translate", "--checkpoint", str(folder)]
    found = subprocess.run([*command, "-"], input="我喜欢学习。\n😀\n".encode(), capture_output=True, env=env, cwd=ROOT)
    assert found.returncode == 0 and found.stderr == b""
    assert found.stdout.decode() == load_translator(folder).translate("我喜欢学习。") + "\n😀\n"


@pytest.mark.slow
def test_a_forked_process_translates(folder):
    """It has none of its parent's threads, and must not wait for them."""
    code = """
import os, sys, torch
from utils import load_translator
translator = load_translator(sys.argv[1], "cpu")
torch.set_num_threads(2)
large = torch.ones(500, 500)
large @ large  # now there are two threads
said = translator.translate("我喜欢学习。")
if os.fork() == 0:
    large @ large
    os._exit(translator.translate("我喜欢学习。") != said)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    env = os.environ | {"OMP_NUM_THREADS": "2"}
    found = subprocess.run([sys.executable, "-c", code, str(folder)], timeout=60, cwd=ROOT, env=env)
    assert found.returncode == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_whatever_the_default_type_the_model_is_float32(folder, dtype):
    say = load_translator(folder, "cpu")
    expected = say.translate(["我喜欢学习。", "你"]), say.attend("我喜欢学习。")
    torch.set_default_dtype(dtype)
    try:
        there = load_translator(folder, "cpu")
        assert {t.dtype for t in (*there.model.parameters(), *there.model.buffers())} == {torch.float32}
        for other in (there, say):
            assert other.translate(["我喜欢学习。", "你"]) == expected[0]
            found = other.attend("我喜欢学习。")
            assert found.tgt_tokens == expected[1].tgt_tokens and torch.equal(found.weights, expected[1].weights)
    finally:
        torch.set_default_dtype(torch.float32)


# --------------------------------------------------------------------------------------- sources that are not Chinese


@pytest.fixture
def reader(translator):
    """A translator of German or Japanese, whose model says what it was asked."""

    def make(sentences: list[str]) -> translate.Translator:
        source = guess_source(sentences)
        tokenizer = Tokenizer.train([clean_source(s, source) for s in sentences], ["a"], tgt_vocab=40, source=source)
        made = translate.Translator(translator.model, tokenizer, torch.device("cpu"))
        made.translate_batch = lambda sentences, *settings: [f"<{sentence}>" for sentence in sentences]
        return made

    return make


GERMAN = ["Anna kauft Brot.", "Ben trinkt Tee."] * 100


@pytest.mark.parametrize("extra", [[], ["Anna trinkt 茶.", "Ben trinkt 茶."]])
def test_two_chinese_characters_in_a_german_corpus_change_nothing(reader, extra):
    german = reader(GERMAN + extra)
    assert german.translate(["Anna kauft Brot.", "", "Ben"]) == ["<Anna kauft Brot.>", "", "<Ben>"]


def test_other_sources_are_cleaned_and_cut_as_well(reader):
    german = reader(GERMAN)
    assert german.translate("„Ａnna“\u200b  kauft.\nBrot!") == '<„Anna" kauft.>\n<Brot!>'
    assert (
        german.translate("Anna kauft am 3. Mai Brot. Ben trinkt Tee!")
        == "<Anna kauft am 3. Mai Brot.> <Ben trinkt Tee!>"
    )
    said = german.translate(line := "Anna kauft Brot und Ben trinkt Tee " * 20)
    assert said.replace("> <", " ").strip("<>") == line.strip() and len(said.split("> <")) == 5
    assert german.attend("„Ａnna“").src_tokens[:-1] == ["<unk>", *"Anna", "<unk>"]


def test_japanese_without_chinese_characters_is_translated(reader):
    japanese = reader(["私は本を読む。", "これは学校です。"] * 10)
    assert japanese.translate("これはペンです。はい。") == "<これはペンです。> <はい。>"
    assert japanese.translate("機械") == "<機械>", "not made Chinese"


def test_a_model_of_chinese_passes_others_on(translator):
    assert translator.translate("Anna kauft Brot.") == "Anna kauft Brot."


@pytest.mark.slow
def test_german_is_learned_with_its_spaces_beside_two_chinese_characters():
    """The whole way: what the source is, cleaning, vocabulary, a few hundred steps, and the German sentences back."""
    who = {"Anna": "Anna", "Ben": "Ben", "Die Frau": "The woman", "Mein Hund": "My dog"}
    does = {"kauft": "buys", "sieht": "sees", "mag": "likes"}
    what = {"Brot": "bread", "den Tee": "the tea", "das alte Haus": "the old house", "茶": "cha"}
    pairs = [(f"{a} {b} {c}.", f"{who[a]} {does[b]} {what[c]}.") for a in who for b in does for c in what if c != "茶"]
    pairs += [(f"{a} mag 茶.", f"{who[a]} likes cha.") for a in ("Anna", "Ben")]
    pairs += [("Wir wollen zusammen schreiben.", "We want to write together.")]
    pairs += [("Wir wollen es zusammenschreiben.", "We want to write it as one word.")]
    pairs += [("Sie sehen wieder.", "They can see again."), ("Sie sehenwieder.", "They misspell.")]
    source = guess_source(de for de, _ in pairs)
    src, tgt = [clean_source(de, source) for de, _ in pairs], [en for _, en in pairs]
    tokenizer = Tokenizer.train(src, tgt, tgt_vocab=80, source=source)
    torch.manual_seed(0)
    sizes = {"d_model": 32, "n_heads": 2, "n_layers": 1, "d_ff": 64, "dropout": 0.0}
    model = build(ModelConfig(tokenizer.src_vocab, tokenizer.tgt_vocab, **sizes))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    batch = make_batch(tokenizer.encode_src(src), tokenizer.encode_tgt(tgt))
    for _ in range(200):
        optimizer.zero_grad()
        (batch_loss(model, batch, eps=0.0)[0] / batch.n_targets).backward()
        optimizer.step()
    assert translate.Translator(model, tokenizer, torch.device("cpu")).translate(src, beam_size=1) == tgt


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_bfloat16_computes_the_same_but_for_rounding(kind, tmp_path):
    folder = tiny_checkpoint(tmp_path, kind)
    plain, half = load_translator(folder, "cpu"), load_translator(folder, "cpu", "bfloat16")
    assert (plain.precision, half.precision) == ("float32", "bfloat16")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    batch = make_batch(SRC, TGT)
    with torch.inference_mode():
        exact, rounded = (one.model(batch.src, batch.tgt_in) for one in (plain, half))
    assert rounded.dtype == torch.bfloat16
    assert 0 < (rounded.float() - exact).norm() / exact.norm() < 0.03  # 8 bits of a number: 1 part in 256
    for beam_size in (1, 3):
        english = half.translate(["我喜欢学习。", "", "你\n我"], beam_size)
        assert english[1] == "" and english[2].count("\n") == 1
    weights = half.attend("我喜欢学习。").weights
    assert weights.dtype == torch.float32
    assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), rtol=0, atol=0.02)


@pytest.mark.parametrize("fast", [True, False])
def test_auto_takes_what_is_faster_here(folder, monkeypatch, fast):
    monkeypatch.setattr(translate, "has_fast_bfloat16", lambda device: fast)
    assert load_translator(folder, "cpu", "auto").precision == ("bfloat16" if fast else "float32")


def test_precisions_that_there_are_not_are_refused(folder, capsys):
    with pytest.raises(ValueError, match="precision is 'half'; it must be one of float32, bfloat16, auto."):
        load_translator(folder, "cpu", "half")
    with pytest.raises(SystemExit):
        main(["我", "--precision", "half"])
    assert "--precision" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_translator_says_nearly_the_same_in_bfloat16():
    """Of 64 dev sentences; all 1,000 of test have the same BLEU within some hundredths (benchmarks.decoding)."""
    sentences = [item.zh for item in real.load().dev[::16]]
    plain, half = (load_translator(device="cpu", precision=p).translate(sentences) for p in ("float32", "bfloat16"))
    assert sum(a == b for a, b in zip(plain, half, strict=True)) > 0.8 * len(sentences)


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_another_layout_of_the_weights_changes_no_number(kind):
    plain, laid_out = tiny_model(kind), translate.laid_out_for_few_rows(tiny_model(kind))
    assert_close(laid_out.state_dict(), plain.state_dict(), rtol=0, atol=0)
    for name, module in laid_out.named_modules():
        if isinstance(module, torch.nn.Linear):
            assert module.weight.t().is_contiguous(), name
    batch = make_batch(SRC, TGT)
    with torch.no_grad():
        assert_close(laid_out(batch.src, batch.tgt_in), plain(batch.src, batch.tgt_in))
    assert_close(laid_out.load_state_dict(plain.state_dict()).missing_keys, [])
