"""More training pairs made by models: one side is a training sentence, the other its translation (lesson 08b).

python -m utils.synthetic CHECKPOINT ... --out pairs.tsv      the training sentences in the language that it reads

A Chinese-English model writes English for the Chinese of the training pairs: sequence distillation (arXiv 1606.07947).
An English-Chinese model (`python -m utils.training --reverse`) writes Chinese for their English: back-translation
(arXiv 1511.06709). All models' pairs together are data diversification (arXiv 1911.01986).
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from utils import corpus, dictionary
from utils.checkpoint import CheckpointError
from utils.corpus import Corpus, CorpusError, Pair
from utils.ensemble import load_ensemble
from utils.files import write_files
from utils.provenance import command
from utils.repeats import loops
from utils.runtime import set_threads, utf8_output
from utils.translate import Translator

PIECE = 2000  # sentences translated between two saves


class HeldOut:
    """What no training may see: dev and test, and the compounds of both.

    A pair is held out if either side is a dev or test sentence or a reference, apart from case and punctuation, or if
    its Chinese contains a compound.
    """

    def __init__(self, data: Corpus):
        items = [*data.dev, *data.test]
        self.sentences = {dictionary.bare(text) for item in items for text in (item.zh, *item.references)}
        self.compounds = re.compile(
            "|".join(item.zh for item in dictionary.unseen() + dictionary.unseen(dictionary.UNSEEN_DEV))
        )

    def has(self, pair: Pair) -> bool:
        return bool(self.compounds.search(pair.zh)) or not self.sentences.isdisjoint(map(dictionary.bare, pair))

    def filtered(self, pairs: Iterable[Pair]) -> list[Pair]:
        """The pairs that training may see."""
        return [pair for pair in pairs if not self.has(pair)]


def keeps_digits(pair: Pair) -> bool:
    """Whether the same numbers stand on both sides, as far as they are written in digits."""
    zh, en = (Counter(re.findall(r"\d+", side)) for side in pair)
    return zh == en


def usable(pairs: Iterable[Pair], data: Corpus) -> tuple[list[Pair], dict[str, int]]:
    """The pairs that may join the training pairs, each once, and why how many others do not.

    Dropped are pairs that are held out (see HeldOut), empty on a side, already in the training split, with other
    digits on the other side, and those whose English repeats what the Chinese does not (`repeats.loops`).
    """
    held_out, train, kept = HeldOut(data), set(data.train), {}
    dropped = dict.fromkeys(("empty", "held out", "in train", "repeated", "other digits", "loops"), 0)
    for pair in pairs:
        if not all(map(dictionary.bare, pair)):
            dropped["empty"] += 1
        elif held_out.has(pair):
            dropped["held out"] += 1
        elif pair in train:
            dropped["in train"] += 1
        elif pair in kept:
            dropped["repeated"] += 1
        elif not keeps_digits(pair):
            dropped["other digits"] += 1
        elif loops(*pair):
            dropped["loops"] += 1
        else:
            kept[pair] = None
    return list(kept), dropped


def sources(translator: Translator, data: Corpus) -> list[str]:
    """The distinct training sentences of the language that the translator reads, in the order of the training pairs."""
    side = "zh" if translator.tokenizer.source == "zh" else "en"
    return list(dict.fromkeys(getattr(pair, side) for pair in data.train))


def translations(
    translator: Translator, texts: list[str], beam_size: int, length_penalty: float, kept: Path
) -> list[str]:
    """Their translations. Each piece of them is added to the file `kept` when it is done, and read there later."""
    done: list[str] = []
    if kept.exists():
        lines = kept.read_text(encoding="utf-8").split("\n")
        done = [json.loads(line) for line in lines[:-1]]  # the last line may be cut off
    kept.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in done), encoding="utf-8")
    with kept.open("a", encoding="utf-8") as file, tqdm(total=len(texts), initial=len(done), unit=" sentences") as bar:
        while len(done) < len(texts):
            piece = translator.translate(texts[len(done) : len(done) + PIECE], beam_size, length_penalty, no_repeat=0)
            piece = [" ".join(text.split()) for text in piece]
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in piece))
            file.flush()
            done += piece
            bar.update(len(piece))
    return done


def write(
    checkpoints: list[Path], out: Path, beam_size: int = 4, length_penalty: float = 1.0, limit: int | None = None
) -> dict:
    """Translate the training sentences and write the pairs that are usable to `out`, Chinese, tab, English.

    Several checkpoints translate together, as an ensemble. Beside `out`, `out`.json tells what was dropped, and the
    hash of the file. A call that was stopped goes on where it was.
    """
    translator, data = load_ensemble(checkpoints), corpus.load()
    texts = sources(translator, data)[:limit]
    weights = hashlib.sha256(b"".join((one / "model.safetensors").read_bytes() for one in checkpoints)).hexdigest()
    out.parent.mkdir(parents=True, exist_ok=True)
    # Of another checkpoint or another search: another file.
    part = out.with_name(f"{out.name}.{weights[:8]}-{beam_size}-{length_penalty:g}.part")
    began = time.process_time()
    translated = translations(translator, texts, beam_size, length_penalty, part)
    forward = translator.tokenizer.source == "zh"
    made = [Pair(a, b) if forward else Pair(b, a) for a, b in zip(texts, translated, strict=True)]
    pairs, dropped = usable(made, data)
    text = "".join(f"{pair.zh}\t{pair.en}\n" for pair in pairs)
    log = {
        "model": weights,
        "direction": "zh-en" if forward else "en-zh",
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "sentences": len(texts),
        "minutes": round((time.process_time() - began) / 60, 1),
        "dropped": dropped,
        "pairs": len(pairs),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    write_files(out.parent, {out.name: text, out.name + ".json": json.dumps(log, indent=1) + "\n"})
    part.unlink()
    return log


def read(path: Path, held_out: HeldOut) -> list[Pair]:
    """The pairs of a file that `write` wrote; ValueError, one sentence, where a line is no pair or is held out."""
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) != 2:
            raise ValueError(f"{path}, line {number}: expected Chinese, one tab, English; found {line[:60]!r}.")
        pairs.append(Pair(*cells))
        if held_out.has(pairs[-1]):
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is a sentence of dev or test; write the file anew.")
    return pairs


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.synthetic", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", help="checkpoint folder, of either direction; several make an ensemble")
    add("--out", type=Path, required=True, help="the file of pairs to write")
    add("--beam-size", type=int, default=4, help="1 is greedy search")
    add("--length-penalty", type=float, default=1.0, help="more than 1 favours longer translations (default: 1)")
    add("--limit", type=int, help="only so many sentences")
    add("--threads", type=int, help="CPU threads (default: all cores)")
    args = parser.parse_args(argv)
    try:
        set_threads(args.threads)
        log = write(args.checkpoints, args.out, args.beam_size, args.length_penalty, args.limit)
    except (CheckpointError, CorpusError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130
    print(json.dumps(log | {"command": command("utils.synthetic", argv)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
