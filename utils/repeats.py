"""Translations that say the same again and again: how to tell, and a search that cannot (lesson 08b)."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def source_copies(zh: str) -> int:
    """How often a Chinese sentence says the same: the most copies of two neighboring characters, or of one in a row."""
    text = re.sub(r"[\W_]+", " ", zh)
    runs = [len(match[0]) for match in re.finditer(r"(\w)\1*", text)]
    chunks = {text[i : i + 2] for i in range(len(text) - 1)}
    return max([1, *runs, *(text.count(chunk) for chunk in chunks if " " not in chunk)])


def output_copies(en: str) -> int:
    """How often an English sentence says the same in a way that people hardly do; 1 if it does not.

    The most copies of what stands several times: two or more words in a row, copy after copy; one word, three times or
    more ("very, very" is English); two or more letters inside a word, four times or more (hahahaha); and the same four
    words at any distance. Case and punctuation do not count.
    """
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?", en.lower())
    copies = 1
    for n in range(1, len(words) // 2 + 1):
        for i in range(len(words) - 2 * n + 1):
            times = 1
            while words[i + times * n : i + (times + 1) * n] == words[i : i + n]:
                times += 1
            if times >= (3 if n == 1 else 2):
                copies = max(copies, times)
    for i in range(len(words) - 7):
        four, times, at = words[i : i + 4], 1, i + 4
        while at + 4 <= len(words):
            again = words[at : at + 4] == four
            times, at = times + again, at + (4 if again else 1)
        copies = max(copies, times)
    inside = [len(match[0]) // len(match[1]) for match in re.finditer(r"([a-z]{2,}?)\1{3,}", en.lower())]
    return max([copies, *inside])


def loops(zh: str, en: str) -> bool:
    """Whether a translation repeats what its source does not: it has more copies than the source has of anything.

    Of the 2,000 first references of dev and test none loops, of the 54,048 training pairs 15 do. Made for Chinese and
    English: of other languages fewer loops are found.
    """
    return output_copies(en) > source_copies(zh)


@dataclass
class NoRepeatState:
    """The model's own state, and what each row has said so far."""

    inner: object
    said: Int[Tensor, "R t"]

    def reorder(self, rows: Int[Tensor, " R2"], sentences: Int[Tensor, " B2"] | None = None) -> None:
        """Row r becomes what row rows[r] was."""
        self.inner.reorder(rows, sentences)
        self.said = self.said[rows]


class NoRepeat:
    """A model that never says the same run of n >= 1 tokens twice: what would complete one has probability 0.

    Search knows a model by `encode`, `step` and `reorder` alone; so this is one more model, and greedy and beam search
    serve it as they are. Source: Paulus et al. (arXiv 1705.04304), section 2.5; elsewhere it is `no_repeat_ngram_size`.
    Lesson 08b, "Said twice (deeper)".
    """

    def __init__(self, model, n: int):
        self.model, self.n = model, n

    def encode(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> NoRepeatState:
        return NoRepeatState(self.model.encode(src, src_mask), src.new_empty(len(src), 0))

    def step(self, tokens: Int[Tensor, " R"], state: NoRepeatState) -> tuple[Float[Tensor, "R V"], NoRepeatState]:
        """The model's logits, minus infinity for each token that would repeat a run of n."""
        state.said = torch.cat([state.said, tokens[:, None]], dim=1)
        logits, state.inner = self.model.step(tokens, state.inner)
        before = self.n - 1  # so many tokens of a run are said already
        if state.said.shape[1] > before:
            runs = state.said.unfold(1, self.n, 1)  # (R, t - n + 1, n)
            newest = state.said[:, state.said.shape[1] - before :]  # (R, n - 1)
            row, at = (runs[..., :before] == newest[:, None]).all(dim=-1).nonzero(as_tuple=True)
            logits = logits.index_put((row, runs[row, at, -1]), logits.new_tensor(-torch.inf))
        return logits, state
