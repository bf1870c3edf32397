"""The corpus: split without leaks; glosses and compounds; and the data card tells the truth."""

import hashlib
import re
import runpy
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import corpus as C
from utils import dictionary as D
from utils.config import ROOT
from utils.corpus import Corpus, Pair, Row, TestItem, clean, clean_english
from utils.synthetic import HeldOut

# ------------------------------------------------------------------------------------------- splitting

letters = st.sampled_from("abcdef")
small_rows = st.lists(
    st.builds(Row, st.integers(1, 9), st.sampled_from("甲乙丙丁戊己"), st.integers(1, 9), letters),
    max_size=14,
)


def groups_by_search(rows):
    """The obvious way: from each row, walk to every row that shares a side until none is new."""
    left, groups = list(rows), []
    while left:
        reached = [left.pop(0)]
        for row in reached:
            neighbors = [other for other in left if other.zh == row.zh or other.en == row.en]
            left = [other for other in left if other not in neighbors]
            reached += neighbors
        groups.append(reached)
    return groups


def as_sets(groups):
    return sorted(sorted(set(rows)) for rows in groups)


@given(small_rows)
def test_union_find_agrees_with_a_search(rows):
    assert as_sets(C.group(rows)) == as_sets(groups_by_search(dict.fromkeys(rows)))


@given(small_rows, st.integers(0, 3), st.integers(0, 3))
def test_split_agrees_with_its_rule_spelled_out(rows, n_test, n_dev):
    result = C.split(rows, n_test, n_dev)
    groups = groups_by_search(dict.fromkeys(rows))
    groups.sort(key=lambda rows: hashlib.sha256(sorted(r.zh for r in rows)[0].encode("utf-8")).hexdigest())
    items = []
    for rows in groups[: n_test + n_dev]:
        source = sorted(rows, key=lambda r: (r.zh_id, r.zh))[0].zh
        references = []
        for _, en in sorted((r.en_id, r.en) for r in rows if r.zh == source):
            references += [en] if en not in references else []
        items.append((source, references))
    assert [(i.zh, list(i.references)) for i in result.test + result.dev] == items
    assert set(result.train) == {Pair(r.zh, r.en) for rows in groups[n_test + n_dev :] for r in rows}
    assert len(set(result.train)) == len(result.train)


@given(small_rows, st.randoms())
def test_split_does_not_depend_on_the_order_of_rows(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, two = C.split(rows, 2, 2), C.split(shuffled, 2, 2)
    assert (set(one.train), one.dev, one.test) == (set(two.train), two.dev, two.test)


# ------------------------------------------------------------------------------------- the real corpus


@pytest.fixture(scope="module")
def rows():
    return list(C.read_rows(C.CACHE / "tatoeba.tsv"))


@pytest.fixture(scope="module")
def groups(rows):
    return C.group(rows)


@pytest.fixture(scope="module")
def corpus(rows):
    return C.split(rows)


@pytest.fixture(scope="module")
def found(corpus):
    return D.glosses(corpus)


def test_the_fetched_corpus_has_the_known_size(rows, groups, corpus):
    assert len(rows) == 56_578
    assert len({(row.zh, row.en) for row in rows}) == 56_363
    assert len(groups) == 48_239
    assert len(corpus.dev) == len(corpus.test) == 1_000


def digest(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_split_is_the_one_that_the_shipped_model_was_trained_with(corpus):
    """Sentence by sentence: one that moved from train to test would be a question that the model was told."""
    dev, test = (digest("\t".join((item.zh, *item.references)) for item in part) for part in corpus[1:])
    assert dev == "3423c9c2b3346489d52d089eaf92407826904d95b8762f704c92244ef53d71f3"
    assert test == "9041f28825aa13e19f1396796ef438f1d169f6cf62435b4af6411bdd7dbb7685"
    train = digest("\t".join(pair) for pair in corpus.train)
    assert train == "23fb5ff6161111aa13ae9857419dd7302d25a7cdd7da2645e8d8d5dabe905d5c"


def bare(text):
    """What is left of a sentence when case and punctuation are not looked at."""
    return "".join(c for c in text.casefold() if c.isalnum())


def leaks(corpus: Corpus, found: list[Pair]) -> list[str]:
    """Sentences of either language, glosses included, that stand in two splits."""
    sides = {"zh": lambda item: [item.zh], "en": lambda item: item.references}
    shared = []
    for side, texts_of in sides.items():
        train = {getattr(pair, side) for pair in corpus.train}
        dev = {text for item in corpus.dev for text in texts_of(item)}
        test = {text for item in corpus.test for text in texts_of(item)}
        shared += (train & dev) | (train & test) | (dev & test)
        held_out = {bare(text): text for text in dev | test}
        shared += [getattr(pair, side) for pair in found if bare(getattr(pair, side)) in held_out]
    return shared


def test_no_sentence_of_either_language_stands_in_two_splits(corpus, found):
    assert leaks(corpus, found) == []


def test_the_leak_test_sees_a_leak(corpus, found):
    item = corpus.test[0]
    for pair in (Pair(item.zh, "new"), Pair("新", item.references[-1])):
        assert leaks(corpus._replace(train=[*corpus.train, pair]), found)
        assert leaks(corpus, [*found, Pair(pair.zh.rstrip("。"), pair.en.upper())])
    assert leaks(corpus._replace(dev=[*corpus.dev, item]), found)


def test_train_has_nothing_of_a_held_out_group(groups, corpus):
    train = set(corpus.train)
    for members in groups:
        inside = [Pair(row.zh, row.en) in train for row in members]
        assert all(inside) or not any(inside)


def test_glosses_are_short_clean_and_distinct(corpus, found):
    assert len(set(found)) == len(found) > 10_000
    known = {c for pair in corpus.train for c in pair.zh}
    for zh, en in found:
        assert 2 <= len(zh) <= 4 and known.issuperset(zh) and clean(zh) == zh
        assert re.fullmatch(r"[A-Za-z' -]+", en) and len(en.split()) <= 4 and clean_english(en) == en
        assert not re.search(r"\b(sb|sth|CL|variant of|surname|abbr)\b", en)


def test_glosses_compose_the_running_example(found):
    for pair in [("机器", "machine"), ("机器翻译", "machine translation"), ("深度学习", "deep learning")]:
        assert pair in found[:10_000]
    assert {"to learn", "to study"} == {en for zh, en in found if zh == "学习"}
    assert not any("机器学习" in zh for zh, _ in found)


def test_a_limit_takes_the_most_useful(corpus):
    small = corpus._replace(train=corpus.train[:2000])
    assert D.glosses(small, limit=50) == D.glosses(small)[:50]


def test_a_word_held_back_as_a_compound_is_no_gloss(corpus, found, monkeypatch):
    small = corpus._replace(train=corpus.train[:2000])
    monkeypatch.setattr(D, "unseen", lambda path=None: [TestItem(found[0].zh, ("held back",))])
    assert not any(found[0].zh in pair.zh for pair in D.glosses(small))


# ------------------------------------------------------------------------------------------- compounds


both_files = pytest.mark.parametrize("path", [D.UNSEEN, D.UNSEEN_DEV], ids=["test", "dev"])


@both_files
def test_training_never_saw_the_compounds_but_knows_their_characters(path, corpus, found):
    sources = "\n".join({pair.zh for pair in [*corpus.train, *found]})
    known = set(sources)
    compounds = [item.zh for item in D.unseen(path)]
    assert len(compounds) == len(set(compounds)) == 40
    for zh, references in D.unseen(path):
        assert clean(zh) == zh
        assert zh not in sources
        assert known.issuperset(zh)
        assert len(set(references)) == len(references) and all(clean_english(en) == en for en in references)


@both_files
def test_every_half_of_a_compound_is_a_known_word(path, corpus, found):
    """机器学习 is 机器 | 学习: some cut leaves two parts that training has, each at least three times."""
    sources = "\n".join(pair.zh for pair in [*corpus.train, *found])
    for zh, _ in D.unseen(path):
        cuts = [(zh[:i], zh[i:]) for i in range(1, len(zh))]
        assert any(min(map(sources.count, cut)) >= 3 for cut in cuts), zh


def test_no_compound_of_dev_equals_or_contains_one_of_test():
    dev, test = ([item.zh for item in D.unseen(path)] for path in (D.UNSEEN_DEV, D.UNSEEN))
    assert test[0] == "机器学习"
    assert not [(a, b) for a in dev for b in test if a in b or b in a]


@pytest.mark.slow
def test_the_compounds_of_dev_are_no_words_of_the_dictionary(found, corpus, monkeypatch):
    """So they cost training nothing: without them the glosses are the same."""
    test = D.unseen()
    monkeypatch.setattr(D, "unseen", lambda path=None: test)
    assert D.glosses(corpus) == found


def test_a_part_has_the_english_that_compounds_show(corpus, tmp_path, monkeypatch):
    """学习 alone is to study; a compound in which the other word has its own meaning shows what it is at the end."""
    entries = {
        "深度": "depth/deep",
        "学习": "to study",
        "深度学习": "deep learning",  # deep is 深度: so 学习 is learning
        "外语": "foreign language",
        "外语学习小组": "a study group",  # neither half is a word
        "机器": "machine",
        "机器学习": "machine learning",  # held out
        "学习环境": "another thing",  # held out, and no word of it is a meaning
        "法国": "France",
        "法国学习": "French study",  # once each: both
        "法国机器": "strange thing",  # no word is a meaning of a half
    }
    lines = "".join(f"{word} {word} [pin1 yin1] /{meaning}/\n" for word, meaning in entries.items())
    (tmp_path / "cedict_ts.u8").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(D, "fetched", lambda name, cache: tmp_path / name)
    count = {word: sum(word in pair.zh for pair in corpus.train) for word in entries}
    before, after = D.parts(corpus)
    ending = D.Part("学习", count["学习"], ("learning", "study"))
    assert after == [ending]
    # What only ends compounds may begin one, too, with the same English.
    assert before == [ending, D.Part("法国", count["法国"], ("French",)), D.Part("深度", count["深度"], ("deep",))]
    # No word stands beside itself, and at most half of what there could be is made.
    assert [pair.zh for pair in D.compounds(corpus, 9)] in (["法国学习"], ["深度学习"])
    assert D.compounds(corpus, 0) == D.compounds(corpus._replace(train=[]), 9) == []


@pytest.mark.slow
def test_compounds_are_of_known_parts_and_none_that_is_held_out_is_left(corpus, found):
    made = D.compounds(corpus, 30_000, seed=1)
    assert made[:100] == D.compounds(corpus, 100, seed=1) != D.compounds(corpus, 100, seed=2)
    assert len(set(made)) == 30_000
    before, after = ({part.zh: part.en for part in side} for side in D.parts(corpus))
    assert after["学习"] == ("learning",) and before["机器"] == ("machine",) and before["学习"] == ("learning",)
    for zh, en in made[:2000]:
        cuts = [(zh[:cut], zh[cut:]) for cut in range(2, len(zh) - 1)]
        assert any(en in {f"{x} {y}" for x in before.get(a, ()) for y in after.get(b, ())} for a, b in cuts), zh
    # The parts of a test's compound may come together: the filter of all training sees to that.
    held = next(i for i in D.unseen() if any(i.zh[:cut] in before and i.zh[cut:] in after for cut in (2, 3)))
    assert HeldOut(corpus).filtered([Pair(held.zh, "x"), *made[:5]]) == made[:5]
    learned = HeldOut(corpus).filtered(made)
    assert not [pair for pair in learned for item in [*D.unseen(), *D.unseen(D.UNSEEN_DEV)] if item.zh in pair.zh]


@pytest.mark.slow
@both_files
def test_glosses_hold_the_compounds_back(path, corpus, tmp_path):
    entries = [(D.unseen(path)[0].zh, "to be held back"), ("机器", "machine")]
    lines = "".join(f"{word} {word} [pin1 yin1] /{meaning}/\n" for word, meaning in entries)
    (tmp_path / "cedict_ts.u8").write_text(lines, encoding="utf-8")
    assert D._dictionary(corpus, tmp_path / "cedict_ts.u8").keys() == {"机器"}


def test_matching_ignores_case_articles_and_punctuation():
    item = TestItem("机器学习", ("machine learning", "learn by a machine"))
    for right in ["Machine learning.", "the machine learning", "To learn by machine!", "machine-learning"]:
        assert D.matches(right, item)
    for wrong in ["machine", "learning machine", "", "machine learning is fun", "machines learning"]:
        assert not D.matches(wrong, item)


# ------------------------------------------------------------------------------------------- data card


@pytest.mark.slow
def test_the_figures_of_the_data_card_are_those_of_the_corpus(rows, found):
    tool = runpy.run_path(str(ROOT / "tools" / "data_card.py"))
    text = tool["CARD"].read_text(encoding="utf-8")
    start, end = tool["MARKS"]
    assert text.split(start)[1].split(end)[0] == tool["figures"](rows, found)


def test_the_data_card_names_the_release_of_the_dictionary():
    with (C.CACHE / "cedict_ts.u8").open(encoding="utf-8") as file:
        header = "".join(next(file) for _ in range(30))
    released = re.search(r"#! date=(\d{4}-\d\d-\d\d)", header)
    assert released and released[1] in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def test_nothing_of_the_corpus_is_in_git():
    listed = subprocess.run(["git", "ls-files", "data/cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert listed.stdout == ""
