"""The explorer's JavaScript against Python: the same text, the same ids, the same attention. Needs node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from helpers import real
from helpers.tiny import PAIRS, tiny_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import pack_explorer
from utils.tokenizer import BOS, EOS
from utils.translate import load_translator

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="The explorer is tested in node, which is not on this machine.")


class Node:
    """The explorer's model and text in node: ask([what, request], ...) -> answers."""

    def __init__(self, folder: Path, translator, kind: str):
        head, weights = pack_explorer.pack(translator, kind)
        self.files = [folder / name for name in ("run.mjs", "head.json", "weights.bin", "requests.json")]
        code, head_file, weights_file, self.requests = self.files
        modules, done = "", set()
        for name in ("load.js", "search.js"):
            modules += pack_explorer.bundle(name, done)
        code.write_text(modules + (Path(__file__).parent / "helpers" / "explorer.mjs").read_text(), encoding="utf-8")
        head_file.write_text(json.dumps(head), encoding="utf-8")
        weights_file.write_bytes(weights)

    def ask(self, *requests) -> list:
        self.requests.write_text(json.dumps(requests), encoding="utf-8")
        done = subprocess.run([NODE, *self.files], capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped translator, and the same in node."""
    translator = load_translator(device="cpu")
    return translator, Node(tmp_path_factory.mktemp("shipped"), translator, "float16")


def greedy_and_beam(translator, node, sentences: list[str]) -> tuple[list, list]:
    """The ids that Python and JavaScript find for clean sentences, greedy and with beam 4, one after the other."""
    src = translator.tokenizer.encode_src(sentences)
    want = [translator.generate([ids], size)[0] for ids in src for size in (1, 4)]
    return want, node.ask(*(["search", {"src": ids, "size": size}] for ids in src for size in (1, 4)))


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
    "",
]
LETTERS = "我喜歡學習後髮乾著的一二三。！？；…,、：:~〜.!?()「」『』“”\"'》】 \t\n\r\x0b\x85\u2028\u3000abcXYZ19_-@/<>=&#%𠮷¼²Ⅷ"
texts = st.text(st.one_of(st.sampled_from(LETTERS), st.characters(max_codepoint=0xFFFF)), max_size=150)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of random weights, with fewer decoder than encoder layers, and the same in node."""
    folder = tmp_path_factory.mktemp("tiny")
    translator = load_translator(tiny_checkpoint(folder, decoder_layers=1, n_layers=3), "cpu")
    translator.model.half().float()  # numbers that float16 holds
    return translator, Node(folder, translator, "float16")


@needs_node
@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.lists(texts, min_size=100, max_size=100))
def test_text_is_cleaned_and_cut_as_in_python(tiny, drawn):
    translator, node = tiny
    cases = AWKWARD + drawn
    want = [[translator.pieces(line) for line in case.split("\n")] for case in cases]
    assert node.ask(*(["pieces", case] for case in cases)) == want


@needs_node
def test_ids_and_text_are_those_of_the_tokenizer(tiny, shipped):
    for translator, node in (tiny, shipped):
        tokenizer = translator.tokenizer
        clean = [piece for case in AWKWARD + [zh for zh, _ in PAIRS] for piece in translator.pieces(case)]
        assert node.ask(*(["encode", piece] for piece in clean)) == tokenizer.encode_src(clean)
        english = tokenizer.encode_tgt([en for _, en in PAIRS] + ["It's 3:45, isn't it?"])
        english = [[BOS, *ids, EOS] for ids in english]
        assert node.ask(*(["decode", ids] for ids in english)) == [tokenizer.decode(ids) for ids in english]


# ------------------------------------------------------------------------------------------------ model


@needs_node
def test_float_weights_find_the_same_ids(tiny, shipped):
    want, found = greedy_and_beam(*tiny, [zh for zh, _ in PAIRS])
    assert found == want
    want, found = greedy_and_beam(*shipped, [item.zh for item in real.load().dev[:8]])
    assert found == want
