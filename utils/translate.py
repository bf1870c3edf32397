"""The front door: load a checkpoint, translate, look at where it looked.

python -m utils.translate "我喜欢学习。"      one translation
python -m utils.translate - < lines.txt      one translation a line, in order
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from utils.batching import chunks, pad
from utils.checkpoint import CheckpointError, load_model
from utils.config import CHECKPOINT
from utils.decoding import beam, greedy
from utils.runtime import in_parallel, pick_device
from utils.text import clean
from utils.tokenizer import BOS, Tokenizer

LONGEST = 60  # characters in one piece; the model was trained on sentences of about twelve
BATCH = 64  # sentences decoded side by side

SENTENCE = re.compile(r"[^。!?;…]*[。!?;…]+[\"'”’」』)]*|[^。!?;…]+")
CLAUSE = re.compile(r"[^,、:\s]*[,、:\s]+|[^,、:\s]+")
CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
ANYTHING = re.compile(r"\S")


class Alignment(NamedTuple):
    """Where each target token looked in the source; both token lists end in their end mark."""

    src_tokens: list[str]
    tgt_tokens: list[str]
    weights: Float[Tensor, "layers heads T_tgt T_src"]


def split_sentences(text: str) -> list[str]:
    """Cut cleaned text into pieces the model can take, at most LONGEST characters each; joined they give the text.

    First after sentence marks; what is still too long after commas and spaces; what is still too long anywhere.
    """
    pieces: list[str] = []
    for sentence in SENTENCE.findall(text):
        if len(sentence) <= LONGEST:
            pieces.append(sentence)
            continue
        piece = ""
        for clause in CLAUSE.findall(sentence):
            if piece and len(piece) + len(clause) > LONGEST:
                pieces.append(piece)
                piece = ""
            piece += clause
            while len(piece) > LONGEST:
                pieces.append(piece[:LONGEST])
                piece = piece[LONGEST:]
        if piece:
            pieces.append(piece)
    return pieces


def whole_characters(text: str) -> str:
    """The text with "?" for half surrogate pairs, which are no text and which the cleaning would stumble over."""
    return text.encode(errors="replace").decode()


def pieces(line: str) -> list[str]:
    """One line as the model may get it: its sentences, cleaned; a line without a Chinese character stays whole."""
    line = whole_characters(line)
    cleaned = clean(line)
    return split_sentences(cleaned) if CHINESE.search(cleaned) else [" ".join(line.split())]


class Translator:
    """A model and its tokenizer, ready for text of any kind."""

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, device: torch.device):
        self.model, self.tokenizer, self.device = model.to(device).eval(), tokenizer, device
        # A model trained on pairs of one's own may have learned to read another script.
        reads_chinese = any(CHINESE.match(character) for character in tokenizer.src.get_vocab())
        self.readable = CHINESE if reads_chinese else ANYTHING

    def translate(self, text: str | list[str], beam_size: int = 4, length_penalty: float = 1.0) -> str | list[str]:
        """English for Chinese: str -> str, list of str -> list of str in the same order.

        Long texts are translated sentence by sentence and line by line, nothing is dropped. A sentence without a
        single Chinese character (Latin text, numbers, emoji) is not translated, unless the model was trained on pairs
        whose source is not Chinese. beam_size 1 is greedy search.
        """
        if isinstance(text, str):
            return self._translate([text], beam_size, length_penalty)[0]
        if not isinstance(text, list) or not all(isinstance(t, str) for t in text):
            found = type(text).__name__ if not isinstance(text, list) else "a list with something else in it"
            raise TypeError(f"translate takes a str or a list of str, not {found}.")
        return self._translate(text, beam_size, length_penalty)

    def _translate(self, texts: list[str], beam_size: int, length_penalty: float) -> list[str]:
        if not isinstance(beam_size, int) or beam_size < 1:
            raise ValueError(f"beam_size is {beam_size!r}; it must be a whole number, 1 (greedy) or more.")
        # texts -> lines -> sentences; `results` holds each sentence's English at the same three addresses.
        results = [[pieces(line) for line in text.split("\n")] for text in texts]
        todo = [
            (piece, line, i)
            for text in results
            for line in text
            for i, piece in enumerate(line)
            if self.readable.search(piece)
        ]
        todo.sort(key=lambda entry: len(entry[0]), reverse=True)  # similar lengths together: little padding

        def decode(batch: list[tuple[str, list[str], int]]) -> None:
            english = self.translate_batch([piece.strip() for piece, _, _ in batch], beam_size, length_penalty)
            for (_, line, i), sentence in zip(batch, english, strict=True):
                line[i] = sentence

        in_parallel(decode, chunks(todo, BATCH), self.device)
        return ["\n".join(" ".join(s.strip() for s in line if s.strip()) for line in text) for text in results]

    def translate_batch(self, sentences: list[str], beam_size: int = 4, length_penalty: float = 1.0) -> list[str]:
        """One batch of clean sentences through the model."""
        found = self.generate(self.tokenizer.encode_src(sentences), beam_size, length_penalty)
        return [self.tokenizer.decode(ids) for ids in found]

    def generate(self, src: list[list[int]], beam_size: int, length_penalty: float = 1.0) -> list[list[int]]:
        """One batch of source ids, each row ending in <eos>: the target ids found for each, without marks."""
        batch = pad(src).to(self.device)
        # English needs fewer tokens than Chinese characters: ample room, and the same whatever else is in the batch.
        max_len = [2 * len(ids) + 10 for ids in src]
        if beam_size == 1:
            return greedy(self.model, batch, max_len)
        return beam(self.model, batch, max_len, beam_size, length_penalty)

    @torch.inference_mode()
    def attend(self, text: str, beam_size: int = 4) -> Alignment:
        """Translate one sentence and return its tokens and the cross-attention of every layer and head."""
        if not isinstance(text, str):
            raise TypeError(f"attend takes one sentence as a str, not {type(text).__name__}.")
        sentence = clean(whole_characters(text))
        if not sentence:
            raise ValueError("attend needs a sentence with at least one character.")
        src = self.tokenizer.encode_src([sentence])
        (ids,) = self.generate(src, beam_size)
        # Position t of the target predicts token t, the last one <eos>.
        src_ids, tgt_ids = (torch.tensor(rows, device=self.device) for rows in (src, [[BOS, *ids]]))
        weights = self.model.cross_attention_weights(src_ids, tgt_ids)[0].cpu()
        return Alignment(self.tokenizer.src_tokens(src[0]), [*self.tokenizer.tgt_tokens(ids), "<eos>"], weights)


def load_translator(checkpoint: str | Path = CHECKPOINT, device: str | None = None) -> Translator:
    """The translator of a checkpoint folder, by default the one that ships in data/checkpoints/zh-en."""
    where = pick_device(device)
    model, tokenizer = load_model(checkpoint, where)
    return Translator(model, tokenizer, where)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m utils.translate", description="Translate Chinese into English.")
    parser.add_argument("text", help="the text, or - to read lines from standard input")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--beam-size", type=int, default=4, help="1 is greedy search")
    parser.add_argument("--device", help="cpu, cuda or mps")
    args = parser.parse_args(argv)
    try:
        translator = load_translator(args.checkpoint, args.device)
        if args.text != "-":
            print(translator.translate(args.text, args.beam_size))
            return 0
        sys.stdin.reconfigure(encoding="utf-8", errors="replace", newline="\n")
        sys.stdout.reconfigure(encoding="utf-8")
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


if __name__ == "__main__":
    sys.exit(main())
