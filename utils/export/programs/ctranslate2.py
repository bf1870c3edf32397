"""python translate.py TEXT: translate with CTranslate2 and the files beside this one."""

import json
import sys
from pathlib import Path

import ctranslate2
from text import pieces_of, readable
from tokenizers import Tokenizer

HERE = Path(__file__).parent
saved = json.loads((HERE / "tokenizer.json").read_text(encoding="utf-8"))
source, target = (Tokenizer.from_str(json.dumps(saved[side])) for side in ("src", "tgt"))
# compute_type="int8": a quarter of the memory, faster, and now and then another word. device="cuda": a GPU.
model = ctranslate2.Translator(str(HERE), device="cpu", compute_type="float32")


def generate(
    src: list[list[int]],
    beam_size: int = 4,  # 1 is greedy search
    length_penalty=1.75,  # chosen on dev: with 1, the default of CTranslate2, translations are shorter
) -> list[list[int]]:
    """Target ids for source ids; each row ends in <eos>. Rows are taken in batches of similar lengths."""
    limits = [2 * len(row) + 10 for row in src]
    found = model.translate_batch(
        [[source.id_to_token(i) for i in row] for row in src],
        max_batch_size=64,
        beam_size=beam_size,
        length_penalty=length_penalty,
        patience=2,  # with 1 it stops as soon as `beam_size` hypotheses have ended, however good the live ones are
        max_decoding_length=max(limits),
        suppress_sequences=[["<pad>"], ["<bos>"]],
    )
    rows = [[target.token_to_id(token) for token in result.hypotheses[0]] for result in found]
    return [row[:limit] for row, limit in zip(rows, limits, strict=True)]


def translate(text: str) -> str:
    """The text, sentence by sentence; what is not in the source language stays as it is."""
    lines = [pieces_of(line, saved["source"]) for line in text.split("\n")]
    wanted = list(dict.fromkeys(piece for line in lines for piece in line if readable(piece, saved["source"])))
    ids = generate([[*source.encode(piece).ids, source.token_to_id("<eos>")] for piece in wanted]) if wanted else []
    found = {piece: target.decode(row).strip() for piece, row in zip(wanted, ids, strict=True)}
    return "\n".join(" ".join(found.get(piece, piece) for piece in line) for line in lines)


if __name__ == "__main__":
    print(translate(sys.argv[1]))
