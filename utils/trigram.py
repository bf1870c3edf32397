"""A language model that only counts: trigrams with interpolated Kneser-Ney smoothing, GPT's baseline (lesson 09)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from utils.tokenizer import BOS, EOS


class Trigram:
    """P(w | u v) from counts of three tokens, helped by counts of two and of one.

    Each count gives away a discount D, and what was given away is shared out by the shorter context:

        P(w | context) = max(c(context w) - D, 0) / c(context .) + D N(context .) / c(context .) * P(w | shorter)

    where N(context .) is the number of different tokens that were seen after it. For pairs and single tokens c does not
    count occurrences but different tokens before them: `Francisco` is frequent and follows one word alone. The last
    resort is 1/V for each of the V tokens that may come next. D = n1 / (n1 + 2 n2), from the n1 and n2 n-grams of
    this length that were seen once and twice. Source: Chen and Goodman, An Empirical Study of Smoothing Techniques
    (1999), section 2.7; Kneser and Ney (1995). Lesson 09.
    """

    def __init__(self, sentences: Iterable[Sequence[int]], n_tokens: int):
        """sentences: ids without marks; n_tokens: how many different ones may come next, <eos> among them."""
        self.n_tokens = n_tokens
        triples: Counter[tuple[int, ...]] = Counter()
        for ids in sentences:
            marked = [BOS, BOS, *ids, EOS]
            triples.update(zip(marked, marked[1:], marked[2:], strict=False))
        pairs = Counter(triple[1:] for triple in triples)  # of each pair, the different tokens before it
        singles = Counter(pair[1:] for pair in pairs)
        self.counts = {1: singles, 2: pairs, 3: triples}
        self.total: Counter[tuple[int, ...]] = Counter()  # c(context .)
        self.different: Counter[tuple[int, ...]] = Counter()  # N(context .)
        self.discount: dict[int, float] = {}
        for n, counts in self.counts.items():
            for gram, count in counts.items():
                self.total[n, *gram[:-1]] += count
                self.different[n, *gram[:-1]] += 1
            once, twice = (sum(count == k for count in counts.values()) for k in (1, 2))
            self.discount[n] = once / (once + 2 * twice) if once and twice else 0.5

    def probability(self, token: int, context: Sequence[int]) -> float:
        """P(token | context), the context being the two tokens before it, <bos> twice at the beginning."""
        p = 1 / self.n_tokens
        for n in (1, 2, 3):
            known = tuple(context[len(context) - n + 1 :])
            total = self.total[n, *known]
            if total:
                d = self.discount[n]
                own = max(self.counts[n][*known, token] - d, 0)
                p = (own + d * self.different[n, *known] * p) / total
        return p

    def nll(self, sentences: Iterable[Sequence[int]]) -> float:
        """Mean -log p of a token, <eos> counted, as `utils.trainer.dev_nll` of a GPT; e to it is the perplexity."""
        total = n = 0
        for ids in sentences:
            marked = [BOS, BOS, *ids, EOS]
            for u, v, w in zip(marked, marked[1:], marked[2:], strict=False):
                total -= math.log(self.probability(w, (u, v)))
                n += 1
        return total / n
