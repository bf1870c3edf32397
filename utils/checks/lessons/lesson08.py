"""Lesson 08: translation."""

import math
import numbers
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor

from utils.checks.engine import Draw, difference, exercise, show
from utils.tokenizer import EOS

# ---- token_batches -----------------------------------------------------------------------------------------


@exercise(stars=2, differentiable=False)
def token_batches(lengths, max_tokens):
    """Indices in as few groups as possible with len(group) * longest <= max_tokens: list of lists."""
    batches = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if lengths[i] > max_tokens:
            raise ValueError(f"a sentence of {lengths[i]} tokens fits in no batch of {max_tokens}")
        if batches and (len(batches[-1]) + 1) * lengths[i] <= max_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


@token_batches.cases
def _(draw):
    def mixed(lengths):
        return [lengths[i] for i in torch.randperm(len(lengths), generator=draw.generator).tolist()]

    low = draw.integer(1, 2)
    return [
        ([3, 1, 2], 4),
        # Short and long in turn: in this order hardly two fit together. The longest fills a batch to the last token.
        ([low, 9, low + 1, 8, low + 2, 7], 9),
        ([2, draw.integer(9, 11), 3], 8),  # one is too long
        ([], 5),
        (mixed([2, 2, 3, 4, 6, 6, 7, 10, 12]), 12),
        (mixed([2, 4, 5, 7, 8, 11, 13, 14, 17, 20] + draw.integers(2, 20, 6)), 40),
    ]


@token_batches.judge
def _(got, lengths, max_tokens):
    problem = _not_batches_of_indices(got, len(lengths)) or _not_a_fair_deal(got, lengths, max_tokens)
    return f"{problem}\n  got {show(got)}" if problem and isinstance(got, (list, tuple)) else problem


def _not_batches_of_indices(got, n: int) -> str:
    if not isinstance(got, (list, tuple)):
        return difference([], got)
    for batch in got:
        if not isinstance(batch, (list, tuple)):
            return f"a list of lists is wanted, one for each batch, and one of yours is {show(batch)}."
        if not batch:
            return "one of the batches is empty."
        for i in batch:
            if not isinstance(i, numbers.Integral):
                return f"the indices should be plain numbers (int), and one of yours is a {type(i).__name__}."
            if not 0 <= i < n:
                return f"there is no sentence {show(i)}: the indices of {n} sentences are 0 to {n - 1}."
    return ""


def _not_a_fair_deal(got, lengths, max_tokens) -> str:
    found = Counter(i for batch in got for i in batch)
    for i in range(len(lengths)):
        if found[i] != 1:
            return (
                f"index {i} stands in {'no batch' if not found[i] else f'{found[i]} places'}; each should stand in one."
            )
    for batch in got:
        longest = max(lengths[i] for i in batch)
        if len(batch) * longest > max_tokens:
            return (
                f"batch {show(batch)} is too large: {len(batch)} rows, as wide as the longest, "
                f"{len(batch)} * {longest} = {len(batch) * longest} > {max_tokens}."
            )
    fewest = token_batches.oracle(lengths, max_tokens)
    if len(got) > len(fewest):
        return f"{len(got)} batches, and {len(fewest)} are enough, for example {show(fewest)}."
    return ""


@token_batches.canonical
def _(batches):
    return sorted(sorted(batch) for batch in batches)


def _packed(lengths, fits: Callable[[list, int], bool], order=None) -> list[list[int]]:
    """Indices in groups, a new group where fits(group, i) is false; no sentence is refused."""
    batches = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]) if order is None else order:
        if batches and fits(batches[-1], i):
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def _refuse(lengths, max_tokens):
    if any(length > max_tokens for length in lengths):
        raise ValueError("too long")


@token_batches.mistake(
    "a sentence that is too long gets a batch of its own",
    "That batch is over the budget already. The lesson's own version does the same; "
    "yours should raise a ValueError that says so.",
)
def _(lengths, max_tokens):
    return _packed(lengths, lambda batch, i: (len(batch) + 1) * lengths[i] <= max_tokens)


@token_batches.mistake(
    "a sentence that is too long is left out",
    "A pair that disappears without a word is hard to find later: raise a ValueError that says so.",
)
def _(lengths, max_tokens):
    batches = _packed(lengths, lambda batch, i: (len(batch) + 1) * lengths[i] <= max_tokens)
    return [batch for batch in batches if lengths[batch[0]] <= max_tokens]


@token_batches.mistake(
    "the lengths are added up",
    'A batch is a rectangle, padding included: rows times the longest. See the orange in "Batches by tokens".',
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: sum(lengths[j] for j in batch) + lengths[i] <= max_tokens)


@token_batches.mistake(
    "not sorted",
    "One long sentence makes every row of its batch long. Sort the indices by length first: neighbors are then alike.",
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    fits = lambda batch, i: (len(batch) + 1) * max(lengths[j] for j in [*batch, i]) <= max_tokens  # noqa: E731
    return _packed(lengths, fits, order=range(len(lengths)))


@token_batches.mistake(
    "not sorted, though the newest counts as the longest",
    "The newest sentence is the longest of its batch only if the indices were sorted by length before.",
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    fits = lambda batch, i: (len(batch) + 1) * lengths[i] <= max_tokens  # noqa: E731
    return _packed(lengths, fits, order=range(len(lengths)))


@token_batches.mistake("a full batch is refused", "Exactly max_tokens is still allowed: <=, not <.")
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: (len(batch) + 1) * lengths[i] < max_tokens)


@token_batches.mistake(
    "the newcomer is not counted", "Ask before it joins: the batch will have one row more than it has now."
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: len(batch) * lengths[i] <= max_tokens)


@token_batches.mistake(
    "the newcomer's length is not counted",
    "In sorted order the one that joins is the longest so far: the whole rectangle becomes as wide as it is.",
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: (len(batch) + 1) * lengths[batch[-1]] <= max_tokens)


@token_batches.mistake(
    "the shortest counts for all", "The width of a batch is its longest row; in sorted order the first is the shortest."
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: (len(batch) + 1) * lengths[batch[0]] <= max_tokens)


@token_batches.mistake(
    "the budget is counted in sentences",
    'max_tokens limits rows times width, so that short sentences come many at a time. See "Batches by tokens".',
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: len(batch) < max_tokens)


@token_batches.mistake(
    "as many sentences in every batch",
    "It is safe, but it sizes all batches for the longest sentence of all: the short ones could come many at a time.",
)
def _(lengths, max_tokens):
    _refuse(lengths, max_tokens)
    return _packed(lengths, lambda batch, i: len(batch) < max_tokens // max(lengths))


@token_batches.mistake(
    "the last batch is missing", "The batch that is still being filled when the loop ends has to be added, too."
)
def _(lengths, max_tokens):
    return token_batches.oracle(lengths, max_tokens)[:-1]


@token_batches.mistake(
    "lengths where indices belong", "A batch says which sentences it holds. Sort the indices, with the lengths as key."
)
def _(lengths, max_tokens):
    return [[lengths[i] for i in batch] for batch in token_batches.oracle(lengths, max_tokens)]


@token_batches.mistake(
    "places in the sorted list",
    "These count along the sorted lengths. The caller knows the sentences by their places in `lengths`.",
)
def _(lengths, max_tokens):
    return token_batches.oracle(sorted(lengths), max_tokens)


# ---- a language to search in -------------------------------------------------------------------------------


class Language:
    """A toy language: which id follows a prefix, and how probably. Called like a step of a model."""

    def __init__(self, bos: int, eos: int, rows: dict[tuple, dict[int, float]], otherwise: dict[int, float]):
        """`rows`: prefix (with bos) -> {next id: probability}; `otherwise`: after all prefixes not named."""
        self.bos, self.eos, self.rows, self.otherwise = bos, eos, rows, otherwise
        self.words = sorted({word for row in (*rows.values(), otherwise) for word in row} - {eos})
        self.size = max(bos, eos, *self.words) + 1

    def __call__(self, prefix: Tensor) -> Tensor:
        """prefix (t,), from bos on -> the log-probabilities of the next id (V,)."""
        if not isinstance(prefix, Tensor):
            raise TypeError(f"step_fn takes a tensor, torch.tensor([bos, ...]), and here a {type(prefix).__name__}")
        if prefix.dim() != 1:
            raise TypeError(f"step_fn takes one prefix, a tensor (t,), and here one of shape {tuple(prefix.shape)}")
        if len(prefix) == 0:
            raise ValueError("step_fn was given an empty prefix: it begins with bos, torch.tensor([bos] + ids)")
        if prefix.dtype != torch.long:
            raise TypeError(f"step_fn takes ids, whole numbers (torch.long), and here {prefix.dtype}")
        ids = tuple(prefix.tolist())
        if ids[:1] != (self.bos,):
            raise ValueError(f"what step_fn is given should begin with bos = {self.bos}, and is {list(ids)}")
        beyond = dict.fromkeys(self.words, 1 / len(self.words))  # after the end a model babbles
        row = beyond if self.eos in ids else self.rows.get(ids, self.otherwise)
        return torch.tensor([row.get(i, 0.0) for i in range(self.size)], device=prefix.device).log()

    def __repr__(self) -> str:
        named = {show(list(prefix)): row for prefix, row in self.rows.items()} | {"all others": self.otherwise}
        width = max(map(len, named))
        head = f"the logarithms, shape ({self.size},), of these probabilities of the next id (0 for those not shown):"
        return head + "".join(
            f"\n      after {prefix:{width}s}  " + ", ".join(f"{i}: {show(row[i])}" for i in sorted(row))
            for prefix, row in named.items()
        )


def _toy(draw: Draw, rows: dict[str, dict[str, float]], plain: bool = False) -> tuple[Language, int, int]:
    """(language, bos, eos) from letters: "ab" is a prefix, "." the end, "*" stands for all other prefixes.

    The ids are random; `plain`: bos is 0, eos is 1, and only the words' are.
    """
    words = sorted({letter for row in rows.values() for letter in row} - {"."})
    order = torch.randperm(len(words), generator=draw.generator).tolist()
    names = ["", ".", *(words[i] for i in order)]
    order = range(len(names)) if plain else torch.randperm(len(names), generator=draw.generator).tolist()
    ids = dict(zip(names, order, strict=True))
    numbered = {prefix: {ids[letter]: p for letter, p in row.items()} for prefix, row in rows.items()}
    otherwise = numbered.pop("*")
    by_prefix = {(ids[""], *(ids[letter] for letter in prefix)): row for prefix, row in numbered.items()}
    return Language(ids[""], ids["."], by_prefix, otherwise), ids[""], ids["."]


def _any_toy(draw: Draw, words: str) -> tuple[Language, int, int]:
    """A language of random probabilities in hundredths, all of them positive."""

    def row():
        cuts = sorted((torch.randperm(99, generator=draw.generator)[: len(words)] + 1).tolist())
        parts = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
        return {letter: part / 100 for letter, part in zip(words + ".", parts, strict=True)}

    return _toy(draw, {prefix: row() for prefix in ["", *words, "*"]})


# ---- greedy ------------------------------------------------------------------------------------------------


@exercise(stars=2, differentiable=False)
def greedy(step_fn, bos, eos, max_len):
    """The most probable next id, again and again, until eos or max_len ids: list of ids."""
    ids = []
    for _ in range(max_len):
        logp = step_fn(torch.tensor([bos] + ids)).tolist()
        best = 0
        for i in range(len(logp)):
            if logp[i] > logp[best]:
                best = i
        if best == eos:
            break
        ids.append(best)
    return ids


@greedy.cases
def _(draw):
    ends = {"": {"a": 0.6, "b": 0.3, ".": 0.1}, "a": {"a": 0.2, "b": 0.7, ".": 0.1}, "*": {"b": 0.3, ".": 0.7}}
    tie = {"": {"a": 0.4, "b": 0.4, ".": 0.2}, "*": {"a": 0.1, "b": 0.2, ".": 0.7}}
    empty = {"": {"a": 0.4, ".": 0.6}, "*": {"a": 0.7, ".": 0.3}}
    endless = {"": {"a": 0.2, "b": 0.5, ".": 0.3}, "b": {"a": 0.6, "b": 0.3, ".": 0.1}, "*": {"b": 0.8, ".": 0.2}}
    # What follows c hangs on what came before it.
    memory = {
        "": {"a": 0.5, "b": 0.2, "c": 0.2, ".": 0.1},
        "a": {"b": 0.1, "c": 0.8, ".": 0.1},
        "ac": {"b": 0.6, "c": 0.1, ".": 0.3},
        "c": {"a": 0.7, "b": 0.1, ".": 0.2},
        "*": {"a": 0.2, "b": 0.2, "c": 0.1, ".": 0.5},
    }
    return [
        (*_toy(draw, ends, plain=True), 5),
        (*_toy(draw, tie), 5),
        (*_toy(draw, empty), 3),
        (*_toy(draw, endless), 4),
        (*_toy(draw, memory), 6),
        (*_any_toy(draw, "abcd"), 6),
    ]


def _most_probable(step_fn, bos, eos, max_len, choose=torch.argmax, look=lambda prefix: prefix, stop=None):
    """Greedy search from bos on, the marks left in."""
    prefix = [bos]
    for _ in range(max_len):
        prefix.append(int(choose(step_fn(torch.tensor(look(prefix))))))
        if prefix[-1] == (eos if stop is None else stop):
            break
    return prefix


def _without(ids: list[int], *marks: int) -> list[int]:
    return [i for i in ids if i not in marks]


@greedy.mistake("bos is returned", "bos is where the prefix begins, not a word of the translation: leave it out.")
def _(step_fn, bos, eos, max_len):
    return _without(_most_probable(step_fn, bos, eos, max_len), eos)


@greedy.mistake("eos is returned", "eos says that the sentence is over: look at the id first, then append it or stop.")
def _(step_fn, bos, eos, max_len):
    return _most_probable(step_fn, bos, eos, max_len)[1:]


@greedy.mistake("bos and eos are returned", "Only the ids between the two marks are the translation.")
def _(step_fn, bos, eos, max_len):
    return _most_probable(step_fn, bos, eos, max_len)


@greedy.mistake(
    "it does not stop at eos", 'What comes after eos is babble: leave the loop there. See "Break it: never say stop".'
)
def _(step_fn, bos, eos, max_len):
    return _most_probable(step_fn, bos, eos, max_len, stop=-1)[1:]


@greedy.mistake(
    "it goes on after eos", 'Only eos itself is left out, and what came after it stays. See "Break it: never say stop".'
)
def _(step_fn, bos, eos, max_len):
    return _without(_most_probable(step_fn, bos, eos, max_len, stop=-1), bos, eos)


@greedy.mistake(
    "the lesson's EOS", "The languages here have marks of their own: compare with the argument `eos`, not with `EOS`."
)
def _(step_fn, bos, eos, max_len):
    return _without(_most_probable(step_fn, bos, eos, max_len, stop=EOS)[1:], EOS)


@greedy.mistake("one id too many", "At most max_len ids: the loop has max_len rounds.")
def _(step_fn, bos, eos, max_len):
    return greedy.oracle(step_fn, bos, eos, max_len + 1)


@greedy.mistake(
    "one id too few",
    "max_len counts the ids that are returned: bos is none of them. "
    "Or is the last id always cut off? Where max_len ends the search, there is no eos to remove.",
)
def _(step_fn, bos, eos, max_len):
    return greedy.oracle(step_fn, bos, eos, max_len - 1)


@greedy.mistake(
    "the highest id of a tie",
    "Where two are equally probable the lower id is asked for: replace the best only by one that is greater (>).",
)
def _(step_fn, bos, eos, max_len):
    last = lambda logp: len(logp) - 1 - logp.flip(0).argmax()  # noqa: E731
    return _without(_most_probable(step_fn, bos, eos, max_len, choose=last), bos, eos)


@greedy.mistake(
    "it remembers only the newest id",
    "step_fn has no cache: give it the whole prefix, from bos on, at every step.",
)
def _(step_fn, bos, eos, max_len):
    look = lambda prefix: prefix[:1] + prefix[1:][-1:]  # noqa: E731
    return _without(_most_probable(step_fn, bos, eos, max_len, look=look), bos, eos)


@greedy.mistake(
    "the prefix does not grow", "step_fn is asked the same question at every step: append the new id to the prefix."
)
def _(step_fn, bos, eos, max_len):
    return _without(_most_probable(step_fn, bos, eos, max_len, look=lambda prefix: prefix[:1]), bos, eos)


@greedy.mistake(
    "the least probable", "Logarithms of probabilities are negative: the one nearest to 0 is the most probable."
)
def _(step_fn, bos, eos, max_len):
    least = lambda logp: torch.where(logp > -math.inf, logp, math.inf).argmin()  # noqa: E731
    return _without(_most_probable(step_fn, bos, eos, max_len, choose=least), bos, eos)


# ---- beam --------------------------------------------------------------------------------------------------


@exercise(stars=3, differentiable=False)
def beam(step_fn, bos, eos, max_len, beam_size):
    """Beam search by summed log-probability, finished hypotheses among the others: list of ids."""
    kept = [([], 0.0, False)]  # ids, summed log-probability, finished?
    for _ in range(max_len):
        candidates = []
        for ids, total, finished in kept:
            if finished:
                candidates.append((ids, total, True))
                continue
            logp = step_fn(torch.tensor([bos] + ids)).tolist()
            for i in range(len(logp)):
                if i == eos:
                    candidates.append((ids, total + logp[i], True))
                else:
                    candidates.append((ids + [i], total + logp[i], False))
        kept = sorted(candidates, key=lambda hypothesis: -hypothesis[1])[:beam_size]
        if all(finished for _, _, finished in kept):
            break
    best = [hypothesis for hypothesis in kept if hypothesis[2]] or kept
    return best[0][0]


@beam.cases
def _(draw):
    def clear(words, max_len, beam_size):
        """A random language in which no tie decides."""
        while True:
            language = _any_toy(draw, words)
            if _gap(*language, max_len, beam_size) > 1e-3:
                return *language, max_len, beam_size

    # As in the lesson: the best first word does not begin the best sentence.
    first = {
        "": {"a": 0.5, "b": 0.4, ".": 0.1},
        "a": {"a": 0.4, "b": 0.35, ".": 0.25},
        "b": {"a": 0.8, "b": 0.05, ".": 0.15},
        "*": {".": 1.0},
    }
    # None is finished in time.
    live = {
        "": {"a": 0.5, "b": 0.4, ".": 0.1},
        "b": {"a": 0.7, "b": 0.1, ".": 0.2},
        "*": {"a": 0.4, "b": 0.5, ".": 0.1},
    }
    # "aa" is the most probable, and not finished.
    ahead = {
        "": {"a": 0.6, "b": 0.1, ".": 0.3},
        "b": {"a": 0.5, "b": 0.1, ".": 0.4},
        "*": {"a": 0.7, "b": 0.1, ".": 0.2},
    }
    # "." is overtaken by "bb.", ...
    overtaken = {
        "": {"a": 0.1, "b": 0.7, ".": 0.2},
        "b": {"a": 0.1, "b": 0.7, ".": 0.2},
        "*": {"a": 0.4, "b": 0.1, ".": 0.5},
    }
    # ... here it is pushed out by two that live on, ...
    pushed_out = {
        "": {"a": 0.7, "b": 0.1, ".": 0.2},
        "a": {"a": 0.5, "b": 0.4, ".": 0.1},
        "*": {"a": 0.3, "b": 0.5, ".": 0.2},
    }
    # ... and here by "b.", which stays the best while "bb" is finished.
    stays = {
        "": {"a": 0.1, "b": 0.7, ".": 0.2},
        "a": {"a": 0.5, "b": 0.3, ".": 0.2},
        "b": {"a": 0.1, "b": 0.5, ".": 0.4},
        "*": {"a": 0.2, "b": 0.1, ".": 0.7},
    }
    # A division by the length would let "a." overtake ".".
    short = {"": {"a": 0.6, ".": 0.4}, "*": {"a": 0.45, ".": 0.55}}
    # "abbb" lives on and leaves one place to the finished.
    one_place = {
        "": {"a": 0.7, "b": 0.2, ".": 0.1},
        "b": {"a": 0.8, "b": 0.15, ".": 0.05},
        "ba": {"a": 0.3, "b": 0.2, ".": 0.5},
        "*": {"a": 0.1, "b": 0.7, ".": 0.2},
    }
    return [
        (*_toy(draw, first, plain=True), 4, 2),
        (*_toy(draw, live), 2, 2),
        (*_toy(draw, ahead), 2, 2),
        (*_toy(draw, short), 2, 2),
        (*_toy(draw, overtaken), 3, 2),
        (*_toy(draw, pushed_out), 3, 2),
        (*_toy(draw, stays), 4, 2),
        (*_toy(draw, one_place), 4, 2),
        clear("ab", 3, 8),  # more than there are ids
        clear("abcd", 4, 3),
    ]


def _gap(step_fn, bos, eos, max_len, beam_size) -> float:
    """How close a choice of the search is: the least difference between neighbors among the kept and the next."""
    kept, gap = [((), 0.0)], math.inf
    for _ in range(max_len):
        grown = [new for old in kept for new in _grow(step_fn, bos, eos, old)]
        best = sorted((total for _, total in grown if total > -math.inf), reverse=True)[: beam_size + 1]
        gap = min([gap, *(a - b for a, b in zip(best, best[1:], strict=False))])
        kept = _prune([grown], beam_size)
    return gap


def _continued(step_fn, bos, old):
    """The V hypotheses (ids, total) that one becomes."""
    ids, total = old
    return [((*ids, i), total + logp) for i, logp in enumerate(step_fn(torch.tensor([bos, *ids])).tolist())]


def _grow(step_fn, bos, eos, old):
    return [old] if old[0][-1:] == (eos,) else _continued(step_fn, bos, old)


def _total(hypothesis) -> float:
    return hypothesis[1]


def _per_token(hypothesis, eos, bos_counts, eos_counts) -> float:
    ids, total = hypothesis
    return total / max(len(ids) + bos_counts - (eos in ids and not eos_counts), 1)


def _prune(groups, beam_size, score=_total):
    return sorted((new for group in groups for new in group), key=score, reverse=True)[:beam_size]


def _searched(step_fn, bos, eos, max_len, beam_size, grow=_grow, prune=_prune, stop=all):
    """The hypotheses that are left, with their eos, searched for in one way or another."""
    kept = [((), 0.0)]
    for _ in range(max_len):
        groups = [grow(step_fn, bos, eos, old) for old in kept]
        if not any(groups):
            break
        kept = prune(groups, beam_size)
        if stop(eos in ids for ids, _ in kept):
            break
    return kept


def _best(kept, eos, score=_total) -> list[int]:
    """The ids of the best finished one, or else of the best live one, up to eos."""
    ids, _ = max([new for new in kept if eos in new[0]] or kept, key=score)
    return list(ids[: ids.index(eos)] if eos in ids else ids)


@beam.mistake("bos is returned", "bos is where every prefix begins, not a word of the translation: leave it out.")
def _(step_fn, bos, eos, max_len, beam_size):
    return [bos, *beam.oracle(step_fn, bos, eos, max_len, beam_size)]


@beam.mistake("eos is returned", "eos marks a hypothesis as finished. Take it off before you return the ids.")
def _(step_fn, bos, eos, max_len, beam_size):
    kept = _searched(step_fn, bos, eos, max_len, beam_size)
    return list(max([new for new in kept if eos in new[0]] or kept, key=_total)[0])


@beam.mistake("bos and eos are returned", "Only the ids between the two marks are the translation.")
def _(step_fn, bos, eos, max_len, beam_size):
    kept = _searched(step_fn, bos, eos, max_len, beam_size)
    return [bos, *max([new for new in kept if eos in new[0]] or kept, key=_total)[0]]


@beam.mistake(
    "the last id is cut off",
    "That removes eos where there is one. A hypothesis that is still live has none, and loses a word.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    kept = _searched(step_fn, bos, eos, max_len, beam_size)
    return list(max([new for new in kept if eos in new[0]] or kept, key=_total)[0][:-1])


@beam.mistake("one step too many", "The loop has max_len rounds, and each adds one id to the live ones.")
def _(step_fn, bos, eos, max_len, beam_size):
    return beam.oracle(step_fn, bos, eos, max_len + 1, beam_size)


@beam.mistake("one step too few", "The loop has max_len rounds; bos does not count, and an eos has a round of its own.")
def _(step_fn, bos, eos, max_len, beam_size):
    return beam.oracle(step_fn, bos, eos, max_len - 1, beam_size)


@beam.mistake(
    "finished hypotheses are forgotten",
    "Only the live ones come into the next round. A finished one waits, unchanged, and competes with them.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    grow = lambda step_fn, bos, eos, old: [] if eos in old[0] else _continued(step_fn, bos, old)  # noqa: E731
    return _best(_searched(step_fn, bos, eos, max_len, beam_size, grow), eos)


@beam.mistake(
    "finished hypotheses are extended",
    "After eos nothing follows: a finished one goes into the next round as it is, and its total stays the same.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    grow = lambda step_fn, bos, eos, old: _continued(step_fn, bos, old)  # noqa: E731
    return _best(_searched(step_fn, bos, eos, max_len, beam_size, grow), eos)


@beam.mistake(
    "finished hypotheses are kept apart",
    "Many programs search like this. Here a finished one takes one of the beam_size places, "
    "and better ones can push it out.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    return _apart(step_fn, bos, eos, max_len, beam_size, places=lambda done: beam_size)


@beam.mistake(
    "it stops when beam_size are finished",
    "They were kept apart and counted. Here finished ones compete for the beam_size places with the live ones, "
    "which may still push them out.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    return _apart(step_fn, bos, eos, max_len, beam_size, lambda done: beam_size if len(done) < beam_size else 0)


@beam.mistake(
    "a finished hypothesis cannot be pushed out",
    "It takes a place, as it should, but it has to compete for it in every round, like the live ones.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    return _apart(step_fn, bos, eos, max_len, beam_size, places=lambda done: beam_size - len(done))


def _apart(step_fn, bos, eos, max_len, beam_size, places):
    """Finished ones go to a list of their own."""
    live, done = [((), 0.0)], []
    for _ in range(max_len):
        kept = _prune([_continued(step_fn, bos, old) for old in live], places(done))
        done += [new for new in kept if eos in new[0]]
        live = [new for new in kept if eos not in new[0]]
        if not live:
            break
    return _best(done or live, eos)


@beam.mistake(
    "it stops when the first is finished",
    "A live one with a larger total may still finish better. Go on until all that are kept are finished.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    return _best(_searched(step_fn, bos, eos, max_len, beam_size, stop=any), eos)


for _bos, _eos in product((0, 1), repeat=2):  # which marks are counted

    @beam.mistake(
        "totals divided by the length",
        "The lesson's beam does that. This exercise asks for the plain sum: the exponent is 0.",
    )
    def _(step_fn, bos, eos, max_len, beam_size, counts=(_bos, _eos)):
        score = lambda hypothesis: _per_token(hypothesis, eos, *counts)  # noqa: E731
        prune = lambda groups, beam_size: _prune(groups, beam_size, score)  # noqa: E731
        return _best(_searched(step_fn, bos, eos, max_len, beam_size, prune=prune), eos, score)

    @beam.mistake(
        "divided by the length at the end",
        "The winner, too, is the one with the largest plain sum: this exercise has no length penalty.",
    )
    def _(step_fn, bos, eos, max_len, beam_size, counts=(_bos, _eos)):
        score = lambda hypothesis: _per_token(hypothesis, eos, *counts)  # noqa: E731
        return _best(_searched(step_fn, bos, eos, max_len, beam_size), eos, score)


@beam.mistake(
    "every parent keeps beam_size children",
    "The beam doubles and redoubles that way. All candidates compete with one another, and beam_size are left in all.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    prune = lambda groups, beam_size: _prune([_prune([g], beam_size) for g in groups], 10**6)  # noqa: E731
    return _best(_searched(step_fn, bos, eos, max_len, beam_size, prune=prune), eos)


@beam.mistake(
    "every parent keeps its best child",
    "These are beam_size greedy searches side by side. All candidates compete: two may come from one parent.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    prune = lambda groups, k: _prune([_prune([g], 1 if len(groups) > 1 else k) for g in groups], k)  # noqa: E731
    return _best(_searched(step_fn, bos, eos, max_len, beam_size, prune=prune), eos)


@beam.mistake(
    "what greedy search finds",
    "Either one hypothesis only is kept, or the search begins with beam_size equal ones, which stay equal. "
    "Begin with one, and keep beam_size of all candidates.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    return beam.oracle(step_fn, bos, eos, max_len, 1)


@beam.mistake(
    "a live one wins over a finished one",
    "A live one has not paid for its ending yet. If any that is left is finished, the best of these is the answer.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    ids, _ = _searched(step_fn, bos, eos, max_len, beam_size)[0]
    return _without(ids, eos)


@beam.mistake(
    "nothing if none is finished",
    "When max_len comes first, return the best live one: half a sentence is better than none.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    kept = _searched(step_fn, bos, eos, max_len, beam_size)
    return _best(kept, eos) if any(eos in ids for ids, _ in kept) else []


@beam.mistake(
    "eos costs nothing",
    "Its log-probability counts like that of every other id: how probable is it that this ends here?",
)
def _(step_fn, bos, eos, max_len, beam_size):
    def grow(step_fn, bos, eos, old):
        return [(ids, old[1] if ids[-1] == eos else total) for ids, total in _grow(step_fn, bos, eos, old)]

    return _best(_searched(step_fn, bos, eos, max_len, beam_size, grow), eos)


# Equals are many here: finished ones in their place or first. And a bos, once in, can be among the best.
for _order, _marks in product((lambda group: 0, len), (False, True)):

    @beam.mistake(
        "only the newest log-probability counts",
        "A hypothesis is as probable as all its steps together: add each step's log-probability to the total so far.",
    )
    def _(step_fn, bos, eos, max_len, beam_size, order=_order, marks=_marks):
        def grow(step_fn, bos, eos, old):
            return _grow(step_fn, bos, eos, old if old[0][-1:] == (eos,) else (old[0], 0.0))

        prune = lambda groups, beam_size: _prune(sorted(groups, key=order), beam_size)  # noqa: E731
        ids = _best(_searched(step_fn, bos, eos, max_len, beam_size, grow, prune), eos)
        return ids if marks else _without(ids, bos)


def _sharing(step_fn, bos, eos, max_len, beam_size, with_eos):
    """All children of a hypothesis have its list, to which each has been appended; `with_eos`: so has eos."""
    kept = [([], 0.0, False)]
    for _ in range(max_len):
        candidates = []
        for ids, total, finished in kept:
            if finished:
                candidates.append((ids, total, True))
                continue
            for i, logp in enumerate(step_fn(torch.tensor([bos, *ids])).tolist()):
                ids += [i] if with_eos or i != eos else []
                candidates.append((ids, total + logp, i == eos))
        kept = _prune([candidates], beam_size)
        if all(finished for _, _, finished in kept):
            break
    ids, *_ = max([old for old in kept if old[2]] or kept, key=_total)
    return _without(ids, bos, eos) if with_eos else list(ids)


def _sharing_late(step_fn, bos, eos, max_len, beam_size):
    """Children that are kept append themselves to the list of their parent, which brothers and sisters have, too."""
    kept = [([], 0.0, False)]
    for _ in range(max_len):
        candidates = [(ids, total, eos) for ids, total, finished in kept if finished]
        for ids, total, _ in (old for old in kept if not old[2]):
            logp = step_fn(torch.tensor([bos, *ids])).tolist()
            candidates += [(ids, total + logp[i], i) for i in range(len(logp))]
        kept = []
        for ids, total, i in _prune([candidates], beam_size):
            ids += [i] if i != eos else []
            kept.append((ids, total, i == eos))
        if all(finished for _, _, finished in kept):
            break
    ids, *_ = max([old for old in kept if old[2]] or kept, key=_total)
    return ids


for _shared in (partial(_sharing, with_eos=False), partial(_sharing, with_eos=True), _sharing_late):
    beam.mistake(
        "one list in the hands of several hypotheses",
        "ids.append(i) and ids += [i] change the list itself, and all hypotheses that hold it. "
        "ids + [i] makes a new list for each.",
    )(_shared)


@beam.mistake(
    "the least probable are kept",
    "sorted() begins with the smallest; the best have the largest totals, nearest to 0: reverse=True.",
)
def _(step_fn, bos, eos, max_len, beam_size):
    worst = lambda new: -new[1] if new[1] > -math.inf else -math.inf  # noqa: E731
    prune = lambda groups, beam_size: _prune(groups, beam_size, worst)  # noqa: E731
    return _best(_searched(step_fn, bos, eos, max_len, beam_size, prune=prune), eos, worst)


@beam.mistake(
    "it remembers only the newest id", "step_fn has no cache: give it the whole prefix, from bos on, at every step."
)
def _(step_fn, bos, eos, max_len, beam_size):
    look = lambda prefix: step_fn(prefix[[0, -1]] if len(prefix) > 1 else prefix)  # noqa: E731
    return beam.oracle(look, bos, eos, max_len, beam_size)


@beam.mistake(
    "the lesson's EOS", "The languages here have marks of their own: compare with the argument `eos`, not with `EOS`."
)
def _(step_fn, bos, eos, max_len, beam_size):
    return beam.oracle(step_fn, bos, EOS, max_len, beam_size)


# ---- ngram_precision ---------------------------------------------------------------------------------------


@exercise(stars=2, forbidden=frozenset({"sacrebleu."}), differentiable=False)
def ngram_precision(candidate, reference, n):
    """The share of the candidate's n-grams that stand in the reference, each at most as often as there: float."""
    ours = [tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1)]
    left = [tuple(reference[i : i + n]) for i in range(len(reference) - n + 1)]
    right = 0
    for ngram in ours:
        if ngram in left:
            left.remove(ngram)
            right += 1
    return right / len(ours) if ours else 0.0


@ngram_precision.cases
def _(draw):
    words = ["cat", "dog", "hat", "mat", "rat", "sun", "tea"]
    a, b, c, d, e, *_ = [words[i] for i in torch.randperm(len(words), generator=draw.generator).tolist()]
    return [
        ([a, a, b], [a, b, c, d], 1),
        ([a, b, a, b, c], [a, b, d, a, b, e, b, a, d], 2),
        ([c, d, e, b], [d, c, a, e, b], 2),
        ([a, b], [a, b, c, d], 3),
        ([a, b, c], [a], 2),
        ([], [a, b], 1),
        (["the", "can", "not"], ["th", "ecan", "not", a], 2),
        ([a, b, c, a, b, c, a, d, b, a], [a, b, c, a, d, b, c, a, b], 3),
        ([[a, b][i] for i in draw.integers(0, 1, 9)], [[a, b, c][i] for i in draw.integers(0, 2, 7)], 2),
    ]


def _ngrams(words, n: int) -> list[tuple]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _clipped(ours: list, theirs: list) -> int:
    return (Counter(ours) & Counter(theirs)).total()


@ngram_precision.mistake(
    "not clipped",
    'Each n-gram counts at most as often as the reference has it; otherwise "the the the" is a perfect translation. '
    'See "BLEU, by hand".',
)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n), _ngrams(reference, n)
    return sum(ngram in theirs for ngram in ours) / len(ours) if ours else 0.0


ONCE = (
    "each n-gram counted once",
    "A set forgets how often. An n-gram that the reference has twice may count twice: "
    "compare numbers, as a Counter does.",
)


@ngram_precision.mistake(*ONCE)
def _(candidate, reference, n):
    ours, theirs = set(_ngrams(candidate, n)), set(_ngrams(reference, n))
    return len(ours & theirs) / len(ours) if ours else 0.0


@ngram_precision.mistake(*ONCE)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n), _ngrams(reference, n)
    return len(set(ours) & set(theirs)) / len(ours) if ours else 0.0


@ngram_precision.mistake(
    "divided by the number of different n-grams",
    "The share is one of all n-grams of the candidate, repeated ones as often as they stand there: m - n + 1 of them.",
)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n), _ngrams(reference, n)
    return _clipped(ours, theirs) / len(set(ours)) if ours else 0.0


@ngram_precision.mistake(
    "the recall",
    "Precision asks which share of *ours* is right: divide by the number of the candidate's n-grams, "
    "not by the reference's.",
)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n), _ngrams(reference, n)
    return _clipped(ours, theirs) / len(theirs) if ours and theirs else 0.0


@ngram_precision.mistake(
    "divided by the number of words",
    "m words have m - n + 1 n-grams, and the share is one of n-grams: divide by their number.",
)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n), _ngrams(reference, n)
    return _clipped(ours, theirs) / len(candidate) if ours else 0.0


@ngram_precision.mistake("the last n-gram is missing", "m words have m - n + 1 n-grams: the last begins at m - n.")
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n)[:-1], _ngrams(reference, n)[:-1]
    return _clipped(ours, theirs) / len(ours) if ours else 0.0


@ngram_precision.mistake(
    "shorter ones at the end", "Slices at the end are shorter than n, and Python does not complain: stop at m - n."
)
def _(candidate, reference, n):
    ours, theirs = ([tuple(words[i : i + n]) for i in range(len(words))] for words in (candidate, reference))
    return _clipped(ours, theirs) / len(ours) if len(candidate) >= n else 0.0


@ngram_precision.mistake("single words only", "It does not look at n: compare runs of n neighbors.")
def _(candidate, reference, n):
    return _clipped(candidate, reference) / len(candidate) if len(candidate) >= n else 0.0


@ngram_precision.mistake(
    "n-grams that do not overlap", "A new n-gram begins at every word, not at every n-th: words 1 to n, 2 to n + 1, ..."
)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n)[::n], _ngrams(reference, n)[::n]
    return _clipped(ours, theirs) / len(ours) if ours else 0.0


@ngram_precision.mistake(
    "the order is lost", "In an n-gram the order counts: a tuple keeps it, a set or sorting does not."
)
def _(candidate, reference, n):
    ours, theirs = ([tuple(sorted(ngram)) for ngram in _ngrams(words, n)] for words in (candidate, reference))
    return _clipped(ours, theirs) / len(ours) if ours else 0.0


@ngram_precision.mistake(
    "words glued together", 'Joined without a gap, "the can" and "th ecan" are the same letters: use tuples of words.'
)
def _(candidate, reference, n):
    ours, theirs = (["".join(ngram) for ngram in _ngrams(words, n)] for words in (candidate, reference))
    return _clipped(ours, theirs) / len(ours) if ours else 0.0


@ngram_precision.mistake(
    "place by place", "An n-gram is right wherever in the reference it stands, not only at the same place."
)
def _(candidate, reference, n):
    ours, theirs = _ngrams(candidate, n), _ngrams(reference, n)
    return sum(x == y for x, y in zip(ours, theirs, strict=False)) / len(ours) if ours else 0.0


@ngram_precision.mistake("in percent", "BLEU is quoted from 0 to 100; a precision is asked for, from 0 to 1.")
def _(candidate, reference, n):
    return 100 * ngram_precision.oracle(candidate, reference, n)


@ngram_precision.mistake(
    "short candidates punished",
    "The brevity penalty is another part of BLEU; here only one of its four shares is asked for.",
)
def _(candidate, reference, n):
    if len(candidate) < n:
        return 0.0
    brevity = min(1.0, math.exp(1 - len(reference) / len(candidate)))
    return brevity * ngram_precision.oracle(candidate, reference, n)


@ngram_precision.mistake(
    "the mean of 1 to n",
    "BLEU multiplies the shares of all four lengths later; here only the n-grams of length n count.",
)
def _(candidate, reference, n):
    if len(candidate) < n:
        return 0.0
    return math.prod(ngram_precision.oracle(candidate, reference, k) for k in range(1, n + 1)) ** (1 / n)
