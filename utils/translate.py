"""The front door: load a checkpoint, translate, look at where it looked (lesson 08, "Your own sentences (deeper)").

python -m utils.translate "我喜欢学习。"      one translation
python -m utils.translate - < lines.txt      one translation a line, in order
"""

import argparse
import re
import sys
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from utils.batching import chunks, pad
from utils.checkpoint import CheckpointError, load_model
from utils.config import CHECKPOINT
from utils.decoding import beam, checked, greedy
from utils.repeats import NoRepeat, loops
from utils.runtime import has_fast_bfloat16, in_parallel, pick_device, utf8_output
from utils.text import clean_source, pieces_of, readable, whole_characters
from utils.tokenizer import BOS, SPECIALS, Tokenizer

BATCH = 64  # sentences decoded side by side
LENGTH_PENALTY = 1.75  # chosen on dev (lesson 08b, "Short costs: choose on dev (deeper)")
NO_REPEAT = 2  # chosen on dev (lesson 08b, "Said twice (deeper)")
PRECISIONS = ("float32", "bfloat16", "auto")


class Alignment(NamedTuple):
    """Where each target token looked in the source; both token lists end in their end mark."""

    src_tokens: list[str]
    tgt_tokens: list[str]
    weights: Float[Tensor, "layers heads T_tgt T_src"]


def laid_out_for_few_rows(model: nn.Module) -> nn.Module:
    """The model, each weight matrix W (out, in) of a linear layer now stored column after column: nothing else changes.

    Search multiplies few rows at a time, x W^T, and reads W^T row after row then.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight.device.type == "cpu":
            module.weight.data = module.weight.data.t().contiguous().t()
    return model


def most_tokens(src: list[list[int]]) -> list[int]:
    """At how many tokens the search for each source's translation ends: ample room, the same in every batch.

    English needs fewer tokens than Chinese characters.
    """
    return [2 * len(ids) + 10 for ids in src]


class Translator:
    """A model and its tokenizer, ready for text of any kind.

    precision: "float32"; "bfloat16", which halves the memory, is faster on a processor that multiplies it, and changes
    some translations (lesson 08b, "Half the bits (deeper)"); or "auto", the faster of the two on this device.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, device: torch.device, precision: str = "float32"):
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}.")
        if precision == "auto":
            precision = "bfloat16" if has_fast_bfloat16(device) else "float32"
        self.tokenizer, self.device, self.precision = tokenizer, device, precision
        if precision == "bfloat16":
            self.model = model.to(device, torch.bfloat16).eval()
        else:
            self.model = laid_out_for_few_rows(model.to(device).eval())

    def translate(
        self,
        text: str | list[str],
        beam_size: int = 4,
        length_penalty: float = LENGTH_PENALTY,
        no_repeat: int = NO_REPEAT,
    ) -> str | list[str]:
        """English for source text: str -> str, list of str -> list of str in the same order.

        Long texts are translated sentence by sentence and line by line, nothing is dropped. What is not in the source
        language stays as it is: a URL or a tag and, where the source is Chinese, a sentence without a Chinese
        character. beam_size 1 is greedy search; a larger length_penalty favors longer translations. A sentence that
        repeats what its source does not is searched for once more, and no run of `no_repeat` tokens stands twice in it
        then (0: it stays as it is). Raises TypeError or ValueError with one sentence.
        """
        if isinstance(text, str):
            return self.translate([text], beam_size, length_penalty, no_repeat)[0]
        if not isinstance(text, list) or not all(isinstance(t, str) for t in text):
            found = type(text).__name__ if not isinstance(text, list) else "a list with something else in it"
            raise TypeError(f"translate takes a str or a list of str, not {found}.")
        beam_size, length_penalty, no_repeat = checked(beam_size, length_penalty, no_repeat)

        def searched(pieces: list[str], no_repeat: int = 0) -> dict[str, str]:
            batches = list(chunks(pieces, BATCH))
            settings = beam_size, length_penalty, no_repeat
            found = in_parallel(lambda batch: self.translate_batch(batch, *settings), batches, self.device)
            return dict(zip(pieces, chain(*found), strict=True))

        # Cut: each text is lines, each line is pieces.
        texts = [[self.pieces(line) for line in t.split("\n")] for t in text]
        # Translate each distinct piece. Similar lengths share a batch: little padding.
        distinct = dict.fromkeys(piece for lines in texts for line in lines for piece in line if self.reads(piece))
        english = searched(sorted(distinct, key=len, reverse=True))
        if no_repeat:
            english |= searched([piece for piece in english if loops(piece, english[piece])], no_repeat)
        # Join: what was not translated stays.
        return ["\n".join(" ".join(english.get(piece, piece) for piece in line) for line in lines) for lines in texts]

    def pieces(self, line: str) -> list[str]:
        """The line cleaned and cut into sentences; a line of which nothing can be translated stays whole."""
        return pieces_of(line, self.tokenizer.source)

    def reads(self, piece: str) -> bool:
        """Whether the piece is text in the source language."""
        return readable(piece, self.tokenizer.source)

    def translate_batch(
        self, sentences: list[str], beam_size: int = 4, length_penalty: float = LENGTH_PENALTY, no_repeat: int = 0
    ) -> list[str]:
        """One batch of clean sentences through the model."""
        found = self.generate(self.tokenizer.encode_src(sentences), beam_size, length_penalty, no_repeat)
        return [self.tokenizer.decode(ids) for ids in found]

    def generate(
        self, src: list[list[int]], beam_size: int = 4, length_penalty: float = LENGTH_PENALTY, no_repeat: int = 0
    ) -> list[list[int]]:
        """One batch of source ids, each row ending in <eos>: the target ids found for each, without marks.

        no_repeat: no run of so many tokens stands twice in any translation; 0, the default here: there is no such rule.
        """
        beam_size, length_penalty, no_repeat = checked(beam_size, length_penalty, no_repeat)
        if not src:
            return []
        batch, model = pad(src).to(self.device), NoRepeat(self.model, no_repeat) if no_repeat else self.model
        max_len = most_tokens(src)
        if beam_size == 1:
            return greedy(model, batch, max_len)
        return beam(model, batch, max_len, beam_size, length_penalty)

    @torch.inference_mode()
    def attend(self, text: str, beam_size: int = 4) -> Alignment:
        """Translate one sentence and return its tokens and the cross-attention of every layer and head."""
        if not isinstance(text, str):
            raise TypeError(f"attend takes one sentence as a str, not {type(text).__name__}.")
        sentence = clean_source(whole_characters(text), self.tokenizer.source)
        if not sentence:
            raise ValueError("attend needs a sentence with at least one character.")
        src = self.tokenizer.encode_src([sentence])
        (ids,) = self.generate(src, beam_size)
        if loops(sentence, self.tokenizer.decode(ids)):  # as `translate` does
            (ids,) = self.generate(src, beam_size, no_repeat=NO_REPEAT)
        # Position t of the target predicts token t, the last one <eos>.
        src_ids, tgt_ids = (torch.tensor(rows, device=self.device) for rows in (src, [[BOS, *ids]]))
        weights = self.model.cross_attention_weights(src_ids, tgt_ids)[0].float().cpu()
        return Alignment(self.tokenizer.src_tokens(src[0]), [*self.tokenizer.tgt_tokens(ids), "<eos>"], weights)


def refuse_others(checkpoint: str | Path, model: nn.Module, tokenizer: Tokenizer) -> None:
    """CheckpointError where a checkpoint's model is no translator: it only reads, or it only writes."""
    if not hasattr(model, "step"):
        what = "reads and does not write"
    elif tokenizer.src_vocab <= len(SPECIALS):  # whatever it is given it would see as <unk>, and invent the rest
        what = "is a language model, whose source vocabulary is empty"
    else:
        return
    raise CheckpointError(f"The model in {checkpoint} {what}; give the folder of a translator.")


def load_translator(
    checkpoint: str | Path = CHECKPOINT, device: str | None = None, precision: str = "float32"
) -> Translator:
    """The translator of a checkpoint folder, by default the one that ships in data/checkpoints/zh-en.

    device: cpu, cuda or mps (default: cuda where there is a GPU); precision as in `Translator`. CheckpointError, one
    sentence, where the folder cannot be loaded or holds no translator.
    """
    where = pick_device(device)
    model, tokenizer = load_model(checkpoint, where)
    refuse_others(checkpoint, model, tokenizer)
    return Translator(model, tokenizer, where, precision)


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.translate", description="Translate Chinese into English.")
    parser.add_argument("text", help="the text, or - to read lines from standard input")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--beam-size", type=int, default=4, help="1 is greedy search")
    parser.add_argument("--device", help="cpu, cuda or mps")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="numbers that the model computes in")
    # No option begins like "-5度": with a space before it, argparse takes it for what it is, text.
    argv = sys.argv[1:] if argv is None else argv
    args = parser.parse_args([" " + a if re.match(r"--?[^-a-zA-Z]", a) else a for a in argv])
    try:
        translator = load_translator(args.checkpoint, args.device, args.precision)
        if args.text != "-":
            print(translator.translate(args.text, args.beam_size))
            return 0
        sys.stdin.reconfigure(encoding="utf-8", errors="replace", newline="\n")
        # At a terminal answer every line at once; from a file or pipe, many lines share a batch.
        for lines in chunks(sys.stdin, 1 if sys.stdin.isatty() else 256):
            for english in translator.translate([line.rstrip("\r\n") for line in lines], args.beam_size):
                print(english, flush=sys.stdin.isatty())
        return 0
    except (CheckpointError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has seen enough (| head)
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
