"""The parts of the capstone, each examined alone: what a learner's `my_transformer.py` must do, whatever its design.

Where the task leaves no choice, a part is compared with an oracle. Where it does (norm first or last, biases, ReLU or
GELU, how matrices are stored), what is tested is what every right answer has in common.
"""

import inspect
import re
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn

from utils.checks.capstone import oracles
from utils.checks.capstone.oracles import FORBIDDEN
from utils.checks.engine import Check, difference
from utils.checks.engine.handed_in import is_stub
from utils.checks.engine.running import Allowance, Raised, call

SECONDS = 10.0  # for one part


class Wrong(Exception):
    """What is wrong with a part: the sentences that the learner reads."""


class Missing(Exception):
    """The part is not written yet."""


# ---- calling the learner's code ----------------------------------------------------------------------------


class Mine:
    """The learner's module. Calls into it are cut off in time, and their errors become sentences."""

    def __init__(self, module: types.ModuleType, code: types.CodeType):
        self.module, self.file = module, types.FunctionType(code, {})  # a function of that file: see `Raised.where`
        self.steps, self.model = 0, None  # of the training: how long, and what came of it
        self.start()

    def start(self) -> None:
        self.allowance = Allowance(SECONDS)

    def get(self, name: str):
        """The learner's function or class of this name."""
        thing = vars(self.module).get(name)
        if thing is None:
            raise Missing
        home = getattr(thing, "__module__", None) or ""
        if home.startswith(("torch", "utils.")):
            raise Wrong(f"your file imports it from {home}. Write one of your own: that is the task.")
        kind = "class" if name[0].isupper() else "function"
        if not callable(thing) or inspect.isclass(thing) != (kind == "class"):
            raise Wrong(f"it should be a {kind}, and yours is {repr(thing)[:60]}.")
        body = getattr(thing, "forward", nn.Module.forward) if inspect.isclass(thing) else thing
        if body is nn.Module.forward or is_stub(body):
            raise Missing
        return thing

    def run(self, function: Callable, *arguments, what: str, forbidden: frozenset[str] = FORBIDDEN):
        """The value of function(*arguments), or an exception with a sentence about `what`."""

        def guarded():
            return function(*arguments)

        guarded.__wrapped__ = self.file
        done = call(guarded, (), self.allowance, forbidden)
        if done.forbidden:
            raise Wrong(f"{what} calls {done.forbidden[0]}, and that is what you are asked to build here.")
        if not isinstance(done.outcome, Raised):
            return done.outcome
        if done.outcome.kind is NotImplementedError:
            raise Missing
        if done.timed_out:
            raise Wrong(f"{what} had not finished in time: is there a loop that never ends?")
        raise Wrong(f"{what} stopped with {done.outcome.with_line()}")

    def make(self, name: str, *sizes: int, **named: int) -> nn.Module:
        """A module of the learner's class, ready to evaluate."""
        made, what = self.get(name), f"{name}({', '.join(map(str, [*sizes, *(f'{k}={v}' for k, v in named.items())]))})"
        fits(made, name, *sizes, **named)
        module = self.run(lambda: made(*sizes, **named), what=what)
        if not isinstance(module, nn.Module):
            raise Wrong(f"{what} should be a module: begin with class {name}(nn.Module), and super().__init__().")
        return module.eval()

    def forward(self, module: nn.Module, shape: tuple[int, ...] | None = None, **inputs: Tensor | None) -> Tensor:
        """What the module answers, of the shape that is wanted and without NaN."""
        given = ", ".join(name if x is None else f"{name} {tuple(x.shape)}" for name, x in inputs.items())
        what = f"given {given}, it"
        fits(module.forward, f"the forward of {type(module).__name__}", **inputs)
        copies = [x if x is None else x.clone() for x in inputs.values()]
        out = first(self.run(lambda: module(*copies), what=what))
        if shape is None:
            return out
        wanted = torch.zeros(shape)
        right = isinstance(out, Tensor) and (out.shape, out.dtype) == (wanted.shape, wanted.dtype)
        if problem := difference(out.detach() if right else wanted, out):
            raise Wrong(f"{what} has the {problem}" if problem.startswith("wrong") else f"given {given}, {problem}")
        if not out.isfinite().all():
            raise Wrong(
                f"{what} answers with NaN or infinity, though everybody has somebody to attend to. Is a mask inverted?"
            )
        return out


def first(value):
    """The output, where it comes with the weights."""
    return value[0] if isinstance(value, tuple) and value else value


def fits(function: Callable, name: str, *arguments, **named) -> None:
    """Say so if the function cannot be called like this; of a forward's arguments only the order counts."""
    forward = name.startswith("the forward")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # no signature to look at: the call will tell
    try:
        signature.bind(*(named.values() if forward else arguments), **({} if forward else named))
    except TypeError:
        wanted = ", ".join(named if forward else SIZES[name])
        raise Wrong(f"{name} should take ({wanted}), in this order; yours takes {signature}.") from None


SIZES = {
    "MultiHeadAttention": ("d_model", "n_heads"),
    "LayerNorm": ("d",),
    "FeedForward": ("d_model", "d_ff"),
    "EncoderLayer": ("d_model", "n_heads", "d_ff"),
    "DecoderLayer": ("d_model", "n_heads", "d_ff"),
    "Transformer": ("src_vocab", "tgt_vocab", "d_model", "n_heads", "n_layers", "d_ff", "pad_id=0"),
}


# ---- what all modules have in common -----------------------------------------------------------------------


@torch.no_grad()
def scramble(module: nn.Module) -> None:
    """Random numbers for all parameters: what is tested must hold for any, and nothing may start as zero."""
    for p in module.parameters():
        if p.dim() < 2:
            p.add_(0.3 * torch.randn_like(p))
        else:
            p.copy_(torch.randn_like(p) / p.shape[-1] ** 0.5)


def moved(one: Tensor, other: Tensor) -> Tensor:
    """Which positions differ: (B, T, D) twice -> (B, T)."""
    scale = max(1.0, one.detach().abs().max().item())
    return (one - other).detach().abs().amax(-1) > 1e-4 * scale


def hears(answer: Callable[[Tensor], Tensor], x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, T, S): does output i of a row move when its input j is changed?"""
    before, columns = answer(x), []
    for j in range(x.shape[1]):
        other = x.clone()
        other[:, j] = change(x[:, j])
        columns.append(moved(before, answer(other)))
    return torch.stack(columns, dim=-1)


def other_vector(x: Tensor) -> Tensor:
    return x + 2 * torch.randn_like(x)


def steady(mine: Mine, module: nn.Module, out: Tensor, **inputs: Tensor) -> None:
    if moved(out, mine.forward(module, tuple(out.shape), **inputs)).any():
        raise Wrong(
            "the same input gives another output every time, also after eval(). Dropout must end with the training: "
            "nn.Dropout does it by itself, F.dropout needs training=self.training. Or leave it out."
        )


def parameters_are_used(module: nn.Module, out: Tensor) -> None:
    """Every parameter gets a gradient."""
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
            f"no gradient reaches {', '.join(idle[:3])}{' and others' if len(idle) > 3 else ''}: "
            "a part that is made in __init__ is not used in forward, or its result is detached."
        )


def rows_are_independent(mine: Mine, module: nn.Module, out: Tensor, **inputs: Tensor) -> None:
    alone = mine.forward(module, None, **{name: x[:1] if x.dim() > 2 else x for name, x in inputs.items()})
    if moved(out[:1], alone).any():
        raise Wrong(
            "a sentence comes out differently alone than beside others in a batch. An operation works along the wrong "
            "axis: the first is the batch (B, T, D), and nothing may mix its rows."
        )


def has_residuals(mine: Mine, layer: nn.Module, answer: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """With all its matrices zero, a sublayer says the same whatever it is asked: only the sum carries x on."""

    norms = {id(p) for part in layer.modules() if isinstance(part, mine.get("LayerNorm")) for p in part.parameters()}

    def deaf_without(part: nn.Module) -> bool:
        matrices = [p for p in part.parameters() if p.dim() > 1 and id(p) not in norms]
        kept = [p.detach().clone() for p in matrices]
        with torch.no_grad():
            for p in matrices:
                p.zero_()
            deaf = not moved(answer(x), answer(other_vector(x))).any()
            for p, values in zip(matrices, kept, strict=True):
                p.copy_(values)
        return deaf

    if not deaf_without(layer):
        return
    kinds = tuple(vars(mine.module).get(name) for name in ("MultiHeadAttention", "FeedForward"))
    sublayers = [(name, part) for name, part in layer.named_modules() if isinstance(part, kinds)]
    around = [name for name, part in sublayers if deaf_without(part)]
    raise Wrong(
        f"a residual connection is forgotten{' around ' + ' and '.join(around) if around else ''}: with all matrices "
        "set to zero the input should still come through, by the sum x + sublayer(x). See lesson 07, "
        '"4. Add & Norm".'
    )


def has_norms(mine: Mine, layer: nn.Module, answer: Callable[[Tensor], Tensor], x: Tensor, wanted: int) -> None:
    norms = [part for part in layer.modules() if isinstance(part, mine.get("LayerNorm"))]
    used = []
    hooks = [part.register_forward_hook(lambda *_: used.append(1)) for part in norms]
    answer(x)
    for hook in hooks:
        hook.remove()
    large = answer(1e4 * x)
    grows = min((large - rest).square().mean().sqrt().item() for rest in (0, 1e4 * x)) > 100
    if 0 < len(used) < wanted or grows:
        count = f" ({len(used)} of {wanted} are in use)" if len(used) < wanted else ""
        raise Wrong(
            f"a layer norm is forgotten{count}: each of the {wanted} sublayers f has one, norm(x + f(x)) or "
            'x + f(norm(x)). See lesson 07, "4. Add & Norm".'
        )


# ---- attention, sinusoidal, LayerNorm: compared with oracles -----------------------------------------------


def examine_attention(mine: Mine, seed: int) -> None:
    answer = mine.get("attention")

    def output(q, k, v, mask=None):
        return first(answer(q, k, v) if mask is None else answer(q, k, v, mask))

    output.__wrapped__ = answer
    compare(oracles.attention, output, seed)


def compare(check: Check, answer: Callable, seed: int) -> None:
    passed, text = check.examine(answer, seed)
    if passed is None:
        raise Missing
    if not passed:
        raise Wrong(text)


def examine_sinusoidal(mine: Mine, seed: int) -> None:
    compare(oracles.sinusoidal, mine.get("sinusoidal"), seed)


def examine_layer_norm(mine: Mine, seed: int) -> None:
    def output(x):
        return first(made(x.shape[-1]).to(x)(x))

    mine.make("LayerNorm", 4)
    made = mine.get("LayerNorm")
    output.__signature__, output.__wrapped__ = inspect.signature(output), mine.file
    compare(oracles.layer_norm, output, seed)

    norm, x = mine.make("LayerNorm", 4), torch.randn(2, 3, 4)
    parameters_are_used(norm, mine.forward(norm, (2, 3, 4), x=x))
    parameters = dict(norm.named_parameters())
    ones = [p for p in parameters.values() if p.numel() == 4 and (p == 1).all()]
    zeros = [p for p in parameters.values() if p.numel() == 4 and (p == 0).all()]
    if len(ones) != 1 or len(zeros) != 1 or len(parameters) != 2:
        raise Wrong(
            "it should have two learned vectors, gamma (ones at first) that multiplies and beta (zeros at first) that "
            f"is added, d entries each; yours has {', '.join(f'{n} {tuple(p.shape)}' for n, p in parameters.items())}."
        )
    scramble(norm)
    if moved(oracles.layer_norm.oracle(x) * ones[0] + zeros[0], mine.forward(norm, (2, 3, 4), x=x)).any():
        raise Wrong("right when fresh, but gamma should multiply the normed vector, and beta be added to that.")


# ---- MultiHeadAttention ------------------------------------------------------------------------------------


@torch.no_grad()
def set_to_identity(module: nn.Module, d: int, n_heads: int) -> bool:
    """All matrices the identity, all vectors zero; False where the shapes do not say how."""
    eye, size = torch.eye(d), d // n_heads
    for name, p in module.named_parameters():
        number = re.search(r"\d+", name)
        head = slice(int(number[0]) * size, (int(number[0]) + 1) * size) if number else None
        if p.dim() == 1:
            p.zero_()
        elif p.dim() == 2 and p.shape[1] == d and p.shape[0] % d == 0:
            p.copy_(eye.repeat(p.shape[0] // d, 1))
        elif p.dim() == 2 and p.shape[0] == d and p.shape[1] % d == 0:
            p.copy_(eye.repeat(1, p.shape[1] // d))
        elif tuple(p.shape) in ((size, d), (d, size)) and head and len(eye[head]):
            p.copy_(eye[head] if p.shape[1] == d else eye[:, head])
        elif tuple(p.shape) == (n_heads, d, size):
            p.copy_(eye.unflatten(1, (n_heads, size)).transpose(0, 1))
        elif tuple(p.shape) == (n_heads, size, d):
            p.copy_(eye.unflatten(0, (n_heads, size)))
        else:
            return False
    return True


def examine_multi_head(mine: Mine, seed: int) -> None:
    # Known mistakes first, on matrices that show them. What is not known here need not be wrong: heads may be cut in
    # other ways, so the rest decides.
    made = mine.make("MultiHeadAttention", 4, 2)
    if set_to_identity(made, 4, 2):

        def output(x, memory, mask):
            return first(made.to(x)(x, memory) if mask is None else made.to(x)(x, memory, mask))

        output.__signature__, output.__wrapped__ = inspect.signature(output), mine.file
        passed, text = oracles.identity_heads.examine(output, seed)
        if passed is False and "This looks like" in text:
            raise Wrong(f"with all its matrices set to the identity, d_model = 4, n_heads = 2: {text}")

    heads = mine.make("MultiHeadAttention", 8, 4)
    x, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    out = mine.forward(heads, (2, 3, 8), x=x, memory=memory)
    steady(mine, heads, out, x=x, memory=memory)
    parameters_are_used(heads, out)
    if sum(p.numel() for p in heads.parameters()) < 4 * 8 * 8:
        raise Wrong("a matrix is missing: W^Q, W^K, W^V and, after the heads are joined, W^O, each d_model x d_model.")

    scramble(heads)
    out, everybody = mine.forward(heads, (2, 3, 8), x=x, memory=memory), torch.ones(2, 1, 1, 5).bool()
    one_head = mine.make("MultiHeadAttention", 8, 1)
    try:
        one_head.load_state_dict(heads.state_dict())
    except RuntimeError:
        pass  # other shapes: the number of heads does change something
    else:
        if not moved(out, mine.forward(one_head, (2, 3, 8), x=x, memory=memory)).any():
            raise Wrong('n_heads changes nothing: the heads are not split. See lesson 04, "Smaller heads, same price".')
    rows_are_independent(mine, heads, out, x=x, memory=memory)
    if not moved(out, mine.forward(heads, (2, 3, 8), x=x, memory=other_vector(memory))).any():
        raise Wrong("memory changes nothing: queries come from x, but keys and values from memory.")
    if not moved(out, mine.forward(heads, (2, 3, 8), x=other_vector(x), memory=memory)).any():
        raise Wrong("x changes nothing: the queries come from x, keys and values from memory.")
    turned = mine.forward(heads, (2, 3, 8), x=x[:, [2, 0, 1]], memory=memory)
    shuffled = mine.forward(heads, (2, 3, 8), x=x, memory=memory[:, [3, 1, 4, 0, 2]])
    if moved(out[:, [2, 0, 1]], turned).any() or moved(out, shuffled).any():
        raise Wrong(
            "it depends on the order: those who ask in another order should get the same answers in that order, and "
            f"the order of those who are asked should not matter. Usually {oracles.SPLIT}"
        )
    if moved(out, mine.forward(heads, (2, 3, 8), x=x, memory=memory, mask=everybody)).any():
        raise Wrong("a mask that shows everything should change nothing.")
    masks = {"(B, 1, 1, S)": everybody.clone(), "(T, S)": torch.ones(3, 5).bool()}
    for shape, mask in masks.items():
        mask[..., 3:] = False
        table = hears(
            lambda m, mask=mask: mine.forward(heads, (2, 3, 8), x=x, memory=m, mask=mask), memory, other_vector
        )
        mask_is_kept(table, mask.expand(2, 1, 3, 5)[:, 0] if mask.dim() == 4 else mask.expand(2, 3, 5), f"mask {shape}")
    same = memory[:, :1]
    one, many = (mine.forward(heads, (2, 3, 8), x=x, memory=m) for m in (same, same.expand(2, 5, 8)))
    if moved(one, many).any():
        raise Wrong(
            "five equal memories should say the same as one of them: each query's weights must add up to one, so the "
            "softmax works over the keys, dim=-1."
        )


def mask_is_kept(table: Tensor, mask: Tensor, name: str, sum_with_itself: bool = False) -> None:
    """(B, T, S) twice: who is heard is who may be heard. In a layer everybody hears themselves, by the sum."""
    others = torch.ones_like(mask) ^ (torch.eye(*mask.shape[1:]).bool() & sum_with_itself)
    hidden, shown = ~mask & others, mask & others
    partly = hidden.any(-1, keepdim=True) & shown  # shown beside something hidden
    if (table & hidden).any() and not (table & partly).any():
        raise Wrong(f"inverted mask: what {name} hides is heard, and the rest is not. True means *may attend*.")
    if (table & hidden).any():
        raise Wrong(f"{name} is not respected: changing what it hides changes the output. Hand it on to attention.")
    if (shown & ~table).any():
        raise Wrong(f"with {name}, a position does not hear all that it may attend to.")


# ---- FeedForward -------------------------------------------------------------------------------------------


def examine_feed_forward(mine: Mine, seed: int) -> None:
    network, x = mine.make("FeedForward", 6, 10), torch.randn(2, 4, 6)
    out = mine.forward(network, (2, 4, 6), x=x)
    steady(mine, network, out, x=x)
    parameters_are_used(network, out)
    if sum(p.numel() for p in network.parameters()) < 2 * 6 * 10:
        raise Wrong("d_ff is not used: the first matrix goes from d_model to d_ff, the second from d_ff to d_model.")
    scramble(network)

    def answer(x: Tensor) -> Tensor:
        return mine.forward(network, (2, 4, 6), x=x)

    out = answer(x)
    if not torch.equal(hears(answer, x, other_vector), torch.eye(4).bool().expand(2, 4, 4)):
        raise Wrong("each position is for itself: output i may depend on input i and on nobody else.")
    rows_are_independent(mine, network, out, x=x)
    large, zero = answer(3 * x), answer(0 * x)
    if not moved(out + answer(-x), 2 * zero).any() and not moved(large - zero, 3 * (out - zero)).any():
        raise Wrong("nothing bends between the two matrices, so both are no more than one: put a ReLU between them.")
    if (large >= 0).all():
        raise Wrong("no output is ever negative: the ReLU stands between the two matrices, not after the second.")


# ---- EncoderLayer, DecoderLayer ----------------------------------------------------------------------------


def examine_encoder_layer(mine: Mine, seed: int) -> None:
    layer, x = mine.make("EncoderLayer", 8, 2, 16), torch.randn(2, 5, 8)
    src_mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None, :]
    out = mine.forward(layer, (2, 5, 8), x=x, src_mask=src_mask)
    steady(mine, layer, out, x=x, src_mask=src_mask)
    parameters_are_used(layer, out)
    scramble(layer)

    def answer(x: Tensor, mask: Tensor = src_mask) -> Tensor:
        return mine.forward(layer, (2, 5, 8), x=x, src_mask=mask)

    has_residuals(mine, layer, answer, x)
    table = hears(answer, x, other_vector)
    if torch.equal(table[0], torch.ones(5, 5).tril().bool()):
        raise Wrong("a position hears only what stands before it: a causal mask belongs into the decoder, not here.")
    mask_is_kept(table[:, :3], src_mask[:, 0].expand(2, 3, 5), "src_mask", sum_with_itself=True)
    rows_are_independent(mine, layer, answer(x), x=x, src_mask=src_mask)
    order, everybody = [4, 2, 0, 1, 3], torch.ones(2, 1, 1, 5).bool()
    if moved(answer(x, everybody)[:, order], answer(x[:, order], everybody)).any():
        raise Wrong(
            "tokens in another order should come out the same, in that order: places are added before, not here."
        )
    has_norms(mine, layer, answer, x, wanted=2)


def examine_decoder_layer(mine: Mine, seed: int) -> None:
    layer, y, memory = mine.make("DecoderLayer", 8, 2, 16), torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    masks = {"src_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()[:, None, None, :]}
    masks["tgt_mask"] = torch.ones(4, 4).tril().bool()

    def answer(y: Tensor = y, memory: Tensor = memory) -> Tensor:
        return mine.forward(layer, (2, 4, 8), y=y, memory=memory, **masks)

    out = answer()
    steady(mine, layer, out, y=y, memory=memory, **masks)
    parameters_are_used(layer, out)
    scramble(layer)
    has_residuals(mine, layer, answer, y)
    if not hears(lambda m: answer(memory=m), memory, other_vector).any():
        raise Wrong(
            "memory changes nothing: the cross-attention looks at the target. The decoder asks, the memory answers: "
            'cross_attention(y, memory, src_mask). See lesson 07, "8. Cross-attention".'
        )
    mask_is_kept(
        hears(lambda m: answer(memory=m), memory, other_vector), masks["src_mask"][:, 0].expand(2, 4, 3), "src_mask"
    )
    no_leak(hears(answer, y, other_vector).any(0), "Hand tgt_mask on to the self-attention.")
    rows_are_independent(mine, layer, answer(), y=y, memory=memory, **masks)
    has_norms(mine, layer, answer, y, wanted=3)


def no_leak(table: Tensor, advice: str) -> None:
    """(T, T) table of who hears whom: only the past, and all of it."""
    past, future = torch.ones_like(table).tril(-1), torch.ones_like(table).triu(1)
    where = 'See lesson 07, "Does it look ahead?".'
    if (table & future).any() and not (table & past)[:-1].any():
        raise Wrong(
            "a leak, by an inverted causal mask: each position hears those after it and not those before it. "
            f"True means *may attend*: key j <= query i, torch.ones(T, T).tril(). {where}"
        )
    if (table & torch.ones_like(table).triu(2)).any():
        raise Wrong(
            f"a leak: a position hears target words that come after it. The causal mask is missing. {advice} {where}"
        )
    if (table & future).any():
        raise Wrong(
            "a leak: each position hears the one after it, which is the word it should predict. The causal mask is "
            f"off by one: key j <= query i. {where}"
        )
    if not (table | ~past).all():
        raise Wrong(
            "a position does not hear all the target words before it: the self-attention asks y, with the causal mask "
            'as it is. See lesson 07, "7. Masked self-attention".'
        )


# ---- Transformer -------------------------------------------------------------------------------------------

SRC, TGT = 11, 13  # sizes of the vocabularies


def examine_transformer(mine: Mine, seed: int) -> None:
    src, tgt = torch.tensor([[5, 6, 10, 8], [9, 4, 0, 0]]), torch.tensor([[1, 5, 12, 7, 3], [1, 8, 4, 4, 6]])
    model = mine.make("Transformer", SRC, TGT, 16, 4, 1, 32)
    out = first(mine.forward(model, None, src=src, tgt=tgt))
    finite_or_why(out)
    out = mine.forward(model, (2, 5, TGT), src=src, tgt=tgt)
    if (out >= 0).all() and (out.sum(-1) - 1).abs().max() < 1e-3:
        raise Wrong("these are probabilities. Return the logits: the loss takes the softmax itself.")
    if mine.forward(model, None, src=src, tgt=tgt[:, :1]).shape != (2, 1, TGT):
        raise Wrong("with <bos> alone as the target, the logits should be (B, 1, tgt_vocab).")
    steady(mine, model, out, src=src, tgt=tgt)
    parameters_are_used(model, out)
    layers_are_there(mine, model)

    for n_layers in (1, 2):
        model = mine.make("Transformer", SRC, TGT, 16, 4, n_layers, 32)
        scramble(model)
        table = hears(lambda t, m=model: mine.forward(m, (2, 5, TGT), src=src, tgt=t), tgt, lambda ids: ids % 12 + 1)
        no_leak(table.any(0), "Make it in forward and hand it to every decoder layer.")
    source_is_heard(mine, model, src, tgt)
    if moved(
        mine.forward(model, None, src=src, tgt=tgt)[:1], mine.forward(model, None, src=src[:1], tgt=tgt[:1])
    ).any():
        raise Wrong(
            "a sentence comes out differently alone than beside others in a batch: positions, or a softmax, along the "
            "axis of the batch? Positions are counted along axis 1 of (B, T, D)."
        )
    padding_is_silent(mine, model, 0)
    model = mine.make("Transformer", SRC, TGT, 16, 4, 2, 32, pad_id=3)
    scramble(model)
    padding_is_silent(mine, model, 3)
    places_count(mine)
    mine.forward(model, (1, 90, TGT), src=torch.full((1, 100), 5), tgt=torch.full((1, 90), 6))


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


def layers_are_there(mine: Mine, model: nn.Module) -> None:
    """Three layers have the parameters of three."""
    size = {"EncoderLayer": 0, "DecoderLayer": 0}
    for name in size:
        size[name] = sum(p.numel() for p in mine.make(name, 16, 4, 32).parameters())
    one, three = (
        sum(p.numel() for p in m.parameters()) for m in (model, mine.make("Transformer", SRC, TGT, 16, 4, 3, 32))
    )
    if one < sum(size.values()):
        raise Wrong(
            "the parameters of its layers are missing, so no optimizer would train them: a Python list hides layers. "
            "Put them into an nn.ModuleList, and use your EncoderLayer and DecoderLayer."
        )
    if three - one < 2 * sum(size.values()):
        raise Wrong(
            "n_layers = 3 has not three times the parameters of its layers: is n_layers used, on both sides, and each "
            "layer a new one? [layer] * n is the same layer n times; write [EncoderLayer(...) for _ in range(n)]."
        )


def source_is_heard(mine: Mine, model: nn.Module, src: Tensor, tgt: Tensor) -> None:
    """Every real word of the source reaches every logit."""

    def answer(src: Tensor) -> Tensor:
        return mine.forward(model, (2, 5, TGT), src=src, tgt=tgt)

    table = hears(answer, src, lambda ids: torch.where(ids > 0, ids % 10 + 1, ids))  # padding stays padding
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
    words, tgt = torch.tensor([[9, 4, 0 if pad else 7]]), torch.tensor([[1, 8, 5]])
    padded = torch.cat([words, torch.full((1, 3), pad)], dim=1)
    alone, beside = (mine.forward(model, (1, 3, TGT), src=src, tgt=tgt) for src in (words, padded))
    if not moved(alone, beside).any():
        return
    if pad:
        raise Wrong(
            "pad_id is ignored: with pad_id=3, a 3 should be hidden and a 0 be a word. Keep it: self.pad_id = pad_id."
        )
    other = padded.clone()
    other[0, :2] = torch.tensor([6, 10])
    if not moved(beside, mine.forward(model, (1, 3, TGT), src=other, tgt=tgt)).any():
        raise Wrong("inverted mask: the padding is heard, and the words are not. src_mask is True at real tokens.")
    raise Wrong(
        "padding is heard: the same sentence with three <pad> behind it gives other logits. src_mask, True at real "
        'tokens, goes to the encoder layers and to the cross-attention. See lesson 07, "6. The encoder layer".'
    )


def places_count(mine: Mine) -> None:
    """Words in another order mean something else. One layer: a stack of masked ones could tell the order by itself."""
    model = mine.make("Transformer", SRC, TGT, 16, 4, 1, 32)
    scramble(model)
    src, tgt = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 5, 6, 7]])
    before = mine.forward(model, (1, 4, TGT), src=src, tgt=tgt)
    other_source = mine.forward(model, (1, 4, TGT), src=torch.tensor([[8, 5, 7, 6]]), tgt=tgt)
    other_target = mine.forward(model, (1, 4, TGT), src=src, tgt=torch.tensor([[1, 6, 5, 7]]))
    deaf = [
        side
        for side, other in (("encoder", other_source), ("decoder", other_target))
        if not moved(before, other)[0, -1]
    ]
    if deaf:
        words = {"encoder": "source", "decoder": "target"}
        raise Wrong(
            f"positions are forgotten in the {' and the '.join(deaf)}: the same words of the "
            f"{' or the '.join(words[side] for side in deaf)} in another order give the same logits. Add "
            'sinusoidal(...)[:T] to the embeddings, one row per place. See lesson 05, "A sentence is a set".'
        )


# ---- greedy ------------------------------------------------------------------------------------------------


def plain(rows):
    """Rows as lists, where they are tensors."""
    if isinstance(rows, (list, tuple)):
        return [row.tolist() if isinstance(row, Tensor) else row for row in rows]
    return rows


def examine_greedy(mine: Mine, seed: int) -> None:
    answer = mine.get("greedy")

    def output(model, src, bos, eos, max_len):
        return plain(answer(model, src, bos, eos, max_len))

    output.__wrapped__ = answer
    try:
        compare(oracles.greedy, output, seed)
    except Wrong as wrong:
        if "'Scripted' object" in str(wrong):
            raise Wrong(
                "it should know nothing of the model but model(src, tgt) -> logits: the check hands it another model."
                f"\n{str(wrong).partition(chr(10))[0]}"
            ) from None
        raise
