"""Somebody's own pairs: read, cleaned, split without leaks, encoded once; and nothing half-done."""

import json
import random

import numpy as np
import pytest
from helpers import forked
from helpers.tiny import PAIRS, few, write_pairs
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import data
from utils import corpus, pairs, training
from utils.batching import EpochBatches
from utils.corpus import TestItem
from utils.pairs import PairsError, prepare
from utils.text import clean, clean_english

# ----------------------------------------------------------------------------------------- families and split

numbers = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def hashes(rows):
    """Two columns of numbers as two arrays of hashes; the same number means another sentence on the other side."""
    return [np.frombuffer(b"".join(pairs.hash64(str(row[side])) for row in rows), "<u8") for side in (0, 1)]


def as_rows(rows):
    return [corpus.Row(i, str(a), i, str(b)) for i, (a, b) in enumerate(rows)]


def members(family):
    """The numbers of the pairs of each family."""
    return sorted(np.flatnonzero(family == name).tolist() for name in set(family.tolist()))


@few
@given(numbers)
def test_families_are_the_groups_of_the_corpus(rows):
    groups = sorted([row.zh_id for row in group] for group in corpus.group(as_rows(rows)))
    assert members(pairs.families(*hashes(rows))) == groups


def test_a_long_chain_is_one_family():
    """a-x, b-x, b-y, c-y ...: each pair shares a sentence with the next, in any order."""
    chain = [(i // 2, (i + 1) // 2) for i in range(20_000)]
    random.Random(0).shuffle(chain)
    assert members(pairs.families(*hashes(chain))) == [list(range(20_000))]


@few
@given(numbers)
def test_the_split_agrees_with_its_rule_spelled_out(rows):
    split = pairs.split_pairs(*hashes(rows))
    distinct = [i for i, row in enumerate(rows) if row not in rows[:i]]
    groups = [[row.zh_id for row in group] for group in corpus.group([as_rows(rows)[i] for i in distinct])]
    assert sorted(split.sizes) == sorted(map(len, groups))
    if len(groups) < 2:
        assert split.train.tolist() == distinct and split.dev == []
        return
    median = sorted(map(len, groups))[(len(groups) - 1) // 2]
    small = [group for group in groups if len(group) <= median]
    source_hash = lambda group: int(hashes([rows[group[0]]])[0][0])  # noqa: E731
    (drawn,) = sorted(small, key=source_hash)[:1]  # 5 % of at most 30 families
    assert [item.tolist() for item in split.dev] == [[i for i in drawn if rows[i][0] == rows[drawn[0]][0]]]
    assert split.train.tolist() == [i for i in distinct if i not in drawn]


def test_dev_is_at_most_a_thousand_families():
    rows = [(i, i) for i in range(25_000)]
    split = pairs.split_pairs(*hashes(rows))
    assert len(split.dev) == 1000 and len(split.train) == 24_000
    assert len(pairs.split_pairs(*hashes(rows[:1000])).dev) == 50


# -------------------------------------------------------------------------------------------------- the whole


def many(n: int) -> list[tuple[str, str]]:
    """Pairs of two or three of the tiny sentences; some repeat, some share a side."""
    draw = random.Random(1)
    drawn = [draw.choices(PAIRS, k=draw.choice((2, 3))) for _ in range(n)]
    return [("".join(zh for zh, _ in row), " ".join(en for _, en in row)) for row in drawn]


def sides(prepared):
    """Sentences of train and of dev, source and target."""
    decode = prepared.tokenizer.decode
    train = prepared.train
    train_src = {"".join(prepared.tokenizer.src_tokens(train.src[i][:-1])) for i in range(len(train.src))}
    train_tgt = {decode(train.tgt[i]) for i in range(len(train.tgt))}
    return train_src, train_tgt, {item.zh for item in prepared.dev}, {r for i in prepared.dev for r in i.references}


@pytest.mark.slow
def test_twenty_thousand_lines(tmp_path):
    """Each line is in train, encoded as its tokenizer does it, or held out, or a repetition; and nothing leaks."""
    rows = many(20_000)
    prepared = prepare(write_pairs(tmp_path / "many.tsv", rows), tgt_vocab=70, cache=tmp_path / "cache")
    train, lines, tokenizer = prepared.train, prepared.train.lines.tolist(), prepared.tokenizer
    assert isinstance(train.src.ids, np.memmap) and train.src.ids.dtype == np.uint16
    assert lines == sorted(set(lines)) and len(lines) == len(train.src) == len(train.tgt)
    kept = [rows[line - 1] for line in lines]
    assert [train.src[i] for i in range(len(kept))] == tokenizer.encode_src([clean(zh) for zh, _ in kept])
    assert [train.tgt[i] for i in range(len(kept))] == tokenizer.encode_tgt([clean_english(en) for _, en in kept])
    assert tokenizer.tgt_vocab == 70 and len(set(kept)) == len(kept)

    train_src, train_tgt, dev_src, dev_tgt = sides(prepared)
    assert not train_src & dev_src and not train_tgt & dev_tgt
    held_out = {(clean(zh), clean_english(en)) for zh, en in set(rows) - set(kept)}
    assert held_out == {(item.zh, en) for item in prepared.dev for en in item.references}
    n_families = len(corpus.group(corpus.Row(0, zh, 0, en) for zh, en in rows))
    assert len(prepared.dev) == int(0.05 * n_families) > 100 and f"sentence): {n_families:,}," in prepared.report

    batches = EpochBatches(train.src, train.tgt, 300)
    n_targets = sum(batches.batch(indices).n_targets for indices in batches.indices(0))
    assert n_targets == len(train.tgt.ids) + len(train.tgt)


def test_a_frequent_target_costs_no_more_than_its_share(tmp_path):
    """1,050 of 1,260 pairs mean "Yes.": they train, and dev is made of others."""
    huge = sorted((f"第{i}句", "Yes.") for i in range(1050))
    huge.sort(key=lambda row: int.from_bytes(pairs.hash64(row[0]), "little"))  # the first that dev would draw
    rows = huge + many(210)
    prepared = prepare(write_pairs(tmp_path / "yes.tsv", rows), 80, cache=tmp_path)
    assert len(prepared.train.src) > 1200 and len(prepared.dev) > 5
    assert not any("Yes." in item.references for item in prepared.dev)
    assert "the largest 1,050." in prepared.report
    assert f"Dev: {len(prepared.dev)} sentences. Train: {len(prepared.train.src):,} pairs." in prepared.report


def test_an_item_of_dev_is_a_source_with_all_its_targets(tmp_path):
    rows = [(zh, en) for zh, en in PAIRS for en in (en, f"{en} Really!")]
    prepared = prepare(write_pairs(tmp_path / "two.tsv", rows), 70, cache=tmp_path)
    assert len(prepared.dev) == 2
    assert all((item.zh, item.references[0]) in PAIRS for item in prepared.dev)
    assert all(item.references == (item.references[0], f"{item.references[0]} Really!") for item in prepared.dev)


def test_byte_order_marks_windows_line_ends_empty_lines_and_spaces(tmp_path):
    plain = prepare(write_pairs(tmp_path / "plain.tsv"), 70, cache=tmp_path)
    text = "".join(f"{zh} \t {en}\r\n\n \n" for zh, en in PAIRS)
    (tmp_path / "odd.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    odd = prepare(tmp_path / "odd.tsv", 70, cache=tmp_path)
    assert sides(odd) == sides(plain) and odd.train.lines[:2].tolist() == [3 * n - 2 for n in plain.train.lines[:2]]
    assert "Skipped" not in odd.report


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("我\tI\n" * 25 + "你 you\n", "pairs.tsv, line 26: expected source, one tab, target; found '你 you'"),
        ("我\tI\tmich\n" * 25, "pairs.tsv, line 1: expected source, one tab, target"),
        ("我\tI\n" * 25, "pairs.tsv: 1 distinct pairs.* repeat a pair: 24.* At least 20 pairs are needed"),
        ("".join(f"{i}\tI\n" for i in range(25)), "the largest 25. .*all share sentences with one another"),
        ("", "0 distinct pairs.* At least 20 pairs are needed"),
        (" \t \n" * 25, r"empty side: 25 \(the first is line 1\). At least 20"),
        (b"a\tb\n\xff\xfe", r"Cannot read .*pairs.tsv as UTF-8 text \(line 2\)"),
        (None, "Cannot read .*pairs.tsv: No such file"),
    ],
)
def test_what_is_no_file_of_pairs_is_told_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "pairs.tsv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PairsError, match=message) as caught:
        prepare(path, cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("cache/*"))[1:], "nothing but the lock"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(PairsError, match="it is not a file"):
        prepare(tmp_path, cache=tmp_path)


def test_an_empty_side_is_skipped_and_counted(tmp_path):
    """Also one of which cleaning leaves nothing: a zero-width space is no sentence."""
    rows = [*PAIRS[:30], ("我", "\u200b"), *PAIRS[30:], ("", "you")]
    prepared = prepare(write_pairs(tmp_path / "pairs.tsv", rows), 70, cache=tmp_path)
    assert "Skipped lines with an empty side: 2 (the first is line 31)." in prepared.report
    assert sides(prepared) == sides(prepare(write_pairs(tmp_path / "whole.tsv"), 70, cache=tmp_path))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"He said ""hi"" to me."', 'He said "hi" to me.'),
        ('"""Hello."""', '"Hello."'),
        ('"""A"" and ""B"""', '"A" and "B"'),
        ('"Hello."', '"Hello."'),
        ('"Hello," she said, "my friend."', '"Hello," she said, "my friend."'),
        ('"几点了?""10点半了。"', '"几点了?""10点半了。"'),  # of Tatoeba: two people speak
        ('""', '""'),
        ('He said ""hi"".', 'He said ""hi"".'),
    ],
)
def test_what_excel_doubles_is_understood(cell, text):
    assert pairs.unquoted(cell) == text


def test_what_excel_doubled_is_learned_as_it_was(tmp_path):
    rows = [*PAIRS, ("他说“你好”。", '"He said ""hi""."')]
    prepared = prepare(write_pairs(tmp_path / "pairs.tsv", rows), 80, cache=tmp_path)
    seen = sides(prepared)
    assert 'He said "hi".' in seen[1] | seen[3] and "Cells freed of Excel's quotation marks: 1." in prepared.report


@pytest.mark.parametrize(
    ("sources", "chinese"),
    [
        (["Das ist Nummer {}."] * 25 + ["Das ist 茶 {}."] * 2, False),
        (["これは猫{}です。"] * 25, False),
        (["這是第{}隻貓。"] * 25 + ["Tom {}."] * 9, True),
    ],
)
def test_the_language_of_the_source_is_that_of_most_sentences(tmp_path, sources, chinese):
    rows = [(source.format(i), f"This is number {i}.") for i, source in enumerate(sources)]
    path = write_pairs(tmp_path / "pairs.tsv", rows)
    prepared = prepare(path, 70, cache=tmp_path)
    assert f"source {'' if chinese else 'not '}Chinese" in prepared.report
    assert ("这" in prepared.tokenizer.src.get_vocab()) == chinese
    assert "not Chinese" in prepare(path, 70, source="any", cache=tmp_path).report


def test_the_tokenizer_learns_from_a_sample(tmp_path, monkeypatch):
    """Evenly spaced over the pairs to train on, as many as are allowed."""
    path = write_pairs(tmp_path / "pairs.tsv")
    whole = prepare(path, 70, cache=tmp_path)
    monkeypatch.setattr(pairs, "SAMPLE", 10)
    learned = []

    def train(zh, en, *_, **__):
        learned.extend(zip(zh, en, strict=True))
        return whole.tokenizer

    monkeypatch.setattr(pairs.Tokenizer, "train", train)
    prepare(path, 71, cache=tmp_path)
    kept = [PAIRS[line - 1] for line in whole.train.lines]
    assert learned == [(clean(zh), clean_english(en)) for zh, en in (kept[52 * i // 10] for i in range(10))]


# -------------------------------------------------------------------------------------------------- the cache


def test_a_second_start_opens_what_the_first_made(tmp_path, monkeypatch):
    path = write_pairs(tmp_path / "pairs.tsv")
    first = prepare(path, 70, cache=tmp_path / "cache")
    with monkeypatch.context() as changed:
        changed.setattr(pairs, "_build", lambda *_: pytest.fail("made again"))
        second = prepare(path, 70, cache=tmp_path / "cache")
    assert sides(second) == sides(first) and second.report == first.report and second.dev == first.dev
    assert all(isinstance(item, TestItem) for item in second.dev)
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert {file.suffix for file in folder.iterdir()} == {".npy", ".json"}, "no sentences are left but those of dev"
    # The name of the file is not among what decides the result; whatever is makes another folder.
    copy = write_pairs(tmp_path / "copy.tsv")
    assert prepare(copy, 70, cache=tmp_path / "cache").report == first.report.replace("pairs.tsv", "copy.tsv")
    prepare(path, 71, cache=tmp_path / "cache")
    prepare(path, 70, "any", cache=tmp_path / "cache")
    write_pairs(path, PAIRS[:-1])
    prepare(path, 70, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 4 + 1


def test_a_damaged_folder_is_named(tmp_path):
    path = write_pairs(tmp_path / "pairs.tsv")
    prepare(path, 70, cache=tmp_path / "cache")
    (array,) = (tmp_path / "cache").glob("*/src.npy")
    array.write_bytes(array.read_bytes()[:-9])
    with pytest.raises(PairsError, match=f"{array.parent} is damaged: delete it"):
        prepare(path, 70, cache=tmp_path / "cache")


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    path = write_pairs(tmp_path / "pairs.tsv")
    split_pairs = pairs.split_pairs
    monkeypatch.setattr(pairs, "split_pairs", lambda *both: (write_pairs(path, PAIRS[1:]), split_pairs(*both))[1])
    with pytest.raises(PairsError, match="was changed while it was read"):
        prepare(path, 70, cache=tmp_path / "cache")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PairsError, match="Cannot prepare .*pairs.tsv in .*file: (Not a directory|File exists)"):
        prepare(write_pairs(tmp_path / "pairs.tsv"), cache=tmp_path / "file")


@pytest.mark.parametrize("moment", ["read", "split_pairs", "write_flat", "report"])
def test_an_interrupted_preparation_leaves_nothing(tmp_path, monkeypatch, moment):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = write_pairs(tmp_path / "pairs.tsv")
    with monkeypatch.context() as changed, pytest.raises(KeyboardInterrupt):
        changed.setattr(pairs, moment, interrupted)
        prepare(path, 70, cache=tmp_path / "cache")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [".lock"]
    assert len(prepare(path, 70, cache=tmp_path / "cache").train.src) == 52


@pytest.mark.slow
def test_a_killed_preparation_is_made_anew(tmp_path):
    """What it left behind is swept away by the next one, also when that prepares another file."""
    path, cache = write_pairs(tmp_path / "pairs.tsv"), tmp_path / "cache"
    killed = forked.start(tmp_path / "log", forked.killed_preparation, path, cache)
    assert forked.join([killed]) == [-9], (tmp_path / "log").read_text()
    assert len(list(cache.glob("*.tmp/src.npy"))) == 1
    prepare(write_pairs(tmp_path / "others.tsv", PAIRS[1:]), 70, cache=cache)
    assert not list(cache.glob("*.tmp"))
    assert len(prepare(path, 70, cache=cache).train.src) == 52


@pytest.mark.slow
def test_of_two_processes_one_prepares_and_the_other_waits(tmp_path):
    path, cache = write_pairs(tmp_path / "pairs.tsv"), tmp_path / "cache"
    both = [forked.start(tmp_path / f"{i}.log", forked.slow_preparation, path, cache) for i in range(2)]
    assert forked.join(both) == [0, 0], [(tmp_path / f"{i}.log").read_text() for i in range(2)]
    said = "".join((tmp_path / f"{i}.log").read_text() for i in range(2))
    assert said.count("built") == said.count("waiting for it") == 1 and said.count("opened 52 pairs") == 2


# ---------------------------------------------------------------------------------------------------- command


def test_the_command_says_what_was_read_and_names_a_line_that_is_too_long(tmp_path, capsys):
    rows = [*PAIRS, ("我" * 80, "I " * 9)]
    path = write_pairs(tmp_path / "pairs.tsv", rows)
    command = ["--pairs", str(path), "--out", str(tmp_path / "out"), "--steps", "1", "--device", "cpu"]
    assert training.main([*command, "--batch-tokens", "60"]) == 1
    printed = capsys.readouterr()
    assert "pairs.tsv: 55 distinct pairs, source Chinese. Families" in printed.out
    message = f"Line 55 of {path} has 81 tokens, which fits in no batch of --batch-tokens 60: "
    message += "give --batch-tokens 81 or more.\n"
    assert printed.err == message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_benchmark_in_miniature(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "BENCH", tmp_path)
    ballast = np.ones(200_000_000)  # 1.6 GB here are not the memory of the processes that are measured
    data.main(["--lines", "600", "--out", str(tmp_path)])
    del ballast
    found = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    first, second = found["starts"].values()
    assert first["report"] == second["report"] and first["prepare"] > second["prepare"]
    assert all(0 < start["epoch"] < 5 and 0 < start["peak"] < 1.5e9 for start in (first, second))
    assert "600 lines" in (tmp_path / "data.md").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"data.json", "data.md"}, "the pairs are gone"
