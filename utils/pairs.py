"""Somebody's own pairs, few or millions: read, cleaned, split and encoded once, then memory-mapped (lesson 08).

`prepare` keeps its results in `data/cache/pairs/`, in a folder named by all that decides them. Sentences stay on the
disk; in memory each pair is a few numbers.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache as memoize
from functools import partial
from itertools import compress
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from utils import text, tokenizer
from utils.batching import chunks
from utils.corpus import TestItem
from utils.fetch import CACHE
from utils.sequences import Encoded, Sequences
from utils.tokenizer import Tokenizer

FEWEST = 20  # distinct pairs
SAMPLE = 1_000_000  # pairs that the tokenizer learns from, at most
HELD_OUT, LARGEST_DEV = 0.05, 1000  # dev gets this share of the families, and at most so many

# A cell as Excel saves it when it holds quotation marks: in marks, and those of its own doubled. They come in pairs:
# "One.""Two." is two people speaking.
QUOTED = re.compile(r'"([^"]*(?:""[^"]*""[^"]*)+)"')

progress = partial(tqdm, delay=2, mininterval=1, leave=False)  # no bar for what is done in a moment


class PairsError(ValueError):
    """A file of pairs cannot be used; the message says why and what to do."""


class Prepared(NamedTuple):
    """All that training needs of a file of pairs; `report` tells what was read, skipped and held out."""

    train: Encoded
    dev: list[TestItem]
    tokenizer: Tokenizer
    report: str


def prepare(path: str | Path, tgt_vocab: int = 4000, source: str = "auto", cache: str | Path | None = None) -> Prepared:
    """Prepare a file of pairs for training, or open what an earlier call prepared.

    The file: source, one tab, target on each line, in UTF-8. source: "zh", "any", or "auto", which is "zh" if most of
    the source sentences are Chinese; it decides how they are cleaned. cache: by default what the environment variable
    TRANSFORMER_COURSE_PAIRS names, else data/cache/pairs. Of several processes one prepares and the others wait; one
    that is stopped leaves nothing half-done. Raises PairsError with one sentence.
    """
    path = Path(path)
    cache = Path(cache or os.environ.get("TRANSFORMER_COURSE_PAIRS") or CACHE / "pairs")
    folder = cache / _key(path, tgt_vocab, source)
    if not folder.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with _lock(cache / ".lock"):
                if not folder.exists():  # another process may have made it while this one waited
                    _build(path, folder, tgt_vocab, source)
        except OSError as error:
            raise PairsError(f"Cannot prepare {path} in {cache}: {error.strerror or error}.") from None
    try:
        return _load(folder, path)
    except (OSError, ValueError, KeyError):
        raise PairsError(f"{folder} is damaged: delete it and repeat the command.") from None


def _lock(path: Path) -> AbstractContextManager:
    """Take the lock of a cache, and say so where another process has it."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process prepares pairs in {path.parent}: waiting for it.", file=sys.stderr, flush=True)
        return lock.acquire()


@memoize  # what this process runs, also where the files change meanwhile
def _code() -> str:
    """A hash of the code that prepares, and of the versions of what it uses."""
    modules = [Path(module.__file__).read_bytes() for module in (sys.modules[__name__], text, tokenizer)]
    versions = [importlib.metadata.version(name) for name in ("tokenizers", "opencc-python-reimplemented")]
    return hashlib.sha256(repr((modules, versions, unicodedata.unidata_version)).encode()).hexdigest()


def _key(path: Path, *settings) -> str:
    """The folder's name: a hash of the file's bytes and of everything else that decides what is made of them."""
    if path.exists() and not path.is_file():
        raise PairsError(f"Cannot read {path}: it is not a file, which can be read more than once.")
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PairsError(f"Cannot read {path}: {error.strerror}.") from None
    return hashlib.sha256(repr((content, settings, _code())).encode()).hexdigest()[:16]


def _load(folder: Path, path: Path) -> Prepared:
    """Open a prepared folder; the arrays are memory-mapped, so that processes share them."""

    def opened(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r")

    src, tgt = (Sequences(opened(side), opened(f"{side}_offsets")) for side in ("src", "tgt"))
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    dev = [TestItem(sentence, tuple(references)) for sentence, references in split["dev"]]
    report = f"{path.name}: {split['report']}"
    return Prepared(Encoded(src, tgt, opened("lines")), dev, Tokenizer.load(folder / "tokenizer.json"), report)


def _build(path: Path, folder: Path, tgt_vocab: int, source: str) -> None:
    """Make a prepared folder: under another name, which it keeps until all is done. The caller holds the lock."""
    for left_over in folder.parent.glob("*.tmp"):  # of processes that were killed
        shutil.rmtree(left_over)
    building = folder.with_suffix(".tmp")
    building.mkdir()
    try:
        n_lines, language = examine(path)
        language = language if source == "auto" else source
        cleaned = clean(path, building, n_lines, language)
        split = split_pairs(cleaned.src, cleaned.tgt)
        told = report(language, cleaned, split)
        if split.sizes.sum() < FEWEST:
            raise PairsError(f"{path}: {told} At least {FEWEST} pairs are needed to train and to check on some.")
        if not split.dev:
            raise PairsError(
                f"{path}: {told} Where all share sentences with one another, none can be held out to check on."
            )
        encode(building, cleaned.lines, split, tgt_vocab, language, told)
        if folder.name != _key(path, tgt_vocab, source):
            raise PairsError(f"{path} was changed while it was read: repeat the command.")
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


# ---- read and clean ----


def read(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, source and target of each line that is not empty; PairsError names the first that is no pair."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                cells = [cell.strip() for cell in line.decode("utf-8" if number > 1 else "utf-8-sig").split("\t")]
            except UnicodeDecodeError:
                raise PairsError(f"Cannot read {path} as UTF-8 text (line {number}): save it as UTF-8.") from None
            if len(cells) == 2:
                yield number, *cells
            elif any(cells):
                found = line.decode("utf-8", errors="replace").strip()[:60]
                raise PairsError(f"{path}, line {number}: expected source, one tab, target; found {found!r}.")


def examine(path: Path) -> tuple[int, str]:
    """The number of pairs in a file, and the language of its source; what is no pair is refused before any work."""
    n = 0

    def sources() -> Iterator[str]:
        nonlocal n
        for _, source, _ in progress(read(path), desc="Reading", unit=" lines"):
            n += 1
            yield source

    language = text.guess_source(sources())
    return n, language


class Cleaned(NamedTuple):
    """The pairs of which neither side is empty: their lines, and a 64-bit hash of each cleaned sentence."""

    lines: np.ndarray
    src: np.ndarray
    tgt: np.ndarray
    empty: np.ndarray  # the lines of the others
    n_quoted: int  # cells that Excel had put in quotation marks


def clean(path: Path, folder: Path, n_lines: int, source: str) -> Cleaned:
    """Write the cleaned sentences to `src.txt` and `tgt.txt`, one a line; return what is known of each pair."""
    lines, empty, n_quoted = array("q"), array("q"), 0
    src_hashes, tgt_hashes = bytearray(), bytearray()
    with _open(folder / "src.txt", "w") as src_file, _open(folder / "tgt.txt", "w") as tgt_file:
        for number, *cells in progress(read(path), desc="Cleaning", unit=" lines", total=n_lines):
            plain = [unquoted(cell) for cell in cells]
            n_quoted += sum(before != after for before, after in zip(cells, plain, strict=True))
            src, tgt = text.clean_source(plain[0], source), text.clean_english(plain[1])
            if not src or not tgt:
                empty.append(number)
                continue
            lines.append(number)
            src_file.write(src + "\n")
            tgt_file.write(tgt + "\n")
            src_hashes += hash64(src)
            tgt_hashes += hash64(tgt)
    src, tgt = (np.frombuffer(hashes, dtype="<u8") for hashes in (src_hashes, tgt_hashes))
    return Cleaned(np.array(lines), src, tgt, np.array(empty), n_quoted)


def unquoted(cell: str) -> str:
    """What stood in Excel's cell: `"He said ""hi""."` was `He said "hi".`; any other text stays as it is."""
    quoted = QUOTED.fullmatch(cell)
    return quoted[1].replace('""', '"').strip() if quoted else cell


def hash64(sentence: str) -> bytes:
    """Eight bytes in place of a sentence. Should two sentences share them, two families become one: no harm."""
    return hashlib.blake2b(sentence.encode(), digest_size=8).digest()


def _open(path: Path, mode: str = "r") -> TextIO:
    return path.open(mode, encoding="utf-8", newline="\n")


# ---- split ----


class Split(NamedTuple):
    """Numbers of the pairs to train on, and for each item of dev those of its source with all its targets."""

    train: np.ndarray
    dev: list[np.ndarray]
    sizes: np.ndarray  # distinct pairs of each family


def split_pairs(src: np.ndarray, tgt: np.ndarray) -> Split:
    """Split whole families, so that no sentence stands in train and in dev. src, tgt: a hash of each pair's sentences.

    Dev draws from the families that are no larger than the median one: a large family would be lost to training and
    give one item all the same. They are drawn in the order of hashes, as good as random and the same everywhere. An
    item is the source of a family's first pair with all targets that the family has for it.
    """
    order = np.lexsort((tgt, src))  # equal pairs are neighbors, the first of them first
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(src[order]) != 0) | (np.diff(tgt[order]) != 0)
    distinct = np.sort(order[new])
    family = families(src[distinct], tgt[distinct])
    sizes = np.bincount(family)
    if len(sizes) < 2:
        return Split(distinct, [], sizes)

    by_family = np.argsort(family, kind="stable")
    ends = np.cumsum(sizes)
    small = np.flatnonzero(sizes <= np.quantile(sizes, 0.5, method="lower"))
    first = distinct[by_family[ends[small] - sizes[small]]]  # the first pair of each small family
    n_dev = max(1, min(LARGEST_DEV, int(HELD_OUT * len(sizes))))
    drawn = small[np.argsort(src[first], kind="stable")[:n_dev]]
    dev = []
    for end, size in zip(ends[drawn], sizes[drawn], strict=True):
        members = distinct[by_family[end - size : end]]
        dev.append(members[src[members] == src[members[0]]])
    return Split(distinct[~np.isin(family, drawn)], dev, sizes)


def families(src: np.ndarray, tgt: np.ndarray) -> np.ndarray:
    """The family of each pair, numbered from 0: pairs that share a source or a target, directly or through others.

    Connected components of the graph whose nodes are sentences and whose edges are pairs. Each component has a root;
    where an edge joins two, the larger root goes under the smaller, until no edge does. (`corpus.group` does the same
    one pair at a time.)
    """
    _, a = np.unique(src, return_inverse=True)
    _, b = np.unique(tgt, return_inverse=True)
    b += a.max(initial=-1) + 1  # sources are numbered before targets
    root = np.arange(b.max(initial=-1) + 1)
    while True:
        ends = root[a], root[b]
        if np.array_equal(*ends):
            return np.unique(ends[0], return_inverse=True)[1]
        np.minimum.at(root, np.maximum(*ends), np.minimum(*ends))
        while not np.array_equal(root, root[root]):
            root = root[root]


def report(source: str, cleaned: Cleaned, split: Split) -> str:
    """What was read, skipped and held out, in a few sentences."""
    n_pairs, n_empty = int(split.sizes.sum()), len(cleaned.empty)
    told = [f"{n_pairs:,} distinct pairs, source {'Chinese' if source == 'zh' else 'not Chinese'}."]
    if n_repeated := len(cleaned.lines) - n_pairs:
        told.append(f"Skipped lines that repeat a pair: {n_repeated:,}.")
    if n_empty:
        told.append(f"Skipped lines with an empty side: {n_empty:,} (the first is line {cleaned.empty[0]:,}).")
    if cleaned.n_quoted:
        told.append(f"Cells freed of Excel's quotation marks: {cleaned.n_quoted:,}.")
    if n_pairs:
        told.append(f"Families (pairs that share a sentence): {len(split.sizes):,}, the largest {split.sizes.max():,}.")
    if split.dev:
        told.append(f"Dev: {len(split.dev):,} sentences. Train: {len(split.train):,} pairs.")
    return " ".join(told)


# ---- encode ----


def encode(folder: Path, lines: np.ndarray, split: Split, tgt_vocab: int, source: str, told: str) -> None:
    """Write what `_load` opens, in place of the cleaned sentences."""

    def sentences(side: str, kept: np.ndarray, desc: str) -> Iterator[str]:
        """The sentences of one side whose numbers are in `kept`, in order."""
        mask = np.zeros(len(lines), dtype=bool)
        mask[kept] = True
        with _open(folder / f"{side}.txt") as file:
            for line in progress(compress(file, mask), desc=desc, unit=" sentences", total=len(kept)):
                yield line.removesuffix("\n")

    n = min(len(split.train), SAMPLE)
    sample = split.train[np.arange(n) * len(split.train) // n]  # evenly spaced
    src, tgt = (sentences(side, sample, "Vocabulary") for side in ("src", "tgt"))
    learned = Tokenizer.train(src, tgt, tgt_vocab, source=source)
    learned.save(folder / "tokenizer.json")
    sides = {"src": (learned.encode_src, learned.src_vocab), "tgt": (learned.encode_tgt, learned.tgt_vocab)}
    for side, (encode_side, vocab) in sides.items():
        blocks = map(encode_side, chunks(sentences(side, split.train, "Encoding"), 10_000))
        write_flat(folder, side, map(Sequences.from_lists, blocks), np.uint16 if vocab <= 2**16 else np.int32)
    np.save(folder / "lines.npy", lines[split.train])

    held = np.unique(np.concatenate(split.dev))
    src, tgt = (dict(zip(held, sentences(side, held, "Dev"), strict=True)) for side in ("src", "tgt"))
    dev = [(src[item[0]], [tgt[i] for i in item]) for item in split.dev]
    (folder / "split.json").write_text(json.dumps({"report": told, "dev": dev}, ensure_ascii=False), encoding="utf-8")
    for side in ("src", "tgt"):
        (folder / f"{side}.txt").unlink()


def write_flat(folder: Path, side: str, blocks: Iterable[Sequences], dtype: type[np.integer]) -> None:
    """Write SIDE.npy and SIDE_offsets.npy, all the sequences end to end, with one block in memory at a time."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (0,)}
    lengths = []
    with (folder / f"{side}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            lengths.append(block.lengths)
            file.write(block.ids.astype(dtype).tobytes())
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (int(offsets[-1]),)})  # NumPy leaves room for it
    np.save(folder / f"{side}_offsets.npy", offsets)
