"""How good is it? BLEU and chrF with sacrebleu, and compounds that training never saw (lesson 08b).

python -m utils.evaluation [CHECKPOINT]      the figures of the test split, as JSON
"""

import argparse
import json
import sys
from pathlib import Path

from utils import corpus, dictionary
from utils.checkpoint import CheckpointError
from utils.corpus import CorpusError, TestItem
from utils.decoding import checked
from utils.files import write_text_atomically
from utils.runtime import utf8_output
from utils.text import HAN
from utils.translate import CHECKPOINT, LENGTH_PENALTY, NO_REPEAT, PRECISIONS, Translator, load_translator

# The search without what was chosen, on dev, for the translator that ships: other models are compared with it by this.
PLAIN_SEARCH = {"length_penalty": 1.0, "no_repeat": 0}


def scores(hypotheses: list[str], items: list[TestItem]) -> dict[str, float | str]:
    """Corpus BLEU and chrF against each item's first reference, and BLEU against all of them, sacrebleu's defaults."""
    from sacrebleu.metrics import BLEU, CHRF

    first = [[item.references[0] for item in items]]
    most = max(len(item.references) for item in items)
    # sacrebleu wants the k-th reference of every item as one list, None where there is no k-th.
    every = [[item.references[k] if k < len(item.references) else None for item in items] for k in range(most)]
    words = "zh" if HAN.search(first[0][0]) else "13a"  # sacrebleu's ways to cut: each Chinese character is a word
    bleu, chrf = BLEU(tokenize=words), CHRF()
    figures = {
        "bleu": round(bleu.corpus_score(hypotheses, first).score, 2),
        "chrf": round(chrf.corpus_score(hypotheses, first).score, 2),
        "bleu_multi": round(BLEU(tokenize=words).corpus_score(hypotheses, every).score, 2),
    }
    return figures | {"bleu_signature": str(bleu.get_signature()), "chrf_signature": str(chrf.get_signature())}


def evaluate(
    translator: Translator,
    items: list[TestItem],
    beam_size: int = 4,
    length_penalty: float = LENGTH_PENALTY,
    no_repeat: int = NO_REPEAT,
) -> dict:
    """Translate the items and score them; the other settings are those of `Translator.translate`."""
    return scores(translator.translate([item.zh for item in items], beam_size, length_penalty, no_repeat), items)


def compounds(
    translator: Translator,
    items: list[TestItem] | None = None,
    length_penalty: float = LENGTH_PENALTY,
    no_repeat: int = NO_REPEAT,
) -> list[tuple[str, str, bool]]:
    """Every compound, those of the test if none are given, with the model's translation and whether it is right."""
    items = dictionary.unseen() if items is None else items
    english = translator.translate([item.zh for item in items], length_penalty=length_penalty, no_repeat=no_repeat)
    return [(i.zh, en, dictionary.matches(en, i)) for i, en in zip(items, english, strict=True)]


def load_chinese(checkpoint: Path, precision: str = "float32") -> Translator:
    """A checkpoint's translator; CheckpointError, one sentence, where it does not read Chinese, as the splits ask."""
    translator = load_translator(checkpoint, precision=precision)
    if translator.tokenizer.source != "zh":
        raise CheckpointError(
            f"The model in {checkpoint} does not read Chinese; only one that does can be scored here."
        )
    return translator


def figures(checkpoint: Path, split: str, beam_size: int, precision: str = "float32") -> dict:
    """All that the command prints: the scores of a split, also by the plain search, and the unseen compounds."""
    translator = load_chinese(checkpoint, precision)
    beam_size, *_ = checked(beam_size)
    found, items = compounds(translator), getattr(corpus.load(), split)
    plain = evaluate(translator, items, beam_size, **PLAIN_SEARCH)
    plain["compounds_right"] = sum(right for _, _, right in compounds(translator, **PLAIN_SEARCH))
    return {
        "split": split,
        "beam_size": beam_size,
        "precision": translator.precision,
        "parameters": sum(p.numel() for p in translator.model.parameters()),
        **evaluate(translator, items, beam_size),
        "plain_search": {key: plain[key] for key in ("bleu", "chrf", "bleu_multi", "compounds_right")},
        "compounds_right": sum(right for _, _, right in found),
        "compounds": {zh: en + (" (right)" if right else "") for zh, en, right in found},
    }


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.evaluation", description="Score a checkpoint.")
    parser.add_argument("checkpoint", nargs="?", type=Path, default=CHECKPOINT)
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--beam-size", type=int, default=4)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="numbers that the model computes in")
    parser.add_argument("--save", action="store_true", help="write evaluation.json into the checkpoint folder, too")
    args = parser.parse_args(argv)
    try:
        found = figures(args.checkpoint, args.split, args.beam_size, args.precision)
        text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
        print(text, end="")
        if args.save:
            write_text_atomically(args.checkpoint / "evaluation.json", text)
    except (CheckpointError, CorpusError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
