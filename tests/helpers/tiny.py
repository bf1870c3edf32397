"""Tiny models and data that several test files share."""

import torch
from hypothesis import settings

from utils.checkpoint import build, save_model
from utils.config import ModelConfig
from utils.tokenizer import EOS, PAD, Tokenizer

# Few examples, the same ones at every run: a test that fails here fails everywhere.
few = settings(max_examples=25, deadline=None, derandomize=True)

SUBJECTS = {"我": "I", "你": "You", "我们": "We", "他们": "They", "学生": "The students", "老师": "The teachers"}
VERBS = {"喜欢": "like", "学习": "study", "看见": "see"}
OBJECTS = {"机器": "machines", "音乐": "music", "翻译": "translation"}
PAIRS = [
    (f"{zh_s}{zh_v}{zh_o}。", f"{s} {v} {o}.")
    for zh_s, s in SUBJECTS.items()
    for zh_v, v in VERBS.items()
    for zh_o, o in OBJECTS.items()
]


def tiny_config(kind: str = "transformer", **changes) -> ModelConfig:
    sizes = {"src_vocab": 13, "tgt_vocab": 11, "d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 12, "dropout": 0.0}
    return ModelConfig(kind=kind, **sizes | changes)


def tiny_model(kind: str = "transformer", seed: int = 0, **changes) -> torch.nn.Module:
    """A model with random weights in float64, ready to evaluate; biases and norms are random too."""
    torch.manual_seed(seed)
    model = build(tiny_config(kind, **changes)).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p.add_(0.3 * torch.randn_like(p))
    return model


def random_ids(lengths: list[int], vocab: int, seed: int = 0) -> torch.Tensor:
    """One row of random real tokens per length, padded on the right: (B, max(lengths))."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, vocab, (len(lengths), max(lengths)), generator=generator)
    return ids.masked_fill(torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None], 0)


def tiny_tokenizer() -> Tokenizer:
    return Tokenizer.train([zh for zh, _ in PAIRS], [en for _, en in PAIRS], tgt_vocab=70)


def tiny_checkpoint(folder, kind: str = "transformer", **changes):
    """A checkpoint folder with random weights, whose tokenizer knows the words of PAIRS."""
    tokenizer = tiny_tokenizer()
    sizes = {"src_vocab": tokenizer.src_vocab, "tgt_vocab": tokenizer.tgt_vocab}
    model = tiny_model(kind, **sizes | changes)
    save_model(folder, model.state_dict(), model.config, tokenizer)
    return folder


def without_key_biases(weights: dict) -> dict:
    """Weights to compare after training: without the stacked biases of queries, keys and values.

    A bias of all keys changes no softmax: its gradient is rounding, which Adam's division makes a step of.
    """
    return {name: w for name, w in weights.items() if not name.endswith("in_proj.bias")}


# Two dozen pairs of ids, ready for `make_batch`.
SRC = [[*row[row != PAD].tolist(), EOS] for row in random_ids([5, 2, 4, 1, 3, 6, 2, 5, 4, 3, 1, 6] * 2, 13, seed=1)]
TGT = [row[row != PAD].tolist() for row in random_ids([3, 2, 5, 2, 4, 4, 1, 6, 3, 2, 2, 5] * 2, 11, seed=2)]

# A training run of the tiniest kind, on the command line; which pairs, where to and how long is for the test to say.
FLAGS = "--d-model 8 --n-heads 2 --n-layers 1 --d-ff 12 --batch-tokens 60 --warmup 3 --tgt-vocab 70 --threads 1"
FLAGS += " --device cpu --precision float32"


def write_pairs(path, pairs=PAIRS):
    path.write_text("".join(f"{zh}\t{en}\n" for zh, en in pairs), encoding="utf-8")
    return path
