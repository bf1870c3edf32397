"""More training pairs made by models: one side is a training sentence, the other its translation (lesson 08b).

python -m utils.synthetic CHECKPOINT ... --out pairs.tsv      the training sentences in the language that it reads
python -m utils.synthetic CHECKPOINT ... --out pairs.tsv --nearest      of each beam that most like people's

A Chinese-English model writes English for the Chinese of the training pairs: sequence distillation (arXiv 1606.07947).
An English-Chinese model (`python -m utils.training --reverse`) writes Chinese for their English: back-translation
(arXiv 1511.06709). All models' pairs together are data diversification (arXiv 1911.01986). With --nearest the model's
best translation is not taken, but that of the beam which is most like people's: sequence-level interpolation
(arXiv 1606.07947, section 3.3).
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from tqdm import tqdm

from utils import corpus, dictionary
from utils.batching import chunks, pad
from utils.checkpoint import CheckpointError
from utils.corpus import Corpus, CorpusError, Pair
from utils.decoding import checked, hypotheses
from utils.ensemble import load_ensemble
from utils.files import make_folder, write_files
from utils.provenance import command
from utils.repeats import loops
from utils.runtime import set_threads, utf8_output
from utils.text import HAN
from utils.translate import BATCH, Translator, most_tokens

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


def sources(data: Corpus, language: str = "zh") -> dict[str, list[str]]:
    """The distinct training sentences of a language, each with people's translations, in the order of the pairs."""
    found: dict[str, list[str]] = {}
    for pair in data.train:
        source, target = pair if language == "zh" else reversed(pair)
        found.setdefault(source, []).append(target)
    return found


def translations(translate: Callable[[list[str]], list[str]], texts: list[str], kept: Path) -> list[str]:
    """Their translations. Each piece of them is added to the file `kept` when it is done, and read there later."""
    done: list[str] = []
    if kept.exists():
        lines = kept.read_text(encoding="utf-8").split("\n")
        done = [json.loads(line) for line in lines[:-1]]  # the last line may be cut off
    kept.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in done), encoding="utf-8")
    with kept.open("a", encoding="utf-8") as file, tqdm(total=len(texts), initial=len(done), unit=" sentences") as bar:
        while len(done) < len(texts):
            piece = [" ".join(text.split()) for text in translate(texts[len(done) : len(done) + PIECE])]
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in piece))
            file.flush()
            done += piece
            bar.update(len(piece))
    return done


def nearest(
    translator: Translator, texts: list[str], references: list[list[str]], beam_size: int, length_penalty: float
) -> list[str]:
    """For each text that one of all the beam's translations which is likest to people's (`likeness`)."""
    order, found = sorted(range(len(texts)), key=lambda i: len(texts[i])), [""] * len(texts)
    for batch in chunks(order, BATCH):
        src = translator.tokenizer.encode_src([texts[i] for i in batch])
        batch_src = pad(src).to(translator.device)
        beams = hypotheses(translator.model, batch_src, most_tokens(src), beam_size, length_penalty)
        for i, beam in zip(batch, beams, strict=True):
            english = list(dict.fromkeys(translator.tokenizer.decode(ids) for ids in beam))
            found[i] = max(english, key=partial(likeness, references=references[i]))
    return found


def likeness(text: str, references: list[str]) -> float:
    """How much a translation is like any of people's: the mean of its own BLEU and chrF, 0 to 100."""
    both = measures("zh" if HAN.search(references[0]) else "13a")
    return sum(measure.sentence_score(text, references).score for measure in both) / 2


@cache
def measures(words: str):
    """sacrebleu's BLEU and chrF, made once: `words` is how BLEU cuts them. A sentence too short for runs of four words
    is judged by shorter runs; where it has none in common with people's, sacrebleu counts a small share all the same.
    """
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(tokenize=words, effective_order=True), CHRF()


def write(
    checkpoints: list[Path],
    out: Path,
    beam_size: int = 4,
    length_penalty: float = 1.0,
    limit: int | None = None,
    likest: bool = False,
) -> dict:
    """Translate the training sentences and write the pairs that are usable to `out`, Chinese, tab, English.

    Several checkpoints translate together, as an ensemble. likest: of the beam's translations that which is `nearest`
    to people's, not the best by the model. Beside `out`, `out`.json tells what was dropped, and the hash of the file. A
    call that was stopped goes on where it was. ValueError, one sentence, for a setting that cannot be.
    """
    beam_size, length_penalty, _ = checked(beam_size, length_penalty)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    if out.is_dir():
        raise ValueError(f"{out} is a folder: name the file of pairs to write.")
    translator, data = load_ensemble(checkpoints), corpus.load()
    people = sources(data, translator.tokenizer.source)
    texts = list(people)[:limit]

    def translate(piece: list[str]) -> list[str]:
        if likest:
            return nearest(translator, piece, [people[text] for text in piece], beam_size, length_penalty)
        return translator.translate(piece, beam_size, length_penalty, no_repeat=0)

    weights = hashlib.sha256(b"".join((one / "model.safetensors").read_bytes() for one in checkpoints)).hexdigest()
    make_folder(out.parent)
    # Of another checkpoint, another search or more sentences: another file.
    settings = f"{beam_size}-{length_penalty:g}{'-nearest' * likest}{f'-of-{limit}' if limit else ''}"
    part = out.with_name(f"{out.name}.{weights[:8]}-{settings}.part")
    began = time.process_time()
    translated = translations(translate, texts, part)
    forward = translator.tokenizer.source == "zh"
    made = [Pair(a, b) if forward else Pair(b, a) for a, b in zip(texts, translated, strict=True)]
    pairs, dropped = usable(made, data)
    text = "".join(f"{pair.zh}\t{pair.en}\n" for pair in pairs)
    log = {
        "model": weights,
        "direction": "zh-en" if forward else "en-zh",
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "nearest": likest,
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
    """The pairs of a file that `write` wrote.

    ValueError, one sentence, where it is no text, or where a line is no pair or is held out.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"Cannot read {path} as UTF-8 text: give a file of `python -m utils.synthetic`.") from None
    pairs = []
    for number, line in enumerate(lines, start=1):
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
    add("--nearest", action="store_true", help="of the beam's translations take that which is most like people's")
    add("--limit", type=int, help="only so many sentences")
    add("--threads", type=int, help="CPU threads (default: all cores)")
    args = parser.parse_args(argv)
    try:
        set_threads(args.threads)
        log = write(args.checkpoints, args.out, args.beam_size, args.length_penalty, args.limit, args.nearest)
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
