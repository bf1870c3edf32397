"""python translate.py TEXT: translate with ONNX Runtime and the files beside this one."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from text import pieces_of, readable
from tokenizers import Tokenizer

HERE = Path(__file__).parent
PAD, BOS, EOS = 0, 1, 2
BATCH = 64  # sentences decoded side by side
saved = json.loads((HERE / "tokenizer.json").read_text(encoding="utf-8"))
source, target = (Tokenizer.from_str(json.dumps(saved[side])) for side in ("src", "tgt"))
encoder, step = (onnxruntime.InferenceSession(str(HERE / f"{name}.onnx")) for name in ("encoder", "step"))


def generate(src: list[list[int]]) -> list[list[int]]:
    """Target ids for a batch of source ids, by greedy search; each row ends in <eos>."""
    width = max(map(len, src))
    ids = np.array([row + [PAD] * (width - len(row)) for row in src])  # (B, S), padded on the right
    keys, values = encoder.run(None, {"src": ids})  # (L, B, H, S, D_head) each
    cache_keys, cache_values = keys[:, :, :, :0], values[:, :, :, :0]  # nothing yet: it grows by one a step
    tokens = np.full(len(src), BOS)
    found, live = [[] for _ in src], set(range(len(src)))
    while live:
        given = {"tokens": tokens, "src": ids, "keys": keys, "values": values}
        given |= {"past_keys": cache_keys, "past_values": cache_values}
        logits, cache_keys, cache_values = step.run(None, given)
        logits[:, [PAD, BOS]] = -np.inf  # never a translation's next token
        tokens = logits.argmax(axis=1)
        for i in list(live):
            if tokens[i] != EOS:
                found[i].append(int(tokens[i]))
            if tokens[i] == EOS or len(found[i]) == 2 * len(src[i]) + 10:
                live.remove(i)
    return found


def translate(text: str) -> str:
    """The text, sentence by sentence; what is not in the source language stays as it is."""
    lines = [pieces_of(line, saved["source"]) for line in text.split("\n")]
    wanted = list(dict.fromkeys(piece for line in lines for piece in line if readable(piece, saved["source"])))
    wanted.sort(key=len)  # similar lengths share a batch
    ids = [[*source.encode(piece).ids, EOS] for piece in wanted]
    rows = [row for i in range(0, len(ids), BATCH) for row in generate(ids[i : i + BATCH])]
    found = {piece: target.decode(row).strip() for piece, row in zip(wanted, rows, strict=True)}
    return "\n".join(" ".join(found.get(piece, piece) for piece in line) for line in lines)


if __name__ == "__main__":
    print(translate(sys.argv[1]))
