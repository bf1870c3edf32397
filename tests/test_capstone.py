"""The capstone's check: solved files of any design pass, every planted bug is found and named, nothing raises."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from tools.run_lessons import NOTEBOOKS, TEXT, read_twin
from utils import checks

capstone = importlib.import_module("utils.checks.capstone")  # the module; checks.capstone is its function
oracles = importlib.import_module("utils.checks.capstone.oracles")
parts = importlib.import_module("utils.checks.capstone.parts")
training = importlib.import_module("utils.checks.capstone.training")

pytestmark = pytest.mark.usefixtures("progress_file")
FILE = Path(__file__).parent / "capstone" / "my_transformer.py"
SOLVED = FILE.read_text(encoding="utf-8")
ALONE = [part.name for part in capstone.PARTS[:9]]  # the others need a training run


@pytest.fixture
def write(tmp_path):
    """A function that writes a learner's file and says where it is."""

    def write(source: str | bytes) -> Path:
        path = tmp_path / "my_transformer.py"
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        return path

    return write


def changed(edits: list[tuple[str, str]]) -> str:
    """The solved file with lines replaced, each of which must be there."""
    source = SOLVED
    for old, new in edits:
        assert old in source, f"the solved file has no {old!r}"
        source = source.replace(old, new)
    return source


ENDS = {node.name: node.end_lineno for node in ast.parse(SOLVED).body if hasattr(node, "name")}
UP_TO = {name: "".join(SOLVED.splitlines(keepends=True)[:end]) for name, end in ENDS.items()}  # the file so far


@pytest.fixture
def examine_only_what_differs(monkeypatch):
    """A function of a file's source: its parts that are, with all before them, as in the solved file count as right.

    With seed 0 they are: `test_other_right_designs_pass` examines the solved file, too.
    """
    examined = capstone.examined

    def known(source: str, until: str = "") -> None:
        names = ALONE[: ALONE.index(until)] if until else ALONE
        right = {name for name in names if source.startswith(UP_TO[name])}
        skip = lambda part, mine, seed: (True, "") if part.name in right else examined(part, mine, seed)  # noqa: E731
        monkeypatch.setattr(capstone, "examined", skip)

    return known


def state(result, name: str) -> str:
    """✓, ✗ or ○ of a part."""
    return re.search(rf"^  (.) {name}(:|$)", str(result), re.MULTILINE)[1]


# ---- right answers -----------------------------------------------------------------------------------------

POST_NORM = [
    (
        """        z = self.norm1(x)
        x = x + self.self_attention(z, z, src_mask)
        return x + self.feed_forward(self.norm2(x))""",
        """        x = self.norm1(x + self.self_attention(x, x, src_mask))
        return self.norm2(x + self.feed_forward(x))""",
    ),
    (
        """        z = self.norm1(y)
        y = y + self.self_attention(z, z, tgt_mask)
        y = y + self.cross_attention(self.norm2(y), memory, src_mask)
        return y + self.feed_forward(self.norm3(y))""",
        """        y = self.norm1(y + self.self_attention(y, y, tgt_mask))
        y = self.norm2(y + self.cross_attention(y, memory, src_mask))
        return self.norm3(y + self.feed_forward(y))""",
    ),
    ("        self.encoder_norm, self.decoder_norm = LayerNorm(d_model), LayerNorm(d_model)\n", ""),
    ("self.encoder_norm(x), self.embed", "x, self.embed"),
    ("self.decoder_norm(y) @", "y @"),
]
HEADS = SOLVED.partition("class MultiHeadAttention")[2].partition("def sinusoidal")[0]  # the class, to be replaced
ONE_MATRIX = '''(nn.Module):
    """As in lesson 07: one matrix for all three, no biases, plain parameters."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.h, self.W_o = n_heads, nn.Linear(d_model, d_model)
        self.W_in = nn.Parameter(torch.empty(3 * d_model, d_model))
        nn.init.xavier_uniform_(self.W_in)

    def forward(self, x, memory, mask=None):
        B, T, D = x.shape
        W_q, W_k, W_v = self.W_in.chunk(3)
        q = (x @ W_q.T).view(B, T, self.h, D // self.h).permute(0, 2, 1, 3)
        k, v = ((memory @ W.T).view(B, -1, self.h, D // self.h).permute(0, 2, 1, 3) for W in (W_k, W_v))
        return self.W_o(attention(q, k, v, mask).transpose(1, 2).contiguous().view(B, T, D))


'''
HEAD_BY_HEAD = '''(nn.Module):
    """A small matrix for each head, a loop, and the output comes with something else."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        size = d_model // n_heads
        self.q, self.k, self.v = (
            nn.ModuleList(nn.Linear(d_model, size, bias=False) for _ in range(n_heads)) for _ in range(3)
        )
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x, memory, mask=None):
        mask = mask[:, 0] if mask is not None and mask.dim() == 4 else mask
        heads = [attention(q(x), k(memory), v(memory), mask) for q, k, v in zip(self.q, self.k, self.v)]
        return self.out(torch.cat(heads, dim=-1)), heads


'''
FULL_SIZE = '''(nn.Module):
    """Heads of full size, as in the lecture; W^O brings them back."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.h, self.out = n_heads, nn.Linear(n_heads * d_model, d_model)
        self.q, self.k, self.v = (nn.Linear(d_model, n_heads * d_model) for _ in range(3))

    def forward(self, x, memory, mask=None):
        asked = ((self.q, x), (self.k, memory), (self.v, memory))
        q, k, v = (w(z).unflatten(-1, (self.h, -1)).transpose(1, 2) for w, z in asked)
        return self.out(attention(q, k, v, mask).transpose(1, 2).flatten(-2))


'''
ATTENTION = SOLVED.partition('True = may attend -> (..., T, d_v)."""\n')[2].partition("\n\nclass")[0]
EINSUM = """    scores = torch.einsum("...td,...sd->...ts", q, k) * q.size(-1) ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e9, dtype=q.dtype, device=q.device))
    powers = torch.exp(scores - scores.max(-1, keepdim=True).values)
    shares = powers / powers.sum(-1, keepdim=True)
    return torch.einsum("...ts,...sv->...tv", shares, v), shares
"""
RIGHT = {
    "as it is": [],
    "post-norm": POST_NORM,
    "norm first around the attention, last around the feed-forward network": [
        ("        return x + self.feed_forward(self.norm2(x))", "        return self.norm2(x + self.feed_forward(x))")
    ],
    "einsum, the weights returned too": [(ATTENTION, EINSUM), ("heads = attention(", "heads, _ = attention(")],
    "one matrix for all": [(HEADS, ONE_MATRIX)],
    "head by head, a tuple": [
        (HEADS, HEAD_BY_HEAD),
        ("z, z, src_mask)", "z, z, src_mask)[0]"),
        ("z, z, tgt_mask)", "z, z, tgt_mask)[0]"),
        ("memory, src_mask)\n        return", "memory, src_mask)[0]\n        return"),
    ],
    "heads of full size": [(HEADS, FULL_SIZE)],
    "heads interleaved": [
        (
            "x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)",
            "x.unflatten(-1, (-1, self.n_heads)).permute(0, 3, 1, 2)",
        ),
        ("heads.transpose(1, 2).flatten(-2)", "heads.permute(0, 2, 3, 1).flatten(-2)"),
    ],
    "no biases, GELU, an output layer of its own": [
        ("nn.Linear(d_model, d_model) for", "nn.Linear(d_model, d_model, bias=False) for"),
        ("torch.relu(", "nn.functional.gelu("),
        (
            "        self.encoder_norm, self",
            "        self.final = nn.Linear(d_model, tgt_vocab)\n        self.encoder_norm, self",
        ),
        ("return self.decoder_norm(y) @ self.tgt_embedding.weight.T", "return self.final(self.decoder_norm(y))"),
    ],
    "learned positions, dropout, branches that start at zero": [
        ("sinusoidal(ids.shape[1], self.d_model)", "self.places[: ids.shape[1]]"),
        (
            "        self.encoder_norm, self",
            "        self.places = nn.Parameter(sinusoidal(128, d_model))\n        self.encoder_norm, self",
        ),
        ("return self.out(heads", "return nn.functional.dropout(1.0, 0.1, self.training) * self.out(heads"),
        ("1.0, 0.1, self.training) *", "torch.ones(()), 0.1, self.training) *"),
        ("for _ in range(4))", "for _ in range(4))\n        nn.init.zeros_(self.out.weight)"),
    ],
    "target padding hidden as well": [("bool).tril()", "bool).tril() & (tgt != self.pad_id)[:, None, None, :]")],
}


@pytest.mark.slow
def test_the_solved_file_passes(tmp_path):
    assert "○ attention" in str(checks.progress())
    result = checks.capstone(FILE)
    assert result.passed is True, str(result)
    assert str(result).count("✓") == 12 and "all 11 parts" in str(result)
    assert "✓ attention" in str(checks.progress()) and "✓ generation" in str(checks.progress())
    assert checks.progress().passed is None  # the exercises are still open
    assert result._repr_html_().startswith("<pre")


@pytest.mark.slow
def test_post_norm_learns_too(write, monkeypatch):
    monkeypatch.setattr(training, "GOOD", 0.3)  # here the beginning of learning is enough
    monkeypatch.setattr(training, "ENOUGH", 0.2)
    result = checks.capstone(write(changed(POST_NORM)))
    assert result.passed is True, str(result)


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_other_right_designs_pass(write, name: str):
    result = checks.capstone(write(changed(RIGHT[name])), seed=0, steps=0)
    assert [state(result, part) for part in ALONE] == ["✓"] * 9, str(result)
    assert result.passed is None and "○ training: left out" in str(result)


# ---- planted bugs: what is changed in the solved file, the part that fails, what the learner reads ----------

CAUSAL = "torch.ones(tgt.shape[1], tgt.shape[1], dtype=torch.bool).tril()"
MASK = "(src != self.pad_id)[:, None, None, :]"
POSITIONS = " + sinusoidal(ids.shape[1], self.d_model)"
CROSS = "self.cross_attention(self.norm2(y), memory, src_mask)"
SPLIT = "x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)"
ENCODER = "nn.ModuleList(EncoderLayer(d_model, n_heads, d_ff) for _ in range(n_layers))"
NEVER_HIDDEN = "-math.inf", "-1e9"  # where nobody is left to ask, the mean of all instead of NaN

BUGS = {
    # the three that the course promises to find
    "leak": ([(CAUSAL, CAUSAL.removesuffix(".tril()"))], "Transformer", "a leak: .* The causal mask is missing"),
    "inverted mask": ([(MASK, MASK.replace("!=", "=="))], "Transformer", "inverted mask: .*without padding gives NaN"),
    "positions forgotten": ([(POSITIONS, "")], "Transformer", "forgotten in the encoder and the decoder"),
    # their relatives
    "inverted causal mask": (
        [(CAUSAL, CAUSAL.replace("tril", "triu"))],
        "Transformer",
        "a leak, by an inverted causal",
    ),
    "inverted causal mask, NaN": ([(CAUSAL, f"~{CAUSAL}")], "Transformer", "inverted causal mask, and so a leak"),
    "inverted causal mask, no NaN": (
        [(CAUSAL, f"~{CAUSAL}"), NEVER_HIDDEN],
        "Transformer",
        "a leak, by an inverted causal mask",
    ),
    "causal mask off by one": ([(CAUSAL, CAUSAL.replace("()", "(1)"))], "Transformer", "mask is off by one"),
    "not even itself": ([(CAUSAL, CAUSAL.replace("()", "(-1)"))], "Transformer", "not even itself"),
    "inverted mask, no NaN": (
        [(MASK, MASK.replace("!=", "==")), NEVER_HIDDEN],
        "Transformer",
        "inverted mask: .* only the padding is heard",
    ),
    "padding heard": ([(MASK, f"({MASK}) | True")], "Transformer", "padding is heard"),
    "padding heard across": (
        [("(y, memory, src_mask, tgt", "(y, memory, src_mask | True, tgt")],
        "Transformer",
        "padding is",
    ),
    "pad_id ignored": ([(MASK, MASK.replace("self.pad_id", "0"))], "Transformer", "pad_id is ignored"),
    "no positions, decoder": (
        [("self.embed(self.tgt_embedding, tgt)", "self.tgt_embedding(tgt)")],
        "Transformer",
        "in the decoder",
    ),
    "no positions, encoder": (
        [("self.embed(self.src_embedding, src)", "self.src_embedding(src)")],
        "Transformer",
        "in the encoder",
    ),
    "one position for all": (
        [("ids.shape[1], self.d_model)", "1, self.d_model)")],
        "Transformer",
        "forgotten in the encoder and",
    ),
    "layers in a list": ([(ENCODER, f"list({ENCODER})")], "Transformer", "a Python list hides layers"),
    "one layer, n times": (
        [(ENCODER, "nn.ModuleList([EncoderLayer(d_model, n_heads, d_ff)] * n_layers)")],
        "Transformer",
        "the same layer n times",
    ),
    "probabilities": (
        [
            ("weight.T\n", "weight.T.softmax(-1)\n"),
            (
                "return self.decoder_norm(y) @ self.tgt_embedding.weight.T.softmax",
                "return (self.decoder_norm(y) @ self.tgt_embedding.weight.T).softmax",
            ),
        ],
        "Transformer",
        "Return the logits",
    ),
    "the other vocabulary": (
        [("@ self.tgt_embedding", "@ self.src_embedding")],
        "Transformer",
        r"\(2, 5, 13\) is wanted, and yours is",
    ),
    "an unused encoder": (
        [("self.encoder_norm(x), self", "self.src_embedding(src), self")],
        "Transformer",
        "no gradient reaches encoder.0",
    ),
    "a detached memory": (
        [("self.encoder_norm(x), self", "self.encoder_norm(x).detach(), self")],
        "Transformer",
        "no gradient reaches src_embedding",
    ),
    # attention and its heads
    "no scaling": ([(" / math.sqrt(q.shape[-1])", "")], "attention", "looks like: no scaling"),
    "softmax over the queries": (
        [("softmax(dim=-1)", "softmax(dim=-2)")],
        "attention",
        "looks like: softmax over the queries",
    ),
    "softmax over axis 1": ([("softmax(dim=-1)", "softmax(dim=1)")], "attention", "softmax over a numbered axis"),
    "mask inverted inside": (
        [("masked_fill(~mask", "masked_fill(mask")],
        "attention",
        "looks like: the mask is inverted",
    ),
    "view without transpose": (
        [(SPLIT, "x.reshape(len(x), self.n_heads, x.shape[1], -1)")],
        "MultiHeadAttention",
        "view without transpose",
    ),
    "heads not split": (
        [(SPLIT, SPLIT.replace("self.n_heads", "1"))],
        "MultiHeadAttention",
        "looks like: heads not split",
    ),
    "heads without the mask": (
        [("attention(q, k, v, mask)", "attention(q, k, v)")],
        "MultiHeadAttention",
        "looks like: the mask is not used",
    ),
    "only self-attention": (
        [("key(memory)", "key(x)"), ("value(memory)", "value(x)")],
        "MultiHeadAttention",
        "asks x where memory",
    ),
    "no output matrix": (
        [("self.out(heads.transpose(1, 2).flatten(-2))", "heads.transpose(1, 2).flatten(-2)")],
        "MultiHeadAttention",
        "no gradient reaches out",
    ),
    # the small parts
    "sines and cosines apart": (
        [
            (
                "torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)",
                "torch.cat([angle.sin(), angle.cos()], dim=-1)",
            )
        ],
        "sinusoidal",
        "all sines, then all cosines",
    ),
    "unbiased variance": (
        [("centered.square().mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True)")],
        "LayerNorm",
        "looks like: the unbiased variance",
    ),
    "eps outside the root": (
        [("(variance + 1e-5).sqrt()", "(variance.sqrt() + 1e-5)")],
        "LayerNorm",
        "eps outside the root",
    ),
    "nothing learned": (
        [("self.gamma * centered", "centered"), (" + self.beta", "")],
        "LayerNorm",
        "looks like: gamma and beta left out",
    ),
    "gamma added": (
        [("self.gamma * centered", "centered"), (" + self.beta", " + self.gamma - 1 + self.beta")],
        "LayerNorm",
        "looks like: gamma added, not multiplied",
    ),
    "no ReLU": ([("torch.relu(self.inner(x))", "self.inner(x)")], "FeedForward", "nothing bends"),
    "ReLU at the end": (
        [("self.outer(torch.relu(self.inner(x)))", "torch.relu(self.outer(self.inner(x)))")],
        "FeedForward",
        "no output is ever negative",
    ),
    "dropout for ever": (
        [
            ("return self.outer(", "return nn.functional.dropout(self.outer)("),
            ("dropout(self.outer)(torch.relu(self.inner(x)))", "dropout(self.outer(torch.relu(self.inner(x))))"),
        ],
        "FeedForward",
        "another output every time",
    ),
    # the layers
    "no residual": (
        [("x = x + self.self_attention", "x = self.self_attention")],
        "EncoderLayer",
        "residual .* around self_attention:",
    ),
    "no residual, feed-forward": (
        [("return x + self.feed", "return self.feed")],
        "EncoderLayer",
        "residual .* around feed_forward:",
    ),
    "no residual, post-norm": (
        [*POST_NORM, ("norm1(x + self.self", "norm1(self.self")],
        "EncoderLayer",
        "residual .* around self_attention:",
    ),
    "no residual, decoder": (
        [("y = y + self.cross", "y = self.cross")],
        "DecoderLayer",
        "residual .* around cross_attention:",
    ),
    "no norm": (
        [
            ("self.feed_forward(self.norm2(x))", "self.feed_forward(x)"),
            ("self.norm2 = LayerNorm(d_model), LayerNorm(d_model)\n\n", "self.norm2 = LayerNorm(d_model), None\n\n"),
        ],
        "EncoderLayer",
        "layer norm is forgotten",
    ),
    "src_mask unused": (
        [("self.self_attention(z, z, src_mask)", "self.self_attention(z, z)")],
        "EncoderLayer",
        "src_mask is not respected",
    ),
    "src_mask inverted": ([("(z, z, src_mask)", "(z, z, ~src_mask)"), NEVER_HIDDEN], "EncoderLayer", "inverted mask"),
    "a causal encoder": (
        [("(z, z, src_mask)", "(z, z, src_mask & torch.ones(x.shape[1], x.shape[1]).tril().bool())")],
        "EncoderLayer",
        "causal mask belongs into the decoder",
    ),
    "cross-attention at the target": (
        [(CROSS, "self.cross_attention(self.norm2(y), self.norm2(y), tgt_mask)")],
        "DecoderLayer",
        "cross-attention looks at the target",
    ),
    "self-attention at the memory": (
        [("(z, z, tgt_mask)", "(z, memory, src_mask)")],
        "DecoderLayer",
        "does not hear all the target words before",
    ),
    "cross-attention without mask": (
        [(CROSS, CROSS.replace(", src_mask", ""))],
        "DecoderLayer",
        "src_mask is not respected",
    ),
    "tgt_mask unused": ([("(z, z, tgt_mask)", "(z, z)")], "DecoderLayer", "a leak: .* Hand tgt_mask on"),
    # greedy
    "no stop": (
        [("[row[: row.index(eos)] if eos in row else row for row in rows]", "rows")],
        "greedy",
        "it does not stop at eos",
    ),
    "eos kept": ([("row.index(eos)]", "row.index(eos) + 1]")], "greedy", "looks like: eos is returned"),
    "the first position": (
        [("model(src, tgt)[:, -1]", "model(src, tgt)[:, 0]")],
        "greedy",
        "the first position is read",
    ),
    "more than the model's forward": (
        [("    tgt = torch.full", "    memory = model.encode(src)\n    tgt = torch.full")],
        "greedy",
        r"nothing of the model but model\(src, tgt\)",
    ),
    # Python
    "no super().__init__()": (
        [("        super().__init__()\n        self.inner", "        self.inner")],
        "FeedForward",
        "in the line: self.inner, self.outer = ",
    ),
    "no return": ([("return self.outer(torch", "self.outer(torch")], "FeedForward", "is a `return` missing"),
    "another signature": (
        [("def forward(self, x, src_mask)", "def forward(self, x)"), ("z, z, src_mask", "z, z")],
        "EncoderLayer",
        r"should take \(x, src_mask\), in this order; yours takes \(x\)",
    ),
    "another constructor": (
        [
            ("def __init__(self, d_model, d_ff)", "def __init__(self, d_model)"),
            ("nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)", "nn.Linear(d_model, 9), nn.Linear(9, d_model)"),
        ],
        "FeedForward",
        r"should take \(d_model, d_ff\)",
    ),
    "the course's own": (
        [("def sinusoidal(n, d):", "from utils.positional import sinusoidal\n\n\ndef _(n, d):")],
        "sinusoidal",
        "imports it from utils.positional",
    ),
    "PyTorch's own": (
        [("class FeedForward", "LayerNorm = nn.LayerNorm\n\n\nclass FeedForward")],
        "LayerNorm",
        "imports it from torch.nn",
    ),
    "PyTorch's attention": (
        [
            (
                "    scores = q @",
                "    return nn.functional.scaled_dot_product_attention(q, k, v, mask)\n    scores = q @",
            )
        ],
        "attention",
        "calls scaled_dot_product_attention",
    ),
    "no class": (
        [("class FeedForward(nn.Module)", "FeedForward = 3\n\n\nclass Other(nn.Module)")],
        "FeedForward",
        "should be a class, and yours is 3",
    ),
    "no module": ([("class FeedForward(nn.Module)", "class FeedForward(list)")], "FeedForward", "should be a module"),
    "a row of the mask for each query": (
        [("masked_fill(~mask,", "masked_fill(~mask[..., list(range(q.shape[-2])), :],")],
        "attention",
        "one row for all queries",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_each_planted_bug_is_found_and_named(write, examine_only_what_differs, name: str):
    edits, part, said = BUGS[name]
    examine_only_what_differs(changed(edits), until=part)
    result = checks.capstone(write(changed(edits)), seed=0, steps=0)
    assert result.passed is False and state(result, part) == "✗", str(result)
    (problem,) = re.findall(rf"^{part}: .*?(?=\n\n)", str(result), re.DOTALL | re.MULTILINE)
    assert re.search(said, problem, re.DOTALL), str(result)
    before = ALONE[: ALONE.index(part)]
    assert [state(result, other) for other in before] == ["✓"] * len(before), "what stands before it is right"
    assert "Traceback" not in str(result) and "did not think of" not in str(result)
    assert "seed=" in str(result) and str(result).endswith("run this cell again.")


CHECKS = [oracles.attention, oracles.identity_heads, oracles.sinusoidal, oracles.layer_norm, oracles.greedy]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_oracles_pass_and_their_mistakes_are_named(check):
    for seed in range(3):
        assert check.examine(check.oracle, seed)[0] is True
        for mistake in check.mistakes:
            passed, text = check.examine(mistake.code, seed)
            assert passed is False and f"looks like: {mistake.name}. " in text, (mistake.name, text)


def test_the_seed_repeats_a_failure(write):
    path = write(changed(BUGS["no scaling"][0]))
    assert str(checks.capstone(path, seed=3)) == str(checks.capstone(path, seed=3))
    assert 'checks.capstone("my_transformer.py", seed=3)' in str(checks.capstone(path, seed=3))


def test_a_model_that_has_not_learned_is_told(examine_only_what_differs):
    examine_only_what_differs(SOLVED)
    result = checks.capstone(FILE, seed=0, steps=1)
    assert state(result, "training") == "✗" and "it does not learn to write numbers backwards" in str(result)
    assert "0% of new numbers" in str(result) and "waits for training" in str(result)


def test_a_greedy_that_differs_with_a_real_model_is_told(write, monkeypatch, examine_only_what_differs):
    """Right where one logit is 1 and the others 0; a real model's are not like that."""
    narrow = [("model(src, tgt)[:, -1].argmax", "(model(src, tgt)[:, -1] > 0.5).float().argmax")]
    monkeypatch.setattr(training, "ENOUGH", 0.0)
    examine_only_what_differs(changed(narrow))
    result = checks.capstone(write(changed(narrow)), seed=0, steps=1)
    assert state(result, "training") == "✓" and state(result, "generation") == "✗"
    assert "greedy says something else than the most probable token" in str(result)


# ---- how far it got ----------------------------------------------------------------------------------------


def beginnings() -> list[tuple[str, int, str]]:
    """The solved file up to each of its parts: (source, parts so far, the next part)."""
    assert list(UP_TO) == ALONE
    empty = "".join(SOLVED.splitlines(keepends=True)[:7])
    return [(source, done, ALONE[done]) for done, source in enumerate([empty, *UP_TO.values()][:-1])]


@pytest.mark.parametrize(("source", "done", "following"), beginnings(), ids=lambda value: str(value)[-12:])
def test_a_beginning_says_how_far_it_got_and_what_is_next(
    write, examine_only_what_differs, source: str, done: int, following: str
):
    stub = (
        f"\n\nclass {following}(nn.Module):\n    ...\n" if following[0].isupper() else f"\n\ndef {following}(*a): ...\n"
    )
    examine_only_what_differs(source)
    for text in (source, source + stub):
        result = checks.capstone(write(text), seed=0, steps=0)
        assert result.passed is None and f"\n\nNext: {following}(" in str(result), str(result)
        if done:
            assert f"capstone: {done} of 11 parts." in str(result)
            assert f"○ {following}: not written yet" in str(result)
            assert [state(result, name) for name in ALONE[:done]] == ["✓"] * done
        else:
            assert "not attempted yet" in str(result)


def test_a_part_may_come_before_its_turn(write):
    body = SOLVED.partition("class LayerNorm")
    result = checks.capstone(
        write("import torch\nfrom torch import nn\n\nclass LayerNorm" + body[2].partition("\n\n\n")[0])
    )
    assert state(result, "LayerNorm") == "✓" and "1 of 11 parts" in str(result) and "Next: attention(" in str(result)


def test_the_first_of_two_problems_is_explained(write):
    result = checks.capstone(write(changed(BUGS["no ReLU"][0] + BUGS["no scaling"][0])))
    assert "✗ attention: see below" in str(result) and "✗ FeedForward: after that" in str(result)
    assert "no scaling" in str(result) and "nothing bends" not in str(result)


# ---- files that are none -----------------------------------------------------------------------------------


def test_without_a_file_it_says_what_to_begin_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = checks.capstone("my_transformer.py")
    assert result.passed is None and "not attempted yet. There is no file my_transformer.py" in str(result)
    assert "Next: attention(q, k, v, mask=None)" in str(result)
    assert not (tmp_path / "progress.json").exists(), "looking is not trying"


@pytest.mark.parametrize("source", ["", "\n\n", '"""My Transformer."""\n', "import torch\n", "# to do"], ids=repr)
def test_an_empty_file_says_what_to_begin_with(write, source: str):
    result = checks.capstone(write(source))
    assert result.passed is None and "none of the parts in it" in str(result)
    assert "Next: attention(q, k, v, mask=None)" in str(result)


GARBAGE = {
    "def attention(q, k, v, mask=None):\n    return (q": "cannot read my_transformer.py, line 2: .*was never closed",
    "def f():\nreturn 1": "line 2: .*indented block.*\n.*in the line: return 1",
    b"\xff\xfe\x00garbage": "my_transformer.py",
    b"x = 1\x00": "my_transformer.py",
    "(" * 5000: "my_transformer.py",
    "import no_such_module": "cannot be imported: .*no_such_module'\nin the line: import no_such_module",
    "x = 1 / 0": "ZeroDivisionError.*\nin the line: x = 1 / 0",
    "raise SystemExit(1)": "SystemExit",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "def attention(q, k): ...\ndef attention(q, k):\n    return q": r"should take \(q, k, v, mask\)",
    "def attention(q, k, v, mask=None):\n    q = None\n    return q": "returns None",
    "def attention(q, k, v, mask=None):\n    return 'forty-two'": "yours is a str",
    "def attention(q, k, v, mask=None):\n    return ()": "yours is a tuple",
    "def attention(q, k, v, mask=None):\n    return q * float('nan')": "attention: ",
    "def attention(q, k, v, mask=None):\n    raise ValueError('no')": "stopped with ValueError: no\nin the line: raise",
    "def attention(q, k, v, mask=None):\n    raise SystemExit": "SystemExit",
    "attention = 3": "should be a function, and yours is 3",
    "class attention: ...": "should be a function",
    "from torch.nn.functional import scaled_dot_product_attention as attention": "attention: ",
    "attention = print": "attention: ",
    "attention = lambda *a: a": "attention: ",
    "def LayerNorm(d): return d": "should be a class",
    "class LayerNorm:\n    def __init__(self, d): pass\n    def forward(self, x): return x": "should be a module",
    "class LayerNorm:\n    forward = 3": "LayerNorm",
    "class LayerNorm:\n    def __init__(self, d):\n        1 / 0\n    def forward(self, x): return x": (
        r"LayerNorm\(4\) stopped with ZeroDivisionError.*\nin the line: 1 / 0"
    ),
}


@pytest.mark.parametrize("source", GARBAGE, ids=lambda source: repr(source)[:40])
def test_garbage_gets_a_sentence(write, source):
    result = checks.capstone(write(source))
    assert result.passed is False and re.search(GARBAGE[source], str(result), re.DOTALL), str(result)
    assert "Traceback" not in str(result) and "did not think of" not in str(result), str(result)
    assert len(str(result)) < 3000


@pytest.mark.parametrize("path", [None, 42, torch.zeros(2), b"my_transformer.py", "a\0b", "", ".", Path(".")], ids=repr)
def test_odd_paths_get_a_sentence(path):
    result = checks.capstone(path)
    assert result.passed is not True and "Traceback" not in str(result) and len(str(result)) > 20


@pytest.mark.parametrize(
    "body", ["while True: pass", "while True:\n    try: 1\n    except BaseException: pass"], ids=repr
)
def test_an_import_that_never_ends_is_cut_off(write, monkeypatch, body: str):
    monkeypatch.setattr(capstone, "IMPORT_SECONDS", 0.2)
    result = checks.capstone(write(body))
    assert result.passed is False and "had not ended" in str(result)


@pytest.mark.slow
def test_endless_loops_in_a_part_are_cut_off(write, monkeypatch):
    monkeypatch.setattr(parts, "SECONDS", 0.3)
    monkeypatch.setattr("utils.checks.engine.check.SECONDS", 0.3)
    for old in ("        return self.outer(torch", "        self.inner, self.outer = ", "    frequency = "):
        endless = old[: len(old) - len(old.lstrip())] + "while True: pass\n"
        result = checks.capstone(write(changed([(old, endless + old)])), steps=0)
        assert result.passed is False and "is there a loop that never ends?" in str(result), str(result)


# ---- a good guest ------------------------------------------------------------------------------------------


def test_nothing_is_written_beside_the_file_and_an_edit_is_read_anew(write, tmp_path):
    helper = tmp_path / "helper_of_the_capstone.py"
    helper.write_text("x = 1\n")
    path = write(f"import sys\nsys.path.append({str(tmp_path)!r})\nimport helper_of_the_capstone\nsys.path.pop()\n")
    modules = set(sys.modules)
    assert "none of the parts" in str(checks.capstone(path))
    write(SOLVED.partition("class MultiHead")[0])
    assert "1 of 11 parts" in str(checks.capstone(path))
    write(changed(BUGS["no scaling"][0]).partition("class MultiHead")[0])
    assert "no scaling" in str(checks.capstone(path))
    assert {item.name for item in tmp_path.iterdir()} == {helper.name, path.name, "progress.json", "progress.json.lock"}
    assert {name for name in set(sys.modules) - modules if "transformer" in name} == set()


def test_the_learners_settings_are_left_alone(write):
    path = write("import torch\ntorch.manual_seed(9)\ntorch.set_default_dtype(torch.float64)\n")
    torch.manual_seed(0)
    wanted, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(0)
    checks.capstone(path)
    assert torch.equal(torch.rand(1), wanted) and torch.get_num_threads() == threads


def test_classes_that_look_up_their_module_work(write):
    early = "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    early += "@dataclass\nclass Sizes:\n    d: int\n\n"
    result = checks.capstone(write(early + SOLVED.partition("class MultiHead")[0]))
    assert "1 of 11 parts" in str(result), str(result)


# ---- what is told leads somewhere --------------------------------------------------------------------------


def test_every_section_that_is_named_exists():
    modules = [capstone, oracles, parts]
    # strings that go on in the next line are one
    source = "\n".join(
        re.sub(r"['\"]\s*\n\s*f?['\"]", "", Path(m.__file__).read_text(encoding="utf-8")) for m in modules
    )
    named = re.findall(r"[Ll]esson (\d\db?), \\?\"([^\"]+?)\\?\"", source.replace("\\\\", "\\"))
    advice = {mistake.advice for check in (*checks.EXERCISES.values(), *CHECKS) for mistake in check.mistakes}
    named += re.findall(r"[Ll]esson (\d\db?), \"([^\"]+)\"", "\n".join(advice))
    assert len(named) > 25
    for lesson, section in named:
        (path,) = TEXT.glob(f"{lesson}_*.md")
        assert f"# {section}\n" in path.read_text(encoding="utf-8"), f"lesson {lesson} has no section {section!r}"


def test_the_task_names_every_part_as_the_check_does():
    lesson = (TEXT / "08b_search_and_scores.md").read_text(encoding="utf-8")
    task = re.search(r"^### Capstone: from an empty file\n(.*?)(?=^## )", lesson, re.DOTALL | re.MULTILINE)[1]
    assert 'checks.capstone("my_transformer.py")' in task and task.count("<summary>Hint") >= 3
    for part in capstone.PARTS[:9]:
        signature = re.match(r"\w+\(.*?\)", part.task)[0]
        assert f"| `{signature}` |" in task, f"the task does not have {signature}"


def test_the_solution_builds_the_solved_file():
    """What the solution's cells define, one after the other, is tests/capstone/my_transformer.py."""

    def parts(source: str) -> dict[str, str]:
        nodes = [node for node in ast.parse(source).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        return {node.name: ast.dump(node) for node in nodes}

    cells = [cell.source for cell in read_twin(TEXT / "solutions" / "capstone.md").cells if cell.cell_type == "code"]
    shown = parts("\n\n".join(cells))
    assert {name: shown.get(name) for name in parts(SOLVED)} == parts(SOLVED)
    stored = (NOTEBOOKS / "solutions" / "capstone.ipynb").read_text(encoding="utf-8")
    assert "capstone: passed, all 11 parts" in stored
