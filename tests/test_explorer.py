"""The explorer's JavaScript against Python: the same text, the same ids, the same attention. Needs node."""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from helpers import real
from helpers.tiny import PAIRS, tiny_checkpoint, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import wording
from utils import text
from utils.config import CHECKPOINT, ROOT
from utils.export import ExportError, browser
from utils.repeats import loops
from utils.tokenizer import BOS, EOS, Tokenizer
from utils.translate import Translator, load_translator

needs_node = pytest.mark.skipif(not browser.NODE, reason="The explorer is tested in node, which is not here.")


class Node:
    """The explorer's model and text in node: ask([what, request], ...) -> answers."""

    def __init__(self, folder: Path, translator, kind: str):
        browser.write(translator.model, translator.tokenizer, folder, kind=kind)
        self.folder = folder

    def ask(self, *requests) -> list:
        return browser.answers(self.folder, list(requests))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped translator, and the same in node."""
    translator = load_translator(device="cpu")
    return translator, Node(tmp_path_factory.mktemp("shipped"), translator, "float16")


def greedy_and_beam(translator, node, sentences: list[str]) -> tuple[list, list]:
    """The ids that Python and JavaScript find for clean sentences: of all greedy, then of all with beam 4."""
    src = translator.tokenizer.encode_src(sentences)
    want = [found for size in (1, 4) for found in translator.generate(src, size)]
    return want, node.ask(*(["search", {"src": ids, "size": size}] for size in (1, 4) for ids in src))


# ------------------------------------------------------------------------------------------------- text

AWKWARD = [
    "我喜歡學習。",
    "　他　說：「好！」\u3000然後走了。\x1c下一行\x85再一行\u2028末行",
    "请看https://example.com/a?b=c，谢谢。<b>粗</b>体 a.b@c.de。",
    "乾隆皇帝的後裔，頭髮乾了；著名的名著，看著。",
    "圆周率是3.14，U.S.A.很大。3. 第三。" + "很长的句子，" * 30 + "没有逗号" * 40,
    "A\u200bB\ufeff𠮷野家\U00020000 ﬁ ① ㎏ \ud800",
    "Hello world. No Chinese here.\n\n第二行",
    "Mr. Smith说：“来吧!”，他说。",
    "𠮷" * 59 + "，" + "中文" * 28 + "ABCDEFG" + "中文" * 9 + "。",
    "‘So’, “Dr. Ünal sagte: „Am 3. Oktober um 10:30…“ Ende.” nd̃ नीर।",
    "a​́ " + "long words and blanks " * 9 + "x" * 200,
    "",
]
PHRASES = [word for words in text._opencc()._dict_chain_data[0] for word in words[2]]  # and characters
LETTERS = "我喜歡學習後髮乾著的一二三。！？；…,、：:~〜.!?()「」『』“”\"'》】𠮷¼²Ⅷ"
LETTERS += " \t\n\r\x0b\x85\u2028\u3000abcXYZ19_-@/<>=&#%"
parts = st.one_of(st.sampled_from(LETTERS), st.characters(max_codepoint=0xFFFF), st.sampled_from(PHRASES))
texts = st.lists(parts, max_size=150).map("".join)


def lively(folder: Path, seed: int):
    """A random model that says this and that and sometimes comes to an end, and the same in node.

    Three layers encode, one decodes. Its numbers are such as float16 holds.
    """
    translator = load_translator(tiny_checkpoint(folder, decoder_layers=1, n_layers=3, seed=seed), "cpu")
    model = translator.model
    with torch.no_grad():
        for name, w in model.named_parameters():
            w *= 3 if name == "tgt_embedding.weight" else 1 if "norm" in name or "embedding" in name else 4
        end = model.tgt_embedding.weight[EOS]
        model.decoder_norm.bias += 10 * end / (end @ end)
        model.tgt_embedding.weight[BOS] = 1.5 * end  # more probable still, and never said
        for w in model.parameters():
            w.copy_(w.half())
    return translator, Node(folder, translator, "float16")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return lively(tmp_path_factory.mktemp("tiny"), 0)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A translator from another language than Chinese, into Chinese, and the same in node."""
    folder = tmp_path_factory.mktemp("foreign")
    awkward = [text.clean_english(text.whole_characters(case)) for case in AWKWARD]
    tokenizer = Tokenizer.train([en for _, en in PAIRS] + awkward, [zh for zh, _ in PAIRS], 70, source="any")
    sizes = {"src_vocab": tokenizer.src_vocab, "tgt_vocab": tokenizer.tgt_vocab}
    translator = Translator(tiny_model(**sizes).float(), tokenizer, torch.device("cpu"))
    return translator, Node(folder, translator, "float16")


@pytest.mark.slow
@needs_node
@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.lists(texts, min_size=100, max_size=100))
def test_text_is_cleaned_and_cut_as_in_python(tiny, foreign, drawn):
    for translator, node in (tiny, foreign):
        cases = AWKWARD + drawn
        want = [[translator.pieces(line) for line in case.split("\n")] for case in cases]
        assert node.ask(*(["pieces", case] for case in cases)) == want


@pytest.mark.slow
@needs_node
def test_ids_and_text_are_those_of_the_tokenizer(tiny, foreign, shipped):
    for translator, node in (tiny, foreign, shipped):
        tokenizer = translator.tokenizer
        clean = [piece for case in AWKWARD + [zh for zh, _ in PAIRS] for piece in translator.pieces(case)]
        assert node.ask(*(["encode", piece] for piece in clean)) == tokenizer.encode_src(clean)
        english = tokenizer.encode_tgt([en for _, en in PAIRS] + ["It's 3:45, isn't it?"])
        english = [[BOS, *ids, EOS] for ids in english]
        assert node.ask(*(["decode", ids] for ids in english)) == [tokenizer.decode(ids) for ids in english]


# ------------------------------------------------------------------------------------------------ model


@pytest.mark.slow
@needs_node
def test_float_weights_find_the_same_ids(shipped):
    want, found = greedy_and_beam(*shipped, [item.zh for item in real.load().dev[:3]])
    assert found == want


@pytest.mark.slow
@needs_node
def test_search_is_that_of_python(tmp_path):
    settings, ended, distinct = (
        [(1, 1.0, 0), (2, 0.0, 0), (4, 1.0, 0), (5, 2.0, 0), (4, 1.0, 2), (1, 1.0, 3)],
        [],
        set(),
    )
    for seed in range(4):
        translator, node = lively(tmp_path, seed)
        src = translator.tokenizer.encode_src([zh for zh, _ in PAIRS[::6]])
        want = [found for one in settings for found in translator.generate(src, *one)]
        names = ("size", "penalty", "noRepeat")
        requests = [{"src": ids, **dict(zip(names, one, strict=True))} for one in settings for ids in src]
        assert node.ask(*(["search", request] for request in requests)) == want
        ended += [len(ids) < 2 * len(request["src"]) + 10 for ids, request in zip(want, requests, strict=True)]
        distinct |= {tuple(found) for found in want}
    assert len(distinct) > 20 and 0.1 < sum(ended) / len(ended) < 0.9, (len(distinct), ended)  # or little was tested


@needs_node
def test_what_loops_does_so_in_both(tiny):
    draw = random.Random(0)
    words, source = ["the end", "of", "very,", "It's", "哈", "und Öl", "hahahaha", "1.5", "𠮷_"], "我喜喜欢𠮷，。 _½Ⅷá"
    cases = [
        ("".join(draw.choices(source, k=draw.randrange(9))), " ".join(draw.choices(words, k=draw.randrange(7))))
        for _ in range(1000)
    ]
    want = [loops(*case) for case in cases]
    assert tiny[1].ask(*(["loops", list(case)] for case in cases)) == want and 100 < sum(want) < 900, sum(want)


def attention_in_python(model, src: list[int], ids: list[int]) -> dict[str, list]:
    """The weights of all heads for ids that are already known: encoder, self (rows 0..t of step t) and cross."""
    found = {"encoder": [], "self": [], "cross": []}

    def keep(kind, causal):
        def look(module, arguments):
            x, memory, *_ = *arguments, None
            mask = torch.ones(x.shape[1], x.shape[1]).tril().bool() if causal else None
            found[kind].append(module.weights(x, x if memory is None else memory, mask)[0])

        return look

    hooks = [layer.self_attention.register_forward_pre_hook(keep("encoder", False)) for layer in model.encoder]
    for layer in model.decoder:
        hooks.append(layer.self_attention.register_forward_pre_hook(keep("self", True)))
        hooks.append(layer.cross_attention.register_forward_pre_hook(keep("cross", False)))
    with torch.inference_mode():
        found["logits"] = model(torch.tensor([src]), torch.tensor([[BOS, *ids]]))[0]
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.slow
@needs_node
def test_attention_and_logits_are_those_of_python(tiny, shipped):
    for (translator, node), sentence in ((tiny, PAIRS[0][0]), (shipped, "他昨天买了一本书。")):
        (src,) = translator.tokenizer.encode_src([sentence])
        (ids,) = translator.generate([src], 1)
        want, (found,) = (
            attention_in_python(translator.model, src, ids),
            node.ask(["look", {"src": src, "prefix": ids}]),
        )
        assert [len(found[kind]) for kind in ("self", "cross", "logits")] == 3 * [len(found["self"])]

        def same(numbers, want, tolerance=1e-5):
            torch.testing.assert_close(torch.tensor(numbers, dtype=torch.float32), want, atol=tolerance, rtol=0)

        for layer, queries in enumerate(found["encoder"]):
            for i, weights in enumerate(queries):  # (heads, keys)
                same(weights, want["encoder"][layer][:, i])
        for t in range(len(found["self"])):
            for layer in range(len(translator.model.decoder)):
                same(found["self"][t][layer], want["self"][layer][:, t, : t + 1])
                same(found["cross"][t][layer], want["cross"][layer][:, t])
            same(found["logits"][t], want["logits"][t], 1e-4)


@pytest.mark.slow
@needs_node
def test_a_head_that_is_off_gives_zeros(tiny):
    translator, node = tiny
    src = translator.tokenizer.encode_src([zh for zh, _ in PAIRS[::5]])
    heads, changed = translator.model.config.n_heads, 0
    before = [translator.generate([ids])[0] for ids in src]
    for kind, layer in (("encoder", 1), ("self", 0), ("cross", 0)):
        stack = translator.model.encoder if kind == "encoder" else translator.model.decoder
        attention = stack[layer].cross_attention if kind == "cross" else stack[layer].self_attention
        kept = attention.out_proj.weight.clone()
        with torch.no_grad():
            attention.out_proj.weight.unflatten(1, (heads, -1))[:, 1] = 0
        want = [translator.generate([ids])[0] for ids in src]
        with torch.no_grad():
            attention.out_proj.weight.copy_(kept)
        changed += want != before
        assert node.ask(*(["search", {"src": ids, "off": [f"{kind}.{layer}.1"]}] for ids in src)) == want
    assert changed  # or nothing was tested


@needs_node
def test_a_translation_goes_on_from_a_given_beginning(tiny):
    translator, node = tiny
    (src,) = translator.tokenizer.encode_src([PAIRS[0][0]])
    prefix = [7, 9, 11]
    (found,) = node.ask(["search", {"src": src, "size": 1, "prefix": prefix}])
    want = list(prefix)
    while len(want) < 2 * len(src) + 10:
        logits = translator.model(torch.tensor([src]), torch.tensor([[BOS, *want]]))[0, -1].detach()
        logits[:EOS] = -torch.inf  # <pad> and <bos>
        if (token := logits.argmax().item()) == EOS:
            break
        want.append(token)
    assert found == want


@needs_node
@pytest.mark.slow
def test_two_hundred_sentences_have_the_same_ids(shipped):
    want, found = greedy_and_beam(*shipped, [item.zh for item in real.load().dev[:200]])
    assert found == want


def with_eight_bits(translator):
    """The translator in Python, with the weights that its page has."""
    for w in translator.model.parameters():
        if w.ndim == 2:
            scale, q = browser.eight_bit(w.data)
            w.data = scale[:, None] * q
    return translator


@pytest.mark.slow
@needs_node
def test_eight_bit_weights_find_the_same_ids(tmp_path):
    node = Node(tmp_path, load_translator(tiny_checkpoint(tmp_path), "cpu"), "int8")
    want, found = greedy_and_beam(with_eight_bits(load_translator(tmp_path, "cpu")), node, [zh for zh, _ in PAIRS[::3]])
    assert found == want


@pytest.mark.slow
def test_eight_bits_cost_no_quality():
    """On the test sentences: BLEU within 0.3 of float weights, beam 4."""
    import sacrebleu

    test = real.load().test
    found = with_eight_bits(load_translator(device="cpu")).translate([item.zh for item in test])
    bleu = sacrebleu.corpus_bleu(found, [[item.references[0] for item in test]]).score
    saved = json.loads((CHECKPOINT / "evaluation.json").read_text(encoding="utf-8"))
    print(f"BLEU {bleu:.2f} with 8 bits, {saved['bleu']} with float weights")
    assert abs(bleu - saved["bleu"]) <= 0.3


# ------------------------------------------------------------------------------------------- the packer


def test_eight_bit_weights_are_near(seed):
    w = torch.randn(5, 7) * torch.tensor([[1e-3], [1.0], [100.0], [1.0], [0.0]])
    scale, q = browser.eight_bit(w)
    assert q.dtype == torch.int8 and (scale[:, None] * q - w).abs().le(0.5001 * scale[:, None]).all()


def test_eight_bit_weights_are_read_back_as_they_were_written(tmp_path):
    translator = load_translator(tiny_checkpoint(tmp_path), "cpu")
    browser.write(translator.model, translator.tokenizer, tmp_path)
    found, want = browser.unpacked(tmp_path), with_eight_bits(translator).model.state_dict()
    assert found.keys() == want.keys() and all(torch.equal(found[name], want[name]) for name in want)


@needs_node
def test_a_broken_file_is_told_in_one_sentence(tiny, tmp_path):
    _, node = tiny
    whole = (node.folder / "part-00.js").read_text()
    tables = (node.folder / "model.js").read_text(encoding="utf-8")
    at = len(whole) // 2
    other = "A" if whole[at] != "A" else "B"
    for name, content in (
        ("part-00.js", None),
        ("part-00.js", ""),
        ("part-00.js", whole[:at]),  # the disk was full
        ("part-00.js", f"{whole[: at - at % 4]}');\n"),
        ("part-00.js", whole[:at] + other + whole[at + 1 :]),
        ("part-00.js", whole[:at] + "?" + whole[at + 1 :]),
        ("model.js", None),
        ("model.js", tables[:-100]),
    ):
        folder = tmp_path / "page"
        shutil.copytree(node.folder, folder, dirs_exist_ok=True)
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_text(content, encoding="utf-8")
        with pytest.raises(ExportError, match=rf"stops: {name} is missing( or broken|, broken or of another model)$"):
            browser.answers(folder, [["pieces", "好"]])


def test_the_page_is_one_file_without_outside_hosts():
    page = browser.page(lessons="lessons/{}.html")
    assert not re.search(r"^import |^export |\"lesson:", page, re.M)
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert re.findall(r'src="([^"]*)"|url\(', page) == []
    assert page.count('<a href="lessons/') >= 7 and 'data-lessons="lessons/{}.html"' in page


def test_a_page_without_lessons_links_to_none():
    page = browser.page()
    assert "several heads (04)" in page and 'data-lessons=""' in page and "<a href" not in page


def test_a_page_for_another_language_does_not_ask_for_chinese():
    markup = browser.page("any").split("<main>")[1].split("<script")[0]
    assert "Chinese" not in markup and 'lang="zh"' not in markup and not re.search("[\u4e00-\u9fff]", markup)
    assert re.search(r"<textarea[^>]*></textarea>", markup) and 'data-examples=""' in markup


@needs_node
def test_the_script_of_the_page_is_one_that_a_browser_reads(tmp_path):
    (tmp_path / "page.mjs").write_text(browser.bundle("app.js"), encoding="utf-8")
    subprocess.run([browser.NODE, "--check", tmp_path / "page.mjs"], check=True)  # no name stands twice


def test_lessons_that_the_page_links_to_have_these_sections():
    sources = "".join(path.read_text(encoding="utf-8") for path in browser.SOURCES.iterdir())
    links = re.findall(r"\b(\d\db?_\w+)#([\w-]+)", sources)
    assert len(links) >= 9
    for lesson, section in links:
        lines = (ROOT / "notebooks" / "text" / f"{lesson}.md").read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", lines, re.M)
        # As docutils makes ids of titles.
        ids = [re.sub(r"^[-0-9]+|-+$", "", re.sub(r"[^a-z0-9]+", "-", heading.lower())) for heading in headings]
        assert section in ids, f"{lesson} has no section {section}"


# ---- the page in Chinese ----


def spoken() -> list[str]:
    """The texts that the page's program says, each with its places."""
    sources = [path.read_text(encoding="utf-8") for path in browser.SOURCES.glob("*.js")]
    text = r'"(?:[^"\\]|\\.)*"'
    calls = [call for code in sources for call in re.findall(rf"\bsay\(({text}(?:\s*\+\s*{text})*)", code)]
    return ["".join(map(json.loads, re.findall(text, call))) for call in calls]


def test_every_word_of_the_page_has_its_translation_and_every_translation_its_word():
    words = json.loads((browser.SOURCES / "words.zh.json").read_text(encoding="utf-8"))
    said, html = spoken(), " ".join((browser.SOURCES / "index.html").read_text(encoding="utf-8").split())
    assert len(said) > 50 and not set(said) - set(words)
    assert not [text for text in words if text not in said and text not in html]
    for english, chinese in words.items():
        places = [sorted(re.findall(r"\{\w+\}|<[^>]+>", text)) for text in (english, chinese)]
        assert places[0] == places[1], english
        assert (
            list(wording.slips(re.sub(r"\{\w+\}", "词", re.sub(r"(?<= )\{\w+\}|\{\w+\}(?= )", "5", chinese)))) == []
        ), chinese


def test_the_chinese_page_has_no_english_left():
    page = browser.page(
        lessons="lessons/{}.html", tongue="zh", anchors={"02_self_attention#why-divide-by-d": "02_x#为"}
    )
    markup = page.split("<script")[0]
    assert '<html lang="zh">' in page and 'href="lessons/02_x.html#为"' in page and "globalThis.WORDS =" in page
    markup = re.sub(r"<style>.*?</style>", "", markup, flags=re.S)
    texts = re.findall(r'>([^<]+)|(?:aria-label|data-nothing)="([^"]*)"', markup)
    left = re.findall("[A-Za-z]{3,}", " ".join("".join(text) for text in texts))
    assert set(left) <= {"Transformer", "softmax", "JavaScript", "Beam"}
    assert "<script>globalThis.WORDS =" not in browser.page() and browser.page(tongue="xx") == browser.page()
