"""The parts of the capstone, each examined alone: what a learner's `my_transformer.py` must do, whatever its design.

Where the task leaves no choice, a part is compared with an oracle. Where it does (norm first or last, even one of each;
biases, ReLU or GELU, how matrices are stored), what is tested is what every right answer has in common.
"""

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import torch
from torch import Tensor, nn

from utils.checks.capstone import oracles
from utils.checks.capstone.oracles import FORBIDDEN
from utils.checks.engine import Check, difference, say
from utils.checks.engine.handed_in import is_stub, signature_problem
from utils.checks.engine.running import Allowance, Raised, call

SECONDS = 10.0  # for one part
SRC, TGT = 11, 13  # sizes of the vocabularies


@dataclass(frozen=True)
class Part:
    """A part of the file: its name, what to write, how it is examined, and what must stand before it."""

    name: str
    task: str
    examine: Callable[["Mine", int], None]
    needs: tuple[str, ...]


PARTS: list[Part] = []


def part(task: str, needs: tuple[str, ...] = (), name: str = ""):
    """The part that the following function examines; the task begins with its name and what it takes, name(...)."""
    return lambda examine: PARTS.append(Part(name or task.partition("(")[0], task, examine, needs))


class Told(Exception):
    """A sentence that the learner reads, and the values for its places: see `say`."""

    def __init__(self, text: str = "", **values):
        super().__init__(say(text, **values))


class Wrong(Told):
    """What is wrong with a part."""


class Missing(Told):
    """The part is not written yet."""


# ---- calling the learner's code ----------------------------------------------------------------------------


class Mine:
    """The learner's module. Calls into it are cut off in time, and their errors become sentences."""

    def __init__(self, module: types.ModuleType, code: types.CodeType):
        self.module, self.file = module, types.FunctionType(code, {})  # a function of that file: see `Raised.where`
        self.steps, self.model = 0, None  # of the training: how long, and what came of it
        self.allowance = Allowance(SECONDS)  # a new one for each part

    def written(self, function: Callable) -> Callable:
        """The function, as if it stood in the learner's file: its errors name the line there."""
        function.__signature__, function.__wrapped__ = inspect.signature(function), self.file
        return function

    def get(self, name: str):
        """The learner's function or class of this name."""
        thing = vars(self.module).get(name)
        if thing is None:
            raise Missing
        home = getattr(thing, "__module__", None) or ""
        if home.startswith(("torch", "utils.")):
            raise Wrong("your file imports it from {home}. Write one of your own: that is the task.", home=home)
        is_class = inspect.isclass(thing)
        if not callable(thing) or is_class != name[0].isupper():
            kind = say("class") if name[0].isupper() else say("function")
            raise Wrong("it should be a {kind}, and yours is {thing}.", kind=kind, thing=repr(thing)[:60])
        body = getattr(thing, "forward", nn.Module.forward) if is_class else thing
        if body is nn.Module.forward or is_stub(body):
            raise Missing
        return thing

    def run(self, function: Callable, *arguments, what: str, forbidden: frozenset[str] = FORBIDDEN):
        """The value of function(*arguments), or an exception with a sentence about `what`."""
        done = call(self.written(lambda: function(*arguments)), (), self.allowance, forbidden)
        if done.forbidden:
            used = done.forbidden[0]
            raise Wrong("{what} calls {used}, and that is what you are asked to build here.", what=what, used=used)
        if not isinstance(done.outcome, Raised):
            return done.outcome
        if done.outcome.kind is NotImplementedError:
            raise Missing
        if done.timed_out:
            raise Wrong("{what} had not finished in time: is there a loop that never ends?", what=what)
        raise Wrong("{what} stopped with {error}", what=what, error=done.outcome.with_line())

    def make(self, name: str, *sizes: int, **named: int) -> nn.Module:
        """A module of the learner's class, ready to evaluate."""
        made, what = self.get(name), f"{name}({', '.join(map(str, [*sizes, *(f'{k}={v}' for k, v in named.items())]))})"
        task = next(part.task for part in PARTS if part.name == name)
        takes = task.partition("(")[2].partition(")")[0]
        if problem := signature_problem(made, name, takes, *sizes, **named):
            raise Wrong("{problem}", problem=problem)
        module = self.run(lambda: made(*sizes, **named), what=what)
        if not isinstance(module, nn.Module):
            raise Wrong(
                "{made} should be a module: begin with class {name}(nn.Module), and super().__init__().",
                made=what,
                name=name,
            )
        return module.eval()

    def forward(self, module: nn.Module, shape: tuple[int, ...] | None = None, **inputs: Tensor) -> Tensor:
        """What the module answers, of the shape that is wanted and without NaN."""
        given = ", ".join(f"{name} {tuple(x.shape)}" for name, x in inputs.items())
        what = say("given {inputs}, it", inputs=given)
        forward = say("the forward of {name}", name=type(module).__name__)
        if problem := signature_problem(module.forward, forward, ", ".join(inputs), *inputs.values()):
            raise Wrong("{problem}", problem=problem)
        out = first(self.run(module, *(x.clone() for x in inputs.values()), what=what))
        if shape is None:
            return out
        wanted = torch.zeros(shape)
        right = isinstance(out, Tensor) and (out.shape, out.dtype) == (wanted.shape, wanted.dtype)
        problem = difference(out.detach() if right else wanted, out)
        if problem.startswith("wrong"):
            raise Wrong("{what} has the {problem}", what=what, problem=problem)
        if problem:
            raise Wrong("given {inputs}, {problem}", inputs=given, problem=problem)
        if not out.isfinite().all():
            raise Wrong(
                "{what} answers with NaN or infinity, though everybody has somebody to attend to. Is a mask inverted?",
                what=what,
            )
        return out


def first(value):
    """The output, where it comes with the weights."""
    return value[0] if isinstance(value, tuple) and value else value


# ---- what all modules have in common -----------------------------------------------------------------------


class Probe:
    """A module of the learner's with inputs for it: probe() is what it answers, probe(x=other) with another x."""

    def __init__(self, mine: Mine, module: nn.Module, shape: tuple[int, ...], **inputs: Tensor):
        self.mine, self.module, self.shape, self.inputs = mine, module, shape, inputs

    def __call__(self, **others: Tensor) -> Tensor:
        return self.mine.forward(self.module, self.shape, **{**self.inputs, **others})

    def hears(self, name: str, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, T, S): does output i of a row move when entry j of this input is changed?"""
        before, x, columns = self(), self.inputs[name], []
        for j in range(x.shape[1]):
            other = x.clone()
            other[:, j] = (change or other_vector)(x[:, j])
            columns.append(moved(before, self(**{name: other})))
        return torch.stack(columns, dim=-1)

    def is_deaf_to(self, name: str) -> bool:
        return not moved(self(), self(**{name: other_vector(self.inputs[name])})).any()


def moved(one: Tensor, other: Tensor) -> Tensor:
    """Which positions differ: (B, T, D) twice -> (B, T)."""
    scale = max(1.0, one.detach().abs().max().item())
    return (one - other).detach().abs().amax(-1) > 1e-4 * scale


def other_vector(x: Tensor) -> Tensor:
    return x + 2 * torch.randn_like(x)


@torch.no_grad()
def scrambled(module: nn.Module) -> nn.Module:
    """Random numbers for all parameters: what is tested must hold for any, and nothing may start as zero."""
    for p in module.parameters():
        if p.dim() < 2:
            p.add_(0.3 * torch.randn_like(p))
        else:
            p.copy_(torch.randn_like(p) / p.shape[-1] ** 0.5)
    return module


def sound(mine: Mine, module: nn.Module, shape: tuple[int, ...], **inputs: Tensor) -> Probe:
    """A probe with scrambled parameters, after what holds for every module: steady, and every parameter in use."""
    probe = Probe(mine, module, shape, **inputs)
    out = probe()
    if moved(out, probe()).any():
        raise Wrong(
            "the same input gives another output every time, also after eval(). Dropout must end with the training: "
            "nn.Dropout does it by itself, F.dropout needs training=self.training. Or leave it out."
        )
    if not list(module.parameters()):
        raise Wrong(
            "it has no parameters, so there is nothing to train. Layers belong to a module when they are assigned to "
            "self (or stand in an nn.ModuleList: a Python list hides them); single vectors need nn.Parameter(...)."
        )
    if not out.requires_grad:
        raise Wrong(
            "no gradient comes back: the parameters are made and not used, or something cuts the output off "
            "(.detach(), torch.no_grad(), numpy)."
        )
    (out * torch.linspace(0.5, 1.5, out.numel()).reshape(out.shape)).sum().backward()
    idle = [name for name, p in module.named_parameters() if p.grad is None]
    if idle:
        raise Wrong(
            "no gradient reaches {names}: a part that is made in __init__ is not used in forward, or its result is "
            "detached.",
            names=", ".join(idle[:3]) + (say(" and others") if len(idle) > 3 else ""),
        )
    scrambled(module)
    return probe


def rows_are_independent(probe: Probe) -> None:
    rows = {name: x if x.dtype == torch.bool and x.dim() == 2 else x[:1] for name, x in probe.inputs.items()}
    if moved(probe()[:1], probe.mine.forward(probe.module, **rows)).any():
        raise Wrong(
            "a sentence comes out differently alone than beside others in a batch. An operation (softmax, or counting "
            "positions) works along the wrong axis: the first is the batch (B, T, D), and nothing may mix its rows."
        )


def has_residuals(probe: Probe, name: str) -> None:
    """With all its matrices zero, a sublayer says the same whatever it is asked: only the sum carries x on."""
    norms = {id(p) for part in norms_of(probe) for p in part.parameters()}

    @torch.no_grad()
    def deaf_without(part: nn.Module) -> bool:
        matrices = [p for p in part.parameters() if p.dim() > 1 and id(p) not in norms]
        kept = [p.clone() for p in matrices]
        for p in matrices:
            p.zero_()
        deaf = probe.is_deaf_to(name)
        for p, values in zip(matrices, kept, strict=True):
            p.copy_(values)
        return deaf

    if not deaf_without(probe.module):
        return
    kinds = tuple(vars(probe.mine.module).get(name) for name in ("MultiHeadAttention", "FeedForward"))
    sublayers = [(name, part) for name, part in probe.module.named_modules() if isinstance(part, kinds)]
    around = say(" and ").join(name for name, part in sublayers if deaf_without(part))
    raise Wrong(
        "a residual connection is forgotten{around}: with all matrices set to zero the input should still come "
        'through, by the sum x + sublayer(x). See lesson 07, "4. Add & Norm".',
        around=say(" around {sublayers}", sublayers=around) if around else "",
    )


def norms_of(probe: Probe) -> list[nn.Module]:
    return [part for part in probe.module.modules() if isinstance(part, probe.mine.get("LayerNorm"))]


def has_norms(probe: Probe, name: str, wanted: int) -> None:
    used, x = [], probe.inputs[name]
    hooks = [part.register_forward_hook(lambda *_: used.append(1)) for part in norms_of(probe)]
    probe()
    for hook in hooks:
        hook.remove()
    large = probe(**{name: 1e4 * x})
    grows = min((large - rest).square().mean().sqrt().item() for rest in (0, 1e4 * x)) > 100
    if 0 < len(used) < wanted or grows:
        count = say(" ({used} of {wanted} are in use)", used=len(used), wanted=wanted) if len(used) < wanted else ""
        raise Wrong(
            "a layer norm is forgotten{count}: each of the {wanted} sublayers f has one, norm(x + f(x)) or "
            'x + f(norm(x)). See lesson 07, "4. Add & Norm".',
            count=count,
            wanted=wanted,
        )


def mask_is_kept(table: Tensor, mask: Tensor, name: str, sum_with_itself: bool = False) -> None:
    """(B, T, S) twice: who is heard is who may be heard. In a layer everybody hears themselves, by the sum."""
    mask = mask.expand(table.shape)
    others = torch.ones_like(mask) ^ (torch.eye(*mask.shape[1:]).bool() & sum_with_itself)
    hidden, shown = ~mask & others, mask & others
    partly = hidden.any(-1, keepdim=True) & shown  # shown beside something hidden
    if (table & hidden).any() and not (table & partly).any():
        raise Wrong(
            "inverted mask: what {mask} hides is heard, and the rest is not. True means *may attend*.", mask=name
        )
    if (table & hidden).any():
        raise Wrong(
            "{mask} is not respected: changing what it hides changes the output. Hand it on to attention.", mask=name
        )
    if (shown & ~table).any():
        raise Wrong("with {mask}, a position does not hear all that it may attend to.", mask=name)


def no_leak(table: Tensor, advice: str) -> None:
    """(T, T) table of who hears whom: only the past, and all of it."""
    past, future = torch.ones_like(table).tril(-1), torch.ones_like(table).triu(1)
    if (table & future).any() and not (table & past)[:-1].any():
        raise Wrong(
            "a leak, by an inverted causal mask: each position hears those after it and not those before it. True "
            'means *may attend*: key j <= query i, torch.ones(T, T).tril(). See lesson 07, "Does it look ahead?".'
        )
    if (table & torch.ones_like(table).triu(2)).any():
        raise Wrong(
            "a leak: a position hears target words that come after it. The causal mask is missing. {advice} See "
            'lesson 07, "Does it look ahead?".',
            advice=advice,
        )
    if (table & future).any():
        raise Wrong(
            "a leak: each position hears the one after it, which is the word it should predict. The causal mask is "
            'off by one: key j <= query i. See lesson 07, "Does it look ahead?".'
        )
    if not (table | ~past).all():
        raise Wrong(
            "a position does not hear all the target words before it: the self-attention asks y, with the causal mask "
            'as it is. See lesson 07, "7. Masked self-attention".'
        )


# ---- the parts, in their order -----------------------------------------------------------------------------


def compare(check: Check, answer: Callable, seed: int) -> None:
    passed, text = check.examine(answer, seed)
    if passed is None:
        raise Missing
    if not passed:
        raise Wrong("{problem}", problem=text)


def plain(rows):
    """Rows as lists, where they are tensors."""
    if isinstance(rows, (list, tuple)):
        return [row.tolist() if isinstance(row, Tensor) else row for row in rows]
    return rows


@part(
    "attention(q, k, v, mask=None): softmax(q k^T / sqrt(d)) v, for any batch dimensions; the mask is True where a "
    'query may attend. Lesson 02, "The function, finished".'
)
def examine_attention(mine: Mine, seed: int) -> None:
    answer = mine.get("attention")

    @wraps(answer)
    def output(q, k, v, mask=None):
        return first(answer(q, k, v) if mask is None else answer(q, k, v, mask))

    def stops(rows: int) -> bool:
        mask = torch.ones(rows, 3, dtype=torch.bool)
        return isinstance(call(output, (torch.ones(2, 4), *torch.ones(2, 3, 4), mask), mine.allowance).outcome, Raised)

    try:
        compare(oracles.attention, output, seed)
    except Wrong as wrong:
        if "IndexError" in str(wrong) and stops(1) and not stops(2):
            raise Wrong(
                "it stops where the mask has one row for all queries, (..., 1, m). Before you take its row i, repeat "
                'that one: mask.expand(*mask.shape[:-2], n, m). See lesson 02, "The function, finished".'
            ) from None
        raise


@torch.no_grad()
def set_to_identity(module: nn.Module, d: int, n_heads: int) -> bool:
    """All matrices the identity, all vectors zero; False where the shapes do not say how."""
    eye = torch.eye(d)
    heads = eye.unflatten(0, (n_heads, d // n_heads))  # (H, d/H, d)
    for name, p in module.named_parameters():
        number = re.search(r"\d+", name)
        head = heads[int(number[0])] if number and int(number[0]) < n_heads else eye[:0]
        rows, columns = p.shape[:1].numel(), p.shape[-1:].numel()
        known = [
            torch.zeros(rows),
            eye.repeat(rows // d, 1),
            eye.repeat(1, columns // d),
            head,
            head.T,
            heads,
            heads.mT,
        ]
        values = next((values for values in known if values.shape == p.shape), None)
        if values is None:
            return False
        p.copy_(values)
    return True


@part(
    "MultiHeadAttention(d_model, n_heads) with forward(x, memory, mask=None): x asks, memory answers. Lesson 07, "
    '"2. Attention with two inputs".',
    needs=("attention",),
)
def examine_multi_head(mine: Mine, seed: int) -> None:
    # Known mistakes first, on matrices that show them. What is not known here need not be wrong: heads may be cut in
    # other ways, so the rest decides.
    made, check = mine.make("MultiHeadAttention", 4, 2), oracles.identity_heads
    if set_to_identity(made, 4, 2):

        @mine.written
        def output(x, memory, mask):
            return first(made.to(x)(x, memory) if mask is None else made.to(x)(x, memory, mask))

        passed, text = check.examine(output, seed)
        if passed is False and any(say(mistake.advice) in text for mistake in check.mistakes):
            raise Wrong("with all its matrices set to the identity, d_model = 4, n_heads = 2: {problem}", problem=text)

    x, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    answer = sound(mine, mine.make("MultiHeadAttention", 8, 4), (2, 3, 8), x=x, memory=memory)
    if sum(p.numel() for p in answer.module.parameters()) < 4 * 8 * 8:
        raise Wrong("a matrix is missing: W^Q, W^K, W^V and, after the heads are joined, W^O, each d_model x d_model.")

    out, one_head = answer(), mine.make("MultiHeadAttention", 8, 1)
    try:
        one_head.load_state_dict(answer.module.state_dict())
    except RuntimeError:
        pass  # other shapes: the number of heads does change something
    else:
        if not moved(out, mine.forward(one_head, (2, 3, 8), x=x, memory=memory)).any():
            raise Wrong('n_heads changes nothing: the heads are not split. See lesson 04, "Smaller heads, same price".')
    rows_are_independent(answer)
    if answer.is_deaf_to("memory"):
        raise Wrong("memory changes nothing: queries come from x, but keys and values from memory.")
    if answer.is_deaf_to("x"):
        raise Wrong("x changes nothing: the queries come from x, keys and values from memory.")
    turned, shuffled = answer(x=x[:, [2, 0, 1]]), answer(memory=memory[:, [3, 1, 4, 0, 2]])
    if moved(out[:, [2, 0, 1]], turned).any() or moved(out, shuffled).any():
        raise Wrong(
            "it depends on the order: those who ask in another order should get the same answers in that order, and "
            "the order of those who are asked should not matter. Usually {split}",
            split=say(oracles.SPLIT),
        )
    everybody = torch.ones(2, 1, 1, 5).bool()
    if moved(out, answer(mask=everybody)).any():
        raise Wrong("a mask that shows everything should change nothing.")
    for shape, mask in {"(B, 1, 1, S)": everybody, "(T, S)": torch.ones(3, 5).bool()}.items():
        mask[..., 3:] = False
        table = Probe(mine, answer.module, (2, 3, 8), x=x, memory=memory, mask=mask).hears("memory")
        mask_is_kept(table, mask[:, 0] if mask.dim() == 4 else mask, say("mask {shape}", shape=shape))
    same = memory[:, :1]
    if moved(answer(memory=same), answer(memory=same.expand(2, 5, 8))).any():
        raise Wrong(
            "five equal memories should say the same as one of them: each query's weights must add up to one, so the "
            "softmax works over the keys, dim=-1."
        )


@part('sinusoidal(n, d): one row per position, sines and cosines in turn. Lesson 05, "Counting with hands".')
def examine_sinusoidal(mine: Mine, seed: int) -> None:
    compare(oracles.sinusoidal, mine.get("sinusoidal"), seed)


@part(
    "LayerNorm(d): mean 0 and variance 1 along the last axis, then gamma and beta. Lesson 07, "
    '"3. A vector brought to scale: layer norm".'
)
def examine_layer_norm(mine: Mine, seed: int) -> None:
    norm, made = mine.make("LayerNorm", 4), mine.get("LayerNorm")
    fresh = dict(norm.named_parameters())
    ones = [name for name, p in fresh.items() if p.numel() == 4 and (p == 1).all()]
    zeros = [name for name, p in fresh.items() if p.numel() == 4 and (p == 0).all()]
    both_found = len(ones) == len(zeros) == 1 and len(fresh) == 2

    @mine.written
    def output(x, gamma, beta):
        module = made(len(gamma)).to(x)
        for name, value in ((ones[0], gamma), (zeros[0], beta)):
            learned = module.get_parameter(name)
            learned.data.copy_(value)
            if value.requires_grad:  # what comes back to the module's own vector is handed on to the case's
                learned.register_hook(value.backward)
        return first(module(x))

    if both_found:
        compare(oracles.layer_norm, output, seed)
    sound(mine, norm, (2, 3, 4), x=torch.randn(2, 3, 4))
    if not both_found:
        raise Wrong(
            "it should have two learned vectors, gamma (ones at first) that multiplies and beta (zeros at first) that "
            "is added, d entries each; yours has {parameters}.",
            parameters=", ".join(f"{name} {tuple(p.shape)}" for name, p in fresh.items()),
        )


@part('FeedForward(d_model, d_ff): widen, ReLU, back, at every position alone. Lesson 07, "5. Feed-forward".')
def examine_feed_forward(mine: Mine, seed: int) -> None:
    x = torch.randn(2, 4, 6)
    answer = sound(mine, mine.make("FeedForward", 6, 10), (2, 4, 6), x=x)
    if sum(p.numel() for p in answer.module.parameters()) < 2 * 6 * 10:
        raise Wrong("d_ff is not used: the first matrix goes from d_model to d_ff, the second from d_ff to d_model.")
    out, large, zero = answer(), answer(x=3 * x), answer(x=0 * x)
    if (large >= 0).all():
        raise Wrong("no output is ever negative: the ReLU stands between the two matrices, not after the second.")
    if not torch.equal(answer.hears("x"), torch.eye(4).bool().expand(2, 4, 4)):
        raise Wrong("each position is for itself: output i may depend on input i and on nobody else.")
    rows_are_independent(answer)
    if not moved(out + answer(x=-x), 2 * zero).any() and not moved(large - zero, 3 * (out - zero)).any():
        raise Wrong("nothing bends between the two matrices, so both are no more than one: put a ReLU between them.")


@part(
    "EncoderLayer(d_model, n_heads, d_ff) with forward(x, src_mask): self-attention, then feed-forward, each with "
    'Add & Norm. Lesson 07, "6. The encoder layer".',
    needs=("MultiHeadAttention", "LayerNorm", "FeedForward"),
)
def examine_encoder_layer(mine: Mine, seed: int) -> None:
    x, order, everybody = torch.randn(2, 5, 8), [4, 2, 0, 1, 3], torch.ones(2, 1, 1, 5).bool()
    src_mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None, :]
    answer = sound(mine, mine.make("EncoderLayer", 8, 2, 16), (2, 5, 8), x=x, src_mask=src_mask)
    has_residuals(answer, "x")
    table = answer.hears("x")
    if torch.equal(table[0], torch.ones(5, 5).tril().bool()):
        raise Wrong("a position hears only what stands before it: a causal mask belongs into the decoder, not here.")
    mask_is_kept(table[:, :3], src_mask[:, 0], "src_mask", sum_with_itself=True)
    rows_are_independent(answer)
    if moved(answer(src_mask=everybody)[:, order], answer(x=x[:, order], src_mask=everybody)).any():
        raise Wrong(
            "tokens in another order should come out the same, in that order: places are added before, not here."
        )
    has_norms(answer, "x", wanted=2)


@part(
    "DecoderLayer(d_model, n_heads, d_ff) with forward(y, memory, src_mask, tgt_mask): masked self-attention, "
    'cross-attention, feed-forward, each with Add & Norm. Lesson 07, "9. The decoder layer".',
    needs=("MultiHeadAttention", "LayerNorm", "FeedForward"),
)
def examine_decoder_layer(mine: Mine, seed: int) -> None:
    src_mask, tgt_mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()[:, None, None, :], torch.ones(4, 4).tril().bool()
    inputs = {"y": torch.randn(2, 4, 8), "memory": torch.randn(2, 3, 8), "src_mask": src_mask, "tgt_mask": tgt_mask}
    answer = sound(mine, mine.make("DecoderLayer", 8, 2, 16), (2, 4, 8), **inputs)
    has_residuals(answer, "y")
    table = answer.hears("memory")
    if not table.any():
        raise Wrong(
            "memory changes nothing: the cross-attention looks at the target. The decoder asks, the memory answers: "
            'cross_attention(y, memory, src_mask). See lesson 07, "8. Cross-attention".'
        )
    mask_is_kept(table, src_mask[:, 0], "src_mask")
    no_leak(answer.hears("y").any(0), say("Hand tgt_mask on to the self-attention."))
    rows_are_independent(answer)
    has_norms(answer, "y", wanted=3)


@part(
    "Transformer(src_vocab, tgt_vocab, d_model, n_heads, n_layers, d_ff, pad_id=0) with forward(src, tgt): "
    "embeddings, positions, both stacks, logits of the next token; it makes the masks itself. Lesson 07, "
    '"11. All together".',
    needs=("sinusoidal", "EncoderLayer", "DecoderLayer"),
)
def examine_transformer(mine: Mine, seed: int) -> None:
    def model(n_layers: int, **pad_id: int) -> nn.Module:
        return mine.make("Transformer", SRC, TGT, 16, 4, n_layers, 32, **pad_id)

    src, tgt = torch.tensor([[5, 6, 10, 8], [9, 4, 0, 0]]), torch.tensor([[1, 5, 12, 7, 3], [1, 8, 4, 4, 6]])
    small = model(1)
    finite_or_why(first(mine.forward(small, src=src, tgt=tgt)))
    out = mine.forward(small, (2, 5, TGT), src=src, tgt=tgt)
    if (out >= 0).all() and (out.sum(-1) - 1).abs().max() < 1e-3:
        raise Wrong("these are probabilities. Return the logits: the loss takes the softmax itself.")
    if mine.forward(small, src=src, tgt=tgt[:, :1]).shape != (2, 1, TGT):
        raise Wrong("with <bos> alone as the target, the logits should be (B, 1, tgt_vocab).")
    sound(mine, small, (2, 5, TGT), src=src, tgt=tgt)
    layers_are_there(mine, small, model(3))

    large = scrambled(model(2))
    for answer in (Probe(mine, module, (2, 5, TGT), src=src, tgt=tgt) for module in (small, large)):
        table = answer.hears("tgt", lambda ids: ids % 12 + 1)
        no_leak(table.any(0), say("Make it in forward and hand it to every decoder layer."))
    source_is_heard(answer)
    rows_are_independent(answer)
    padding_is_silent(mine, large, 0)
    padding_is_silent(mine, scrambled(model(2, pad_id=3)), 3)
    places_count(mine, small)
    mine.forward(large, (1, 90, TGT), src=torch.full((1, 100), 5), tgt=torch.full((1, 90), 6))


def finite_or_why(out) -> None:
    """NaN in the logits of the two sentences, the second of them padded: where it stands tells of the mask."""
    if not isinstance(out, Tensor) or out.dim() != 3 or out.isfinite().all():
        return
    broken = ~out.isfinite().all(-1)  # (B, T)
    if broken[0].all() and not broken[1].any():
        raise Wrong(
            "inverted mask: a sentence without padding gives NaN, for it has nobody left to attend to, and a padded "
            "one hears its padding alone. src_mask is True at real tokens: (src != pad_id)[:, None, None, :]."
        )
    if broken[:, -1].all() and not broken[:, 0].any():
        raise Wrong(
            "inverted causal mask, and so a leak: the last target position gives NaN, for it has nobody left to attend "
            "to. True means *may attend*: key j <= query i, torch.ones(T, T).tril()."
        )
    if broken[:, 0].all() and not broken[:, -1].any():
        raise Wrong(
            "the first target position gives NaN, for it has nobody to attend to, not even itself. The causal mask "
            "holds the diagonal, too: key j <= query i."
        )
    raise Wrong("NaN among the logits: is there a position with nobody to attend to, or a division by zero?")


def layers_are_there(mine: Mine, one_layer: nn.Module, three_layers: nn.Module) -> None:
    """Three layers have the parameters of three."""
    modules = mine.make("EncoderLayer", 16, 4, 32), mine.make("DecoderLayer", 16, 4, 32), one_layer, three_layers
    encoder, decoder, one, three = (sum(p.numel() for p in module.parameters()) for module in modules)
    if one < encoder + decoder:
        raise Wrong(
            "the parameters of its layers are missing, so no optimizer would train them: a Python list hides layers. "
            "Put them into an nn.ModuleList, and use your EncoderLayer and DecoderLayer."
        )
    if three - one < 2 * (encoder + decoder):
        raise Wrong(
            "n_layers = 3 has not three times the parameters of its layers: is n_layers used, on both sides, and each "
            "layer a new one? [layer] * n is the same layer n times; write [EncoderLayer(...) for _ in range(n)]."
        )


def source_is_heard(answer: Probe) -> None:
    """Every real word of the source reaches every logit."""
    table = answer.hears("src", lambda ids: torch.where(ids > 0, ids % 10 + 1, ids))  # padding stays padding
    if not table.any():
        raise Wrong("the source changes nothing: hand the encoder's output to the decoder layers as memory.")
    if not table[1].any():
        raise Wrong(
            "inverted mask: in a padded sentence its words change nothing, and only the padding is heard. src_mask is "
            "True at real tokens: (src != pad_id)[:, None, None, :]."
        )
    if not table[0].all() or not table[1, :, :2].all():
        raise Wrong("some words of the source change nothing: the mask may hide the padding, and nothing else.")


def padding_is_silent(mine: Mine, model: nn.Module, pad: int) -> None:
    """The same sentence with more padding behind it says the same."""
    words = torch.tensor([[9, 4, 0 if pad else 7]])
    padded = torch.cat([words, torch.full((1, 3), pad)], dim=1)
    answer = Probe(mine, model, (1, 3, TGT), src=padded, tgt=torch.tensor([[1, 8, 5]]))
    if not moved(answer(), answer(src=words)).any():
        return
    if pad:
        raise Wrong(
            "pad_id is ignored: with pad_id=3, a 3 should be hidden and a 0 be a word. Keep it: self.pad_id = pad_id."
        )
    raise Wrong(
        "padding is heard: the same sentence with three <pad> behind it gives other logits. src_mask, True at real "
        'tokens, goes to the encoder layers and to the cross-attention. See lesson 07, "6. The encoder layer".'
    )


def places_count(mine: Mine, model: nn.Module) -> None:
    """Words in another order mean something else. One layer: a stack of masked ones could tell the order by itself."""
    answer = Probe(mine, model, (1, 4, TGT), src=torch.tensor([[5, 6, 7, 8]]), tgt=torch.tensor([[1, 5, 6, 7]]))
    sides = [
        (say("encoder"), say("source"), answer(src=torch.tensor([[8, 5, 7, 6]]))),
        (say("decoder"), say("target"), answer(tgt=torch.tensor([[1, 6, 5, 7]]))),
    ]
    deaf = [(side, words) for side, words, other in sides if not moved(answer(), other)[0, -1]]
    if deaf:
        raise Wrong(
            "positions are forgotten in the {sides}: the same words of the {words} in another order give the same "
            'logits. Add sinusoidal(...)[:T] to the embeddings, one row per place. See lesson 05, "A sentence is a '
            'set".',
            sides=say(" and the ").join(side for side, _ in deaf),
            words=say(" or the ").join(words for _, words in deaf),
        )


@part(
    "greedy(model, src, bos, eos, max_len): for each row of src the most probable token, fed back, until eos. "
    'Lesson 07, "机器学习, from `<bos>` on".'
)
def examine_greedy(mine: Mine, seed: int) -> None:
    answer = mine.get("greedy")

    @wraps(answer)
    def output(model, src, bos, eos, max_len):
        return plain(answer(model, src, bos, eos, max_len))

    try:
        compare(oracles.greedy, output, seed)
    except Wrong as wrong:
        if "'Scripted' object" in str(wrong):
            raise Wrong(
                "it should know nothing of the model but model(src, tgt) -> logits: the check hands it another model."
                "\n{problem}",
                problem=str(wrong).partition("\n")[0],
            ) from None
        raise
