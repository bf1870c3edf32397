"""What the translator cannot do, in figures: numbers, names, loops, length, questions, negation, other Chinese.

python -m utils.limits [CHECKPOINT]      a table; --save writes the figures into the checkpoint folder, too
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils import corpus
from utils.checkpoint import CheckpointError
from utils.config import ROOT
from utils.corpus import Corpus, TestItem
from utils.evaluation import load_chinese
from utils.fetch import CorpusError
from utils.files import write_text_atomically
from utils.names import kept, name_items
from utils.numbers import KINDS, items, keeps
from utils.repeats import loops
from utils.runtime import utf8_output
from utils.translate import CHECKPOINT, Translator

SETS = ROOT / "data" / "limits.tsv"

NEGATIVE = re.compile(
    r"\b(?:not|no|never|nothing|nobody|none|nowhere|neither|nor|without|cannot|no one)\b|n't\b", re.IGNORECASE
)
LENGTHS = (7, 12, 20)  # characters: up to 7, 8 to 12, 13 to 20, more
URL = re.compile(r"[\x21-\x7e]{6,}")


class Case(NamedTuple):
    """A sentence of a kind that the corpus lacks, the same in plain modern Chinese, and its English."""

    name: str
    zh: str
    plain: str
    en: str


def cases(path: Path = SETS) -> list[Case]:
    """The small sets of data/limits.tsv."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Case(*line.split("\t")) for line in lines if not line.startswith("#")]


# ------------------------------------------------------------------------------------------------------ figures


def share(kept: Iterable[bool]) -> dict:
    """How many of how many, and the share."""
    kept = list(kept)
    return {"kept": sum(kept), "of": len(kept), "share": round(sum(kept) / max(1, len(kept)), 3)}


def bucket(zh: str) -> str:
    """The length of a source, in characters, as one of four classes."""
    low = 1
    for high in LENGTHS:
        if len(zh) <= high:
            return f"{low}-{high}"
        low = high + 1
    return f"{low}-"


def on_dev(dev: list[TestItem], english: list[str]) -> dict:
    """BLEU, length ratio, questions, negation, and BLEU by length of the source, on dev and its first references."""
    from sacrebleu.metrics import BLEU

    def bleu(triples: list[tuple[str, str, str]]):
        return BLEU().corpus_score([en for _, _, en in triples], [[reference for _, reference, _ in triples]])

    triples = [(item.zh, item.references[0], en) for item, en in zip(dev, english, strict=True)]
    score = bleu(triples)
    by_length: dict[str, list] = {}
    for triple in sorted(triples, key=lambda triple: len(triple[0])):
        by_length.setdefault(bucket(triple[0]), []).append(triple)
    asked = [en.endswith("?") for zh, reference, en in triples if zh.endswith("?") and reference.endswith("?")]
    denied = [bool(NEGATIVE.search(en)) for zh, ref, en in triples if re.search("[不没]", zh) and NEGATIVE.search(ref)]
    return {
        "bleu": round(score.score, 2),
        "length_ratio": round(score.sys_len / score.ref_len, 3),
        "questions": share(asked),
        "negation": share(denied),
        "bleu_by_length": {
            name: {"bleu": round(bleu(some).score, 1), "of": len(some)} for name, some in by_length.items()
        },
    }


def on_sets(sets: list[Case], translate) -> dict:
    """Each set beside the same sentences in plain Chinese: chrF of both, and how many translations are the same.

    Of the URLs: how many are in the translation, letter for letter.
    """
    from sacrebleu.metrics import CHRF

    found = {}
    for name in dict.fromkeys(case.name for case in sets):
        some = [case for case in sets if case.name == name]
        english = translate([case.zh for case in some])
        if name == "URL":
            found[name] = share(URL.search(case.zh)[0] in en for case, en in zip(some, english, strict=True))
            continue
        plain, references = translate([case.plain for case in some]), [[case.en for case in some]]
        found[name] = {
            "chrf": round(CHRF().corpus_score(english, references).score, 1),
            "chrf_plain": round(CHRF().corpus_score(plain, references).score, 1),
            "same": share(one == other for one, other in zip(english, plain, strict=True)),
        }
    return found


def limits(translator: Translator, beam_size: int = 4, data: Corpus | None = None, n: int = 1000) -> dict:
    """Every figure; about two minutes of one thread. `n` numbers, a fifth of them in dev sentences."""
    data = data or corpus.load()

    def translate(texts: list[str]) -> list[str]:
        return translator.translate(texts, beam_size)

    numbers = items(data.dev, data.train, n, n // 5)
    right = [keeps(en, item) for item, en in zip(numbers, translate([item.zh for item in numbers]), strict=True)]
    both = list(zip(numbers, right, strict=True))
    names = name_items(data.dev, data.train, n // 5)
    named = zip(names, translate([item.zh for item in names]), strict=True)
    dev, test = (translate([item.zh for item in part]) for part in (data.dev, data.test))
    looped = {
        split: [{"zh": item.zh, "en": en} for item, en in zip(part, english, strict=True) if loops(item.zh, en)]
        for split, part, english in (("dev", data.dev, dev), ("test", data.test, test))
    }
    return {
        "numbers": {kind: share(ok for item, ok in both if item.number.kind == kind) for kind in KINDS},
        "numbers_all": share(right),
        "numbers_in_dev_sentences": share(ok for item, ok in both if item.source == "dev"),
        "names": share(kept(name, en) for item, en in named for name in item.names),
        "loops": {split: {"loops": len(found), "of": len(getattr(data, split))} for split, found in looped.items()},
        "looped": looped,
        **on_dev(data.dev, dev),
        "sets": on_sets(cases(), translate),
    }


def table(figures: dict) -> str:
    """The figures as a Markdown table."""

    def percent(found: dict) -> str:
        return f"{100 * found['share']:.0f} % of {found['of']:,}"

    rows = [(f"numbers kept: {kind}", percent(found)) for kind, found in figures["numbers"].items()]
    rows += [("numbers kept: all", percent(figures["numbers_all"]))]
    rows += [("numbers kept: in dev sentences", percent(figures["numbers_in_dev_sentences"]))]
    rows += [("names in Latin letters kept", percent(figures["names"]))]
    rows += [(f"loops, {split}", f"{found['loops']} of {found['of']:,}") for split, found in figures["loops"].items()]
    rows += [("BLEU, dev", f"{figures['bleu']:.1f}")]
    rows += [("length of the output / of the reference, dev", f"{figures['length_ratio']:.3f}")]
    rows += [("questions that stay questions, dev", percent(figures["questions"]))]
    rows += [("negation kept, dev", percent(figures["negation"]))]
    for name, found in figures["bleu_by_length"].items():
        rows += [(f"BLEU, sources of {name} characters, dev", f"{found['bleu']:.1f} of {found['of']:,}")]
    for name, found in figures["sets"].items():
        if "chrf" in found:
            rows += [(f"chrF, {name} / the same in plain Chinese", f"{found['chrf']:.1f} / {found['chrf_plain']:.1f}")]
            rows += [(f"{name}: translated as the plain sentence", percent(found["same"]))]
        else:
            rows += [(f"{name} kept", percent(found))]
    return "\n".join(["| what | figure |", "| --- | ---: |", *(f"| {what} | {figure} |" for what, figure in rows)])


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.limits", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", type=Path, default=CHECKPOINT)
    parser.add_argument("--beam-size", type=int, default=4)
    parser.add_argument("--save", action="store_true", help="write limits.json into the checkpoint folder, too")
    args = parser.parse_args(argv)
    try:
        figures = limits(load_chinese(args.checkpoint), args.beam_size)
        if args.save:
            text = json.dumps(figures, ensure_ascii=False, indent=2) + "\n"
            write_text_atomically(args.checkpoint / "limits.json", text)
    except (CheckpointError, CorpusError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
