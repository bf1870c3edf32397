"""The translator's limits: each figure on made-up translations, and the table."""

import io
import json
import re
from collections import Counter
from contextlib import redirect_stdout

import pytest
import sacrebleu
from helpers import real

from utils import limits as L
from utils.corpus import Corpus, Pair, TestItem
from utils.limits import bucket, cases, limits, on_dev, on_sets, share, table
from utils.numbers import english_forms, find
from utils.text import clean
from utils.translate import Translator


@pytest.fixture(scope="module")
def data():
    return real.load()


class FromTable(Translator):
    """A translator that knows some sentences by heart, and says "I don't know" to others."""

    def __init__(self, known: dict[str, str]):
        self.known = known

    def translate(self, text: list[str], beam_size: int = 4, length_penalty: float = 1.0) -> list[str]:
        return [self.known.get(zh, "I don't know.") for zh in text]


# ------------------------------------------------------------------------------------------------------ figures


def test_lengths():
    assert [bucket("字" * n) for n in (1, 7, 8, 12, 13, 20, 21, 200)] == [
        *("1-7", "1-7", "8-12", "8-12"),
        *("13-20", "13-20", "21-", "21-"),
    ]


def test_dev_figures():
    dev = [
        TestItem("你来吗?", ("Will you come with us?",)),
        TestItem("你要去吗?", ("Will you go there with us?",)),
        TestItem("我不想去那里。", ("I do not want to go there.",)),
        TestItem("我们从来没有去过那个很远很远的地方。", ("We have never been to that far place.",)),
        TestItem("不错。", ("Fine, that is good.",)),  # 不 without a "not" does not count
    ]
    english = ["Will you come with us?", "You go there with us.", "I want to go.", "We haven't been there.", "Good."]
    found = on_dev(dev, english)
    score = sacrebleu.corpus_bleu(english, [[item.references[0] for item in dev]])
    assert found["bleu"] == pytest.approx(score.score, abs=0.01)
    assert found["length_ratio"] == pytest.approx(score.sys_len / score.ref_len, abs=0.001)
    assert found["questions"] == {"kept": 1, "of": 2, "share": 0.5}
    assert found["negation"] == {"kept": 1, "of": 2, "share": 0.5}
    assert {name: some["of"] for name, some in found["bleu_by_length"].items()} == {"1-7": 4, "13-20": 1}
    assert share([])["share"] == 0


@pytest.mark.parametrize(
    "en", ["I don't.", "I cannot.", "No one came.", "Never!", "He isn't here", "nothing", "Not now"]
)
def test_negation(en):
    assert L.NEGATIVE.search(en) and not L.NEGATIVE.search("Note the knot, another notion; know now.")


def test_the_small_sets(data):
    assert {name: 10 <= n <= 20 for name, n in Counter(case.name for case in cases()).items()} == dict.fromkeys(
        ["classical", "Cantonese", "traditional", "URL"], True
    )
    known = {pair.zh for pair in data.train}
    for case in cases():
        assert clean(case.plain) == case.plain and case.en[-1] in ".?"
        assert case.name == "URL" or not {clean(case.zh), case.plain} & known, case
        assert case.name != "URL" or L.URL.search(case.zh)[0] in case.en


def test_small_sets_are_compared_with_the_same_in_plain_chinese():
    some = [L.Case("old", "古", "今", "It is so."), L.Case("old", "旧", "新", "It was so."), cases()[-1]]
    known = {"今": "It is so.", "新": "It was so.", "旧": "It was so.", some[2].zh: some[2].en}
    found = on_sets(some, FromTable(known).translate)
    assert found["old"]["chrf_plain"] == 100 > found["old"]["chrf"]
    assert found["old"]["same"]["kept"] == found["URL"]["kept"] == 1
    assert on_sets(some, FromTable({}).translate)["URL"]["kept"] == 0


@pytest.fixture(scope="module")
def little(data):
    """A corpus of which the test of numbers is quickly made."""
    dev = [item for item in data.dev if find(item.zh) or "汤姆" in item.zh][:60]
    return Corpus([Pair("你好。", "Hello.")], dev, [TestItem("他来了。", ("He came.",))])


def test_all_figures_and_the_table(little, monkeypatch, tmp_path):
    known = {item.zh: item.references[0] for item in [*little.dev, *little.test]}
    known["他来了。"] = "He came, he came."
    for item in L.items(little.dev, little.train, 100, 20):
        if item.number.kind != "price":
            known[item.zh] = f"It is {next(iter(english_forms(item.number).values()))}."
    monkeypatch.setattr(L, "load_chinese", lambda path: FromTable(known))
    monkeypatch.setattr(L, "limits", lambda *args: limits(*args, data=little, n=100))
    with redirect_stdout(io.StringIO()) as printed:
        L.main([str(tmp_path), "--save"])
    figures = json.loads((tmp_path / "limits.json").read_text(encoding="utf-8"))
    shares = {kind: found["share"] for kind, found in figures["numbers"].items()}
    assert shares.pop("price") == 0 and set(shares.values()) == {1}
    assert figures["names"]["kept"] == 0 < figures["names"]["of"]
    assert figures["loops"] == {"dev": {"loops": 0, "of": len(little.dev)}, "test": {"loops": 1, "of": 1}}
    assert figures["looped"]["test"] == [{"zh": "他来了。", "en": "He came, he came."}]
    assert figures["bleu"] == 100 and figures["length_ratio"] == 1 and figures["negation"]["share"] == 1
    assert printed.getvalue() == table(figures) + "\n"
    assert re.search(r"\| loops, test \| 1 of 1 \|", printed.getvalue())
    assert "| numbers kept: price | 0 % of " in printed.getvalue()
