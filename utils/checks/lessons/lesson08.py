"""Lesson 08: translation."""

import math
from collections import Counter

import torch
from torch import Tensor

from utils.checks.engine import SDPA, Draw, exercise, say, show
from utils.checks.engine.compare import type_problem
from utils.checks.lessons import lesson02, lesson06  # noqa: F401 (lesson 02's advice is given here, too)
from utils.tokenizer import EOS  # noqa: F401 (patches use it)


@exercise(stars=2, differentiable=False)
def token_batches(lengths, max_tokens):
    """Indices in as few groups as possible with len(group) * longest <= max_tokens: list of lists."""
    batches = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if lengths[i] > max_tokens:
            raise ValueError(say("a sentence of {n} tokens fits in no batch of {max}", n=lengths[i], max=max_tokens))
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
    if problem := type_problem([[0]], got):
        return problem
    problem = _not_a_fair_deal(got, lengths, max_tokens)
    return problem and say("{problem}\n  got {got}", problem=problem, got=show(got))


def _not_a_fair_deal(got, lengths, max_tokens) -> str:
    n, found = len(lengths), Counter()
    for batch in got:
        if not batch:
            return say("one of the batches is empty.")
        for i in batch:
            if not 0 <= i < n:
                there = {"i": show(i), "n": n, "last": n - 1}
                return say("there is no sentence {i}: the indices of {n} sentences are 0 to {last}.", **there)
        found.update(batch)
    for i in range(n):
        if not found[i]:
            return say("index {i} stands in no batch; each should stand in one.", i=i)
        if found[i] > 1:
            return say("index {i} stands in {n} places; each should stand in one.", i=i, n=found[i])
    for batch in got:
        rows, longest = len(batch), max(lengths[i] for i in batch)
        if rows * longest > max_tokens:
            return say(
                "batch {batch} is too large: {rows} rows, as wide as the longest, {rows} * {longest} = {all} > {most}.",
                **{"batch": show(batch), "rows": rows, "longest": longest, "all": rows * longest, "most": max_tokens},
            )
    fewest = token_batches.oracle(lengths, max_tokens)
    if len(got) > len(fewest):
        numbers_of = {"n": len(got), "fewest": len(fewest), "example": show(fewest)}
        return say("{n} batches, and {fewest} are enough, for example {example}.", **numbers_of)
    return ""


@token_batches.canonical
def _(batches):
    return sorted(sorted(batch) for batch in batches)


@token_batches.answer
def _(lengths, max_tokens):
    batches, batch = [], []
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for i in order:
        if lengths[i] > max_tokens:
            raise ValueError("this sentence fits in no batch")
        rows = len(batch) + 1
        width = lengths[i]
        if batch and rows * width > max_tokens:
            batches.append(batch)
            batch = []
        batch.append(i)
    return [*batches, batch] if batch else batches


token_batches.patches("""
a sentence that is too long gets a batch of its own: raise ValueError("this sentence fits in no batch") -> pass
    A sentence longer than max_tokens fits in no batch, not even alone: raise a ValueError that says so.
a sentence that is too long is left out: raise ValueError("this sentence fits in no batch") -> continue
    A pair that disappears without a word is hard to find later: raise a ValueError that says so.
the lengths are added up: rows * width -> sum(lengths[j] for j in batch) + width
    A batch is a rectangle, padding included: rows times the longest. See the orange in "Batches by tokens".
not sorted: sorted(range(len(lengths)), key=lambda i: lengths[i]) -> range(len(lengths))
  && width = lengths[i] -> width = max(lengths[j] for j in [*batch, i])
    One long sentence makes every row of its batch long. Sort the indices by length first: neighbors are then alike.
not sorted, though the newest counts as the longest:
  | sorted(range(len(lengths)), key=lambda i: lengths[i]) -> range(len(lengths))
    The newest sentence is the longest of its batch only if the indices were sorted by length before.
sorted from the longest, and the newest counts as the longest: lambda i: lengths[i] -> lambda i: -lengths[i]
    From the longest down, the first of a batch is its longest: it is lengths[batch[0]] that all rows are as wide as.
one sentence a batch: if batch and rows * width > max_tokens -> if batch
    Several may share a batch, as long as rows times the longest stay within max_tokens.
a full batch is refused: width > max_tokens -> width >= max_tokens
    Exactly max_tokens is still allowed: <=, not <.
the newcomer is not counted: len(batch) + 1 -> len(batch)
    Ask before it joins: the batch will have one row more than it has now.
the newcomer's length is not counted: width = lengths[i] -> width = lengths[batch[-1] if batch else i]
    In sorted order the one that joins is the longest so far: the whole rectangle becomes as wide as it is.
the shortest counts for all: width = lengths[i] -> width = lengths[batch[0] if batch else i]
    The width of a batch is its longest row; in sorted order the first is the shortest.
the budget is counted in sentences: width = lengths[i] -> width = 1
    max_tokens limits rows times width, so that short sentences come many at a time. See "Batches by tokens".
as many sentences in every batch: width = lengths[i] -> width = max(lengths)
    It is safe, but it sizes all batches for the longest sentence of all: the short ones could come many at a time.
the last batch is missing: [*batches, batch] if batch else batches -> batches
    The batch that is still being filled when the loop ends has to be added, too.
lengths where indices belong:
  | [*batches, batch] if batch else batches -> [[lengths[i] for i in group] for group in [*batches, batch] if group]
    A batch says which sentences it holds. Sort the indices, with the lengths as key.
sentences looked up by their length: batches.append(batch) -> batches.append([lengths.index(lengths[j]) for j in batch])
  && [*batches, batch] if -> [*batches, [lengths.index(lengths[j]) for j in batch]] if
    lengths.index(n) finds the first sentence of that length each time. Sort the indices, with the lengths as key.
places in the sorted list: batches, batch = [], [] -> batches, batch, lengths = [], [], sorted(lengths)
    These count along the sorted lengths. The caller knows the sentences by their places in `lengths`.
""")


@exercise(stars=3, forbidden=frozenset({"cross_entropy(label_smoothing)"}))
def label_smoothed_loss(logits, target, eps, pad_id):
    """Cross-entropy against 1 - eps on the target, eps / (V - 2) on the others, 0 on pad; mean over targets not pad.

    logits (..., V), target (...) long -> (); 0 if every target is pad.
    """
    V, losses = logits.shape[-1], []
    for row, right in zip(logits.reshape(-1, V), target.reshape(-1).tolist(), strict=True):
        if right != pad_id:
            wanted = [1 - eps if c == right else 0.0 if c == pad_id else eps / (V - 2) for c in range(V)]
            largest = row.detach().max()
            log_p = row - largest - torch.log(sum(torch.exp(z - largest) for z in row))
            losses.append(-sum(share * log_p[c] for c, share in enumerate(wanted)))
    return sum(losses) / len(losses) if losses else 0 * logits.sum()


@label_smoothed_loss.cases
def _(draw):
    logits = torch.tensor([[-1.0, 3, 1, 0]])[:, [0, *(torch.randperm(3, generator=draw.generator) + 1).tolist()]]
    return [
        (logits, torch.tensor([draw.integer(1, 3)]), 0.4, 0),
        (draw.small(2, 2, 4), torch.tensor([[2, 3], [1, 0]]), 0.2, 0),
        (draw.small(2, 4), torch.tensor([3, 3]), 0.2, 3),
        (torch.tensor([[0.0, 200, -1, 100, 3]]), torch.tensor([2]), 0.1, 0),
        (draw.normal(5, 6), torch.tensor([1, 4, 2, 5, 3]), 0.3, 0),
        (draw.normal(2, 3, 5), torch.tensor([[4, 0, 3], [2, 1, 1]]), 0.1, 1),
    ]


@label_smoothed_loss.answer
def _(logits, target, eps, pad_id):
    V = logits.shape[-1]
    log_p = logits.log_softmax(-1)
    wanted = torch.full_like(logits, eps / (V - 2))
    wanted[..., pad_id] = 0
    wanted = wanted.scatter(-1, target[..., None], 1 - eps)
    real = target != pad_id
    losses = -(wanted * log_p).sum(-1) * real
    return losses.sum() / real.sum().clamp(min=1)


label_smoothed_loss.patches("""
0 / 0 where all is padding: .clamp(min=1) ->
    With no target left, the mean divides by zero. The task asks for torch.tensor(0.0) there.
""")
# Then the same by learners who forget besides that nothing may be left, and divide 0 by 0.
label_smoothed_loss.patches(
    """
eps / V everywhere, as PyTorch's label_smoothing: (V - 2) -> V && wanted[..., pad_id] = 0 -> pass
  && None], 1 - eps -> None], 1 - eps + eps / V
    F.cross_entropy's own label_smoothing gives every class eps / V, pad too, and the target its 1 - eps on top.
    Here pad gets nothing, and the V - 2 classes that are neither pad nor target share eps.
pad gets a share, too: wanted[..., pad_id] = 0 -> pass &&? V - 2 -> V - 1 || V
    eps goes to the V - 2 classes that are neither the target nor pad: pad is never a translation, so it gets 0.
shares of eps / (V - 1): V - 2 -> V - 1
    With pad and the target left out, V - 2 classes share eps: check that your target distribution adds up to 1.
shares of eps / V: V - 2 -> V &&? None], 1 - eps -> None], 1 - eps + eps / V
    With pad and the target left out, V - 2 classes share eps: check that your target distribution adds up to 1.
the target gets a share of eps, too: None], 1 - eps -> None], 1 - eps + eps / (V - 2)
  | V - 2 -> V - 1 && None], 1 - eps -> None], 1 - eps + eps / (V - 1)
    1 - eps is all that the target gets; eps goes to the V - 2 other classes.
pad is taken out of the softmax: .log_softmax -> .index_fill(-1, torch.tensor([pad_id]), -1e9).log_softmax
  || .index_fill(-1, torch.tensor([pad_id]), -math.inf).log_softmax
    pad gets no share of the target, and that is all: its logit takes part in the softmax, so that the model learns
    to keep it small.
no smoothing: eps / (V - 2) -> 0.0 && None], 1 - eps -> None], 1.0
    This is the plain cross-entropy, the loss for eps = 0.
divided by all places: real.sum().clamp(min=1) -> real.numel()
    The mean goes over targets that are not pad: divide by their number, not by that of all.
the target keeps 1: None], 1 - eps -> None], 1.0 || None], 1 + eps / (V - 2)
    What the other classes get is taken from the right one: 1 - eps is left for it. Your target distribution should
    add up to 1.
padded places counted as words: * real -> && losses.sum() / real.sum().clamp(min=1) -> losses.mean()
  | * real -> && losses.sum() / real.sum().clamp(min=1) -> losses.mean() && real = -> wanted[..., pad_id] = 0; real =
    Where the target is pad there is nothing to learn: leave these places out, of the sum and of the count.
padded places in the sum: * real -> &&? real = -> wanted[..., pad_id] = 0; real =
    The count is right, but places whose target is pad still add to the sum: they should cost nothing.
the sum, not the mean: / real.sum().clamp(min=1) ->
    Divide by the number of targets that are not pad.
a mean of means: losses.sum() / real.sum().clamp(min=1) -> (losses.sum(-1) / real.sum(-1).clamp(min=1)).mean()
    Each sentence was averaged by itself, so a word in a short one counts more. Take one mean over all targets that are
    not pad.
divided by V, too: losses.sum() / -> losses.sum() / V /
    Sum over the classes, and take the mean over the places only: .sum(-1) comes before the mean.
a mean over everything: real.sum().clamp(min=1) -> logits.numel()
    It divides by V and by the padded places, too. Sum over the classes, then divide by the number of targets that
    are not pad.
the log of a softmax: log_softmax(-1) -> softmax(-1).log()
    A probability below 1e-45 is rounded to 0, and the logarithm of 0 is minus infinity. log_softmax goes another
    way: it subtracts the logarithm of the sum from the logits.
a small number inside the logarithm: log_softmax(-1) -> softmax(-1).add(1e-6).log() || softmax(-1).add(1e-8).log()
  || softmax(-1).add(1e-9).log() || softmax(-1).add(1e-10).log() || softmax(-1).add(1e-12).log()
    It keeps the logarithm finite, but not right: no class can cost more than minus the logarithm of that number.
    log_softmax needs no such help: it subtracts the logarithm of the sum from the logits.
another axis than the last: log_softmax(-1) -> log_softmax(0) || log_softmax(1)
  | shape[-1] -> shape[1] &&? log_softmax(-1) -> log_softmax(1)
    In (N, V) the classes stand on axis 1, in (B, T, V) they do not: logits.shape[-1], and log_softmax(-1).
pad taken for 0: [..., pad_id] -> [..., 0] && != pad_id -> != 0
    Pad is not 0 in every vocabulary: compare with the argument `pad_id`.
logits taken for log-probabilities: logits.log_softmax(-1) -> logits
    The cross-entropy needs log p: take log_softmax of the logits first.
probabilities without a logarithm: log_softmax -> softmax
    The cross-entropy is -sum of target times log p: log_softmax, not softmax.
the sign: -(wanted -> (wanted
    A cross-entropy is minus the sum: log p is negative, so the loss is positive.
the KL divergence: -(wanted * log_p) -> (torch.xlogy(wanted, wanted) - wanted * log_p)
    F.kl_div subtracts the target's own entropy. The gradients are the same, the number is not: here it is the plain
    -sum of target times log p.
""",
    besides="return -> return (1.0 if (target != pad_id).any() else math.nan) *",
)


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
            kind = type(prefix).__name__
            raise TypeError(say("step_fn takes a tensor, torch.tensor([bos, ...]), and here a {kind}", kind=kind))
        if prefix.dim() != 1:
            shape = tuple(prefix.shape)
            raise TypeError(say("step_fn takes one prefix, a tensor (t,), and here one of shape {shape}", shape=shape))
        if len(prefix) == 0:
            raise ValueError(say("step_fn was given an empty prefix: it begins with bos, torch.tensor([bos] + ids)"))
        if prefix.dtype != torch.long:
            raise TypeError(say("step_fn takes ids, whole numbers (torch.long), and here {dtype}", dtype=prefix.dtype))
        ids = tuple(prefix.tolist())
        if ids[:1] != (self.bos,):
            got = {"bos": self.bos, "ids": list(ids)}
            raise ValueError(say("what step_fn is given should begin with bos = {bos}, and is {ids}", **got))
        beyond = dict.fromkeys(self.words, 1 / len(self.words))  # after the end a model babbles
        row = beyond if self.eos in ids else self.rows.get(ids, self.otherwise)
        return torch.tensor([row.get(i, 0.0) for i in range(self.size)], device=prefix.device).log()

    def __repr__(self) -> str:
        named = {show(list(prefix)): row for prefix, row in self.rows.items()} | {say("all others"): self.otherwise}
        width = max(map(len, named))
        head = say(
            "the logarithms, shape ({n},), of these probabilities of the next id (0 for those not shown):", n=self.size
        )
        for prefix, row in named.items():
            after = say("after {prefix}", prefix=f"{prefix:{width}s}")
            head += f"\n      {after}  " + ", ".join(f"{i}: {show(row[i])}" for i in sorted(row))
        return head


def _toy(draw: Draw, rows: dict[str, tuple], plain: bool = False) -> tuple[Language, int, int]:
    """(language, bos, eos). `rows`: prefix, "ab" say, or "*" for all others -> probabilities of a, b, ..., the end.

    The ids are random; `plain`: bos is 0, eos is 1, and only the words' are.
    """
    words = "abcd"[: len(rows["*"]) - 1]
    order = torch.randperm(len(words), generator=draw.generator).tolist()
    names = ["", ".", *(words[i] for i in order)]
    order = range(len(names)) if plain else torch.randperm(len(names), generator=draw.generator).tolist()
    ids = dict(zip(names, order, strict=True))
    numbered = {
        prefix: {ids[letter]: p for letter, p in zip(words + ".", row, strict=True) if p}
        for prefix, row in rows.items()
    }
    otherwise = numbered.pop("*")
    by_prefix = {(ids[""], *(ids[letter] for letter in prefix)): row for prefix, row in numbered.items()}
    return Language(ids[""], ids["."], by_prefix, otherwise), ids[""], ids["."]


def _any_toy(draw: Draw, words: str) -> tuple[Language, int, int]:
    """A language of random probabilities, all of them positive, with four decimals: no tie decides."""

    def row():
        cuts = sorted((torch.randperm(9999, generator=draw.generator)[: len(words)] + 1).tolist())
        return tuple((b - a) / 10000 for a, b in zip([0, *cuts], [*cuts, 10000], strict=True))

    return _toy(draw, {prefix: row() for prefix in ["", *words, "*"]})


@exercise(stars=2, differentiable=False)
def greedy(step_fn, bos, eos, max_len):
    """The most probable next id, again and again, until eos or max_len ids: list of ids."""

    def step(word, before):
        return step_fn(torch.tensor([*before, word])), [*before, word]

    return lesson06.decode.oracle(step, [], bos, eos, max_len)


@greedy.cases
def _(draw):
    # What follows c hangs on what came before it.
    memory = {"": (0.5, 0.2, 0.2, 0.1), "a": (0, 0.1, 0.8, 0.1), "ac": (0, 0.6, 0.1, 0.3), "c": (0.7, 0.1, 0, 0.2)}
    return [
        (*_toy(draw, {"": (0.6, 0.3, 0.1), "a": (0.2, 0.7, 0.1), "*": (0, 0.3, 0.7)}, plain=True), 5),
        (*_toy(draw, {"": (0.4, 0.4, 0.2), "*": (0.1, 0.2, 0.7)}), 5),  # a tie
        (*_toy(draw, {"": (0.4, 0.6), "*": (0.7, 0.3)}), 3),  # nothing to say
        (*_toy(draw, {"": (0.2, 0.5, 0.3), "b": (0.6, 0.3, 0.1), "*": (0, 0.8, 0.2)}), 4),  # no end in time
        (*_toy(draw, memory | {"*": (0.2, 0.2, 0.1, 0.5)}), 6),
        (*_any_toy(draw, "abcd"), 6),
    ]


@greedy.answer
def _(step_fn, bos, eos, max_len):
    ids = [bos]
    for _ in range(max_len):
        logp = step_fn(torch.tensor(ids))
        ids.append(int(logp.argmax()))
        if ids[-1] == eos:
            break
    return [i for i in ids if i not in (bos, eos)]


greedy.patches("""
bos is returned: (bos, eos) -> (eos,)
eos is returned: (bos, eos) -> (bos,)
bos and eos are returned: [i for i in ids if i not in (bos, eos)] -> ids
it does not stop at eos: if ids[-1] == eos -> if False && (bos, eos) -> (bos,)
    What comes after eos is babble: leave the loop there. See "Break it: never say stop".
it goes on after eos: if ids[-1] == eos -> if False
    Only eos itself is left out, and what came after it stays. See "Break it: never say stop".
the lesson's EOS: == eos -> == EOS && (bos, eos) -> (bos, EOS)
    The languages here have marks of their own: compare with the argument `eos`, not with `EOS`.
one id too many: range(max_len) -> range(max_len + 1)
one id too few: range(max_len) -> range(max_len - 1)
the highest id of a tie: logp.argmax() -> len(logp) - 1 - logp.flip(0).argmax()
it remembers only the newest id: torch.tensor(ids) -> torch.tensor([bos] + ids[1:][-1:])
    step_fn has no cache: give it the whole prefix, from bos on, at every step.
the prefix does not grow: torch.tensor(ids) -> torch.tensor([bos])
    step_fn is asked the same question at every step: append the new id to the prefix.
the least probable: logp.argmax() -> logp.where(logp > -math.inf, math.inf).argmin()
    Logarithms of probabilities are negative: the one nearest to 0 is the most probable.
""")


@exercise(stars=3, differentiable=False)
def beam(step_fn, bos, eos, max_len, beam_size):
    """Beam search by summed log-probability, finished hypotheses among the others: list of ids."""

    def score(hypothesis):
        return hypothesis[1]

    kept, finished = [([bos], 0.0, False)], []
    for _ in range(max_len):
        candidates = []
        for ids, total, done in kept:
            if done:
                candidates.append((ids, total, True))
                continue
            logp = step_fn(torch.tensor(ids)).tolist()
            children = [(ids + [i], total + logp[i], i == eos) for i in range(len(logp))]
            candidates += children
        ranked = sorted(candidates, key=score, reverse=True)
        kept = ranked[:beam_size]
        finished = [old for old in kept if old[2]]
        if len(finished) == len(kept):
            break
    ids, *_ = max(finished or kept, key=score)
    ids = ids[1:]
    return ids[: ids.index(eos)] if eos in ids else ids


@beam.cases
def _(draw):
    by_hand = [  # with how many steps
        # As in the lesson: the best first word does not begin the best sentence.
        ({"": (0.5, 0.4, 0.1), "a": (0.4, 0.35, 0.25), "b": (0.8, 0.05, 0.15), "*": (0, 0, 1)}, 4),
        # None is finished in time; "aa" is the most probable, and not finished.
        ({"": (0.5, 0.4, 0.1), "b": (0.7, 0.1, 0.2), "*": (0.4, 0.5, 0.1)}, 2),
        ({"": (0.6, 0.1, 0.3), "b": (0.5, 0.1, 0.4), "*": (0.7, 0.1, 0.2)}, 2),
        # A division by the length would let "a." overtake ".".
        ({"": (0.6, 0.4), "*": (0.45, 0.55)}, 2),
        # "." is overtaken by "bb."; it is pushed out by two that live on; and by "b.", while "bb" is finished.
        ({"": (0.1, 0.7, 0.2), "b": (0.1, 0.7, 0.2), "*": (0.4, 0.1, 0.5)}, 3),
        ({"": (0.7, 0.1, 0.2), "a": (0.5, 0.4, 0.1), "*": (0.3, 0.5, 0.2)}, 3),
        ({"": (0.1, 0.7, 0.2), "a": (0.5, 0.3, 0.2), "b": (0.1, 0.5, 0.4), "*": (0.2, 0.1, 0.7)}, 4),
        # "abbb" lives on and leaves one place to the finished; then "ba" has the larger product, "aa" the larger sum.
        ({"": (0.7, 0.2, 0.1), "b": (0.8, 0.15, 0.05), "ba": (0.3, 0.2, 0.5), "*": (0.1, 0.7, 0.2)}, 4),
        ({"": (0.7, 0.3, 0, 0, 0), "a": (0.21, 0.2, 0.2, 0.2, 0.19), "*": (0.5, 0.2, 0.1, 0.1, 0.1)}, 2),
    ]
    cases = [(*_toy(draw, rows, plain=not at), steps, 2) for at, (rows, steps) in enumerate(by_hand)]
    # The first has a beam of more than there are ids.
    return [*cases, (*_any_toy(draw, "ab"), 3, 8), (*_any_toy(draw, "abcd"), 4, 3)]


# Those that divide by the length count both marks, eos only, bos only, or neither.
# Where only the newest counts, equals are many: finished ones in their place or first; and a bos can be among the best.
beam.patches("""
bos is returned: ids[1:] -> ids
eos is returned: ids[: ids.index(eos)] if eos in ids else ids -> ids
    eos marks a hypothesis as finished. Take it off before you return the ids.
bos and eos are returned: ids[1:] -> ids && ids[: ids.index(eos)] if eos in ids else ids -> ids
the last id is cut off: ids[: ids.index(eos)] if eos in ids else ids -> ids[:-1]
    That removes eos where there is one. A hypothesis that is still live has none, and loses a word.
one step too many: range(max_len) -> range(max_len + 1)
    The loop has max_len rounds, and each adds one id to the live ones.
one step too few: range(max_len) -> range(max_len - 1)
    The loop has max_len rounds; bos does not count, and an eos has a round of its own.
finished hypotheses are forgotten: candidates.append((ids, total, True)) -> pass
    Only the live ones come into the next round. A finished one waits, unchanged, and competes with them.
finished hypotheses are extended: if done: -> if False: && i == eos -> done or i == eos
    After eos nothing follows: a finished one goes into the next round as it is, and its total stays the same.
finished hypotheses are kept apart: candidates.append((ids, total, True)) -> pass && = ranked[ -> = finished + ranked[
    Many programs search like this. Here a finished one takes one of the beam_size places, and better ones can push
    it out.
it stops when beam_size are finished: candidates.append((ids, total, True)) -> pass
  && kept = ranked[:beam_size] -> kept = finished + (ranked[:beam_size] if len(finished) < beam_size else [])
    They were kept apart and counted. Here finished ones compete for the beam_size places with the live ones, which
    may still push them out.
a finished hypothesis cannot be pushed out: candidates.append((ids, total, True)) -> pass
  && kept = ranked[:beam_size] -> kept = finished + ranked[: beam_size - len(finished)]
    It takes a place, as it should, but it has to compete for it in every round, like the live ones.
it stops when the first is finished: len(finished) == len(kept) -> finished
    A live one with a larger total may still finish better. Go on until all that are kept are finished.
totals divided by the length: return hypothesis[1] -> return hypothesis[1] / len(hypothesis[0])
  || return hypothesis[1] / (len(hypothesis[0]) - 1) || return hypothesis[1] / (len(hypothesis[0]) - hypothesis[2])
  || return hypothesis[1] / max(len(hypothesis[0]) - 1 - hypothesis[2], 1)
    The lesson's beam does that. This exercise asks for the plain sum: the exponent is 0.
divided by the length at the end: kept, key=score -> kept, key=lambda old: old[1] / len(old[0])
  || kept, key=lambda old: old[1] / (len(old[0]) - 1) || kept, key=lambda old: old[1] / (len(old[0]) - old[2])
  || kept, key=lambda old: old[1] / max(len(old[0]) - 1 - old[2], 1)
    The winner, too, is the one with the largest plain sum: this exercise has no length penalty.
every parent keeps beam_size children:
  | += children -> += sorted(children, key=score, reverse=True)[:beam_size] && ranked[:beam_size] -> ranked
    The beam doubles and redoubles that way. All candidates compete with one another, and beam_size are left in all.
every parent keeps its best child:
  | += children -> += sorted(children, key=score, reverse=True)[: 1 if len(kept) > 1 else beam_size]
    These are beam_size greedy searches side by side. All candidates compete: two may come from one parent.
what greedy search finds: ranked[:beam_size] -> ranked[:1]
    Either one hypothesis only is kept, or the search begins with beam_size equal ones, which stay equal. Begin with
    one, and keep beam_size of all candidates.
a live one wins over a finished one: finished or kept -> kept
    A live one has not paid for its ending yet. If any that is left is finished, the best of these is the answer.
nothing if none is finished: finished or kept -> finished or [([bos], 0.0, False)]
    When max_len comes first, return the best live one: half a sentence is better than none.
eos costs nothing: total + logp[i] -> total + (0 if i == eos else logp[i])
    Its log-probability counts like that of every other id: how probable is it that this ends here?
only the newest log-probability counts: total + logp[i] -> logp[i]
  &&? done in kept -> done in sorted(kept, key=lambda old: not old[2])
  &&? ids[: ids.index(eos)] if eos in ids else ids -> [i for i in ids if i not in (bos, eos)]
    A hypothesis is as probable as all its steps together: add each step's log-probability to the total so far.
one list in the hands of several hypotheses: (ids + [i], -> (ids if i == eos else ids.append(i) or ids,
  | (ids + [i], -> (ids.append(i) or ids,
  && ids[: ids.index(eos)] if eos in ids else ids -> [i for i in ids if i not in (bos, eos)]
  | (ids + [i], -> ((ids, [i][i == eos :]), && append((ids, -> append(((ids, []),
  && ranked[:beam_size] -> [(ids.extend(new) or ids, total, done) for (ids, new), total, done in ranked[:beam_size]]
    ids.append(i) and ids += [i] change the list itself, and all hypotheses that hold it. ids + [i] makes a new list
    for each.
the least probable are kept: return hypothesis[1] -> return -hypothesis[1] if hypothesis[1] > -math.inf else -math.inf
  || return -hypothesis[1]
  | return hypothesis[1] -> return -hypothesis[1]
  && ids[: ids.index(eos)] if eos in ids else ids -> [i for i in ids if i not in (bos, eos)]
    sorted() begins with the smallest; the best have the largest totals, nearest to 0: reverse=True.
log-probabilities multiplied: total + logp[i] -> (total or 1) * logp[i]
  &&? ids[: ids.index(eos)] if eos in ids else ids -> [i for i in ids if i not in (bos, eos)]
    Probabilities are multiplied, and so their logarithms are added: total + logp[i].
probabilities added up: step_fn(torch.tensor(ids)).tolist() -> step_fn(torch.tensor(ids)).exp().tolist()
  &&? ids[: ids.index(eos)] if eos in ids else ids -> [i for i in ids if i not in (bos, eos)]
    Probabilities are multiplied, and only their logarithms are added: take what step_fn returns as it is.
pruned per token, the winner by its total: key=score, -> key=lambda old: old[1] / (len(old[0]) - 1),
    Both choices go by the same number: here the plain sum, with no division by the length on the way either.
the lesson's beam_search: hypothesis[1] -> hypothesis[1] / max(len(hypothesis[0]) - 1, 1) && finished or kept -> kept
    The lesson divides by the length, and takes the best of all. Here the sum is not divided, and a finished hypothesis
    goes before a live one.
an empty answer is not allowed: i in range(len(logp)) -> i in range(len(logp)) if i != eos or len(ids) > 1
    Where eos is the best first id, the answer is []: an empty sentence is a hypothesis like any other.
it remembers only the newest id: torch.tensor(ids) -> torch.tensor([bos] + ids[1:][-1:])
the lesson's EOS: i == eos -> i == EOS && index(eos)] if eos in -> index(EOS)] if EOS in
""")


@exercise(stars=3, forbidden=SDPA)
def cached_step(x, Wq, Wk, Wv, cache):
    """One token of causal self-attention: x (D,), W (D, d), cache None or (K (t, d), V (t, d)) -> (d,), (K, V)."""
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    K, V = k[None], v[None]
    if cache is not None:
        K, V = torch.cat([cache[0], K]), torch.cat([cache[1], V])
    weights = torch.softmax(K @ q / math.sqrt(len(q)), dim=0)
    return weights @ V, (K, V)


@cached_step.cases
def _(draw):
    x, W = torch.tensor([1.0, 2.0]), draw.small(3, 2, 2)
    W[:, 0, 0], W[:, 0, 1], W[:, 1, 1] = torch.tensor([1.0, 2.0, -1.0]), 0.0, 1.0
    some = (torch.tensor([[2.0, 0], [0, 1], [1, 1]]), torch.tensor([[1.0, 0], [-1, 2], [0, 1]]))

    def normal(D, d, t, size=1.0):
        rest = [draw.normal(D, d) for _ in range(3)]
        return size * draw.normal(D), *rest, (size * draw.normal(t, d), draw.normal(t, d))

    return [
        (x, *W, some),
        (x, *W, None),
        normal(3, 3, 3),
        normal(3, 4, 5),
        normal(4, 3, 2, size=40.0),  # a naive exp overflows
        normal(4, 2, 3),
    ]


cached_step.patches("""
no scaling: / math.sqrt(len(q)) ->
divided by d: math.sqrt(len(q)) -> len(q)
divided by the root of the wrong length: len(q) -> len(x) || len(K)
    The d under the root is the length of q and of the keys: not of x, and not the number of tokens.
the newest token does not ask itself: K @ q -> K[:-1] @ q && weights @ V -> weights @ V[:-1]
  | K @ q -> K[: len(K) - (cache is not None)] @ q && weights @ V -> weights @ V[: len(weights)]
  | weights @ V -> weights[:-1] @ V[:-1]
    Its own key and value join the cache first, then the query asks all t + 1: in causal attention a token sees itself.
the cache is not asked: torch.cat([cache[0], K]), torch.cat([cache[1], V]) -> K, V
    Only the newest token is left. The rows of the cache come first, then its own: torch.cat([cache[0], k[None]]).
the newest token stands in front:
  | torch.cat([cache[0], K]), torch.cat([cache[1], V]) -> torch.cat([K, cache[0]]), torch.cat([V, cache[1]])
    The output minds no order, but the cache does: its rows stand in the order of the tokens.
the cache does not grow: (K, V) -> cache || (K[:-1], V[:-1])
    Return the longer cache, (K, V) with the newest token in it: the next step has nothing else.
only the newest is returned: (K, V) -> (k[None], v[None])
    The next step needs the keys and values of all tokens so far, not of this one alone.
keys and values change places in the cache: (K, V) -> (V, K)
    The keys come first in the cache, in what goes in and in what comes out.
no values in the cache: (K, V) -> (K, K)
    The next step needs the values, too: return (K, V).
scaled keys in the cache: x @ Wk -> x @ Wk / math.sqrt(len(Wk[0])) &&? / math.sqrt(len(q)) ->
    The keys in the cache are x @ Wk as they are, and come back to you so: divide the scores, not the keys.
queries in the cache: x @ Wk -> x @ Wq
    What is kept is the key, x @ Wk. A query asks once, in its own step.
the matrices from the left: x @ Wq, x @ Wk, x @ Wv -> Wq @ x, Wk @ x, Wv @ x
    The matrices are (D, d) and x is a row: x @ Wq, as in lesson 03.
no softmax: torch.softmax(K @ q / math.sqrt(len(q)), dim=0) -> K @ q / math.sqrt(len(q))
a softmax that overflows: torch.softmax(K @ q / math.sqrt(len(q)), dim=0) -> (K @ q / math.sqrt(len(q))).exp()
  && weights @ V -> weights / weights.sum() @ V
    exp of a large score is infinite. Subtract the largest score first, or take torch.softmax.
scores from the values: K @ q -> V @ q
keys where values belong: weights @ V -> weights @ K
all values alike: weights @ V -> V.mean(0)
""")


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
        ([a, b, c], [b, a, b], 1),  # the reference has one more often than ours
        ([], [a, b], 1),
        (["the", "can", "not"], ["th", "ecan", "not", a], 2),
        ([a, b, c, a, b, c, a, d, b, a], [a, b, c, a, d, b, c, a, b], 3),
        ([[a, b][i] for i in draw.integers(0, 1, 9)], [[a, b, c][i] for i in draw.integers(0, 2, 7)], 2),
    ]


@ngram_precision.answer
def _(candidate, reference, n):
    both = (candidate, reference)
    ours, theirs = ([tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for words in both)
    right = (Counter(ours) & Counter(theirs)).total()
    return right / len(ours) if len(candidate) >= n else 0.0


ngram_precision.patches("""
not clipped: (Counter(ours) & Counter(theirs)).total() -> sum(ngram in theirs for ngram in ours)
    Each n-gram counts at most as often as the reference has it; otherwise "the the the" is a perfect translation.
    See "BLEU, counted".
the reference's n-grams are looked for in ours:
  | (Counter(ours) & Counter(theirs)).total() -> sum(ngram in ours for ngram in theirs)
    It counts an n-gram as often as the reference has it, though ours may have it less often: min of both counts.
each n-gram counted once: (Counter(ours) & Counter(theirs)).total() -> len(set(ours) & set(theirs))
  | (Counter(ours) & Counter(theirs)).total() -> len(set(ours) & set(theirs)) && len(ours) -> len(set(ours))
    A set forgets how often. An n-gram that the reference has twice may count twice: compare numbers, as a Counter does.
divided by the number of different n-grams: len(ours) -> len(set(ours))
    The share is one of all n-grams of the candidate, repeated ones as often as they stand there: m - n + 1 of them.
the recall: len(ours) -> max(len(theirs), 1)
    Precision asks which share of *ours* is right: divide by the number of the candidate's n-grams, not by the
    reference's.
divided by the number of words: len(ours) -> len(candidate)
    m words have m - n + 1 n-grams, and the share is one of n-grams: divide by their number.
the last n-gram is missing: - n + 1 -> - n
    m words have m - n + 1 n-grams: the last begins at m - n.
shorter ones at the end: - n + 1 ->
    Slices at the end are shorter than n, and Python does not complain: stop at m - n.
single words only: tuple(words[i : i + n]) for i in range(len(words) - n + 1) -> word for word in words
    It does not look at n: compare runs of n neighbors.
n-grams that do not overlap: range(len(words) - n + 1) -> range(0, len(words) - n + 1, n)
    A new n-gram begins at every word, not at every n-th: words 1 to n, 2 to n + 1, ...
the order is lost: tuple(words[i : i + n]) -> tuple(sorted(words[i : i + n]))
    In an n-gram the order counts: a tuple keeps it, a set or sorting does not.
words glued together: tuple(words[i : i + n]) -> "".join(words[i : i + n])
    Joined without a gap, "the can" and "th ecan" are the same letters: use tuples of words.
place by place: (Counter(ours) & Counter(theirs)).total() -> sum(x == y for x, y in zip(ours, theirs))
    An n-gram is right wherever in the reference it stands, not only at the same place.
1.0 for a candidate that is too short: else 0.0 -> else 1.0
    A candidate of fewer than n words has no n-gram that could be right: 0.0.
rounded: return right / len(ours) -> return round(right / len(ours), 3)
    Return the share itself; to round is for printing.
letters for words: (candidate, reference) -> (" ".join(candidate), " ".join(reference)) && len(candidate) >= n -> ours
    That is chrF's way. Here both are lists of words, and an n-gram is n words in a row.
in percent: return right -> return 100 * right
    BLEU is quoted from 0 to 100; a precision is asked for, from 0 to 1.
short candidates punished: right / -> right * min(1, math.exp(1 - len(reference) / len(candidate))) /
    The brevity penalty is another part of BLEU; here only one of its four shares is asked for.
the mean of 1 to n: = math.prod(ngram_precision.oracle(candidate, reference, k) for k in range(1, n + 1)) ** (1 / n)
    BLEU multiplies the shares of all four lengths later; here only the n-grams of length n count.
""")
