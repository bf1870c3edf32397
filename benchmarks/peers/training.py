"""One training step, as each peer's users write it: `python -m benchmarks.peers.training PEER JOB` is a worker.

All have the same sizes, dropout 0.1 on the embeddings and on what each sublayer adds to the residual stream (nowhere
else), label smoothing 0.1, clipping at 1.0 and the same fused AdamW; each in the fastest way that its interface offers.
A step begins with lists of ids: every implementation makes its tensors inside the clock. Padding is id 0.

A builder: job -> (model, loss, make); make: rows of ids -> the arguments of loss, which is summed over real target
tokens.

A task is {}, a step on each batch, or {"seconds": s}, the same again until that time has passed.
"""

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers import serve

PAD, BOS, EOS = 0, 1, 2
DROPOUT, SMOOTHING = 0.1, 0.1


def pad(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def tensors(batch: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target input <bos> y, target output y <eos>."""
    return pad(batch["src"]), pad([[BOS, *t] for t in batch["tgt"]]), pad([[*t, EOS] for t in batch["tgt"]])


def smoothed(logits: Tensor, target: Tensor) -> Tensor:
    """PyTorch's own label smoothing. It gives the padding class a share as well: a detail that costs no time."""
    return F.cross_entropy(
        logits.flatten(0, -2), target.flatten(), ignore_index=PAD, label_smoothing=SMOOTHING, reduction="sum"
    )


class Embed(nn.Module):
    """Scaled embeddings and sinusoidal positions, which nn.Transformer leaves to its users."""

    def __init__(self, vocab: int, d: int, longest: int = 512):
        super().__init__()
        self.tokens, self.dropout, self.scale = nn.Embedding(vocab, d, padding_idx=PAD), nn.Dropout(DROPOUT), d**0.5
        nn.init.normal_(self.tokens.weight, std=d**-0.5)  # as the output layer, too, it must not begin large
        angle = torch.arange(longest)[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], -1).flatten(1))

    def forward(self, ids: Tensor) -> Tensor:
        return self.dropout(self.tokens(ids) * self.scale + self.positions[: ids.shape[1]])


def torch_transformer(job: dict, real_only: bool = False):
    """nn.Transformer. Without dropout on attention weights it takes the fused attention by itself; the causal mask
    comes with the hint that it is one, and targets, padded on the right, need no padding mask.

    Embeddings and the output layer are its users' business. `real_only` spares the output layer the padding, which
    its tutorials do not.
    """
    s = job["sizes"]
    d, layers = s["d_model"], s["n_layers"]
    core = nn.Transformer(
        d, s["n_heads"], layers, layers, s["d_ff"], DROPOUT, batch_first=True, norm_first=True, activation="relu"
    )
    for layer in [*core.encoder.layers, *core.decoder.layers]:
        layer.dropout.p = 0.0  # inside the feed-forward; dropout1..3, on the branches, stay
        layer.self_attn.dropout = 0.0
        if hasattr(layer, "multihead_attn"):
            layer.multihead_attn.dropout = 0.0
    model = nn.ModuleDict({"core": core, "src": Embed(s["src_vocab"], d), "tgt": Embed(s["tgt_vocab"], d)})

    def loss(src, tgt_in, tgt_out):
        padding = src == PAD  # True = may not be attended to
        causal = nn.Transformer.generate_square_subsequent_mask(tgt_in.shape[1])
        hidden = core(
            model["src"](src),
            model["tgt"](tgt_in),
            tgt_mask=causal,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        if real_only:
            real = tgt_out != PAD
            hidden, tgt_out = hidden[real], tgt_out[real]
        return smoothed(F.linear(hidden, model["tgt"].tokens.weight), tgt_out)

    return model, loss, tensors


def marian(job: dict):
    """Hugging Face's MarianMTModel with fused attention ("sdpa"); post-norm, as it is written. Given labels it would
    compute a loss without smoothing; so its users ask for the logits and smooth them, here in the fastest way."""
    from transformers import MarianConfig, MarianMTModel

    s = job["sizes"]
    sides = {"layers": s["n_layers"], "attention_heads": s["n_heads"], "ffn_dim": s["d_ff"]}
    config = MarianConfig(
        vocab_size=s["src_vocab"],
        decoder_vocab_size=s["tgt_vocab"],
        share_encoder_decoder_embeddings=False,
        tie_word_embeddings=True,  # output layer and target embedding
        d_model=s["d_model"],
        **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sides.items()},
        max_position_embeddings=512,
        activation_function="relu",
        scale_embedding=True,
        dropout=DROPOUT,
        attention_dropout=0.0,
        activation_dropout=0.0,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        forced_eos_token_id=None,
        decoder_start_token_id=BOS,
    )
    model = MarianMTModel._from_config(config, attn_implementation="sdpa")

    def loss(src, tgt_in, tgt_out):
        out = model(input_ids=src, attention_mask=(src != PAD).long(), decoder_input_ids=tgt_in, use_cache=False)
        return smoothed(out.logits, tgt_out)

    return model, loss, tensors


def x_transformers(job: dict):
    """XTransformer, pre-norm with fused attention (flash). It has learned positions instead of sinusoidal ones and no
    option that ties the output layer, which is set by hand. Its own loss knows no smoothing: logits, as for Marian."""
    from x_transformers import XTransformer

    s = job["sizes"]
    side = {
        "depth": s["n_layers"],
        "heads": s["n_heads"],
        "attn_dim_head": s["d_model"] // s["n_heads"],
        "attn_flash": True,
        "attn_sublayer_dropout": DROPOUT,  # what a branch adds; attn_dropout and ff_dropout stay 0
        "ff_sublayer_dropout": DROPOUT,
        "ff_mult": s["d_ff"] / s["d_model"],
        "ff_custom_activation": nn.ReLU(),
        "emb_dropout": DROPOUT,
        "max_seq_len": 512,
    }
    vocabularies = {"enc_num_tokens": s["src_vocab"], "dec_num_tokens": s["tgt_vocab"]}
    both = {f"{prefix}_{name}": value for prefix in ("enc", "dec") for name, value in side.items()}
    model = XTransformer(dim=s["d_model"], **vocabularies, **both)
    decoder = model.decoder.net
    decoder.to_logits.weight = decoder.token_emb.emb.weight

    def loss(src, tgt_in, tgt_out):
        mask = src != PAD
        memory = model.encoder(src, mask=mask, return_embeddings=True)
        return smoothed(decoder(tgt_in, context=memory, context_mask=mask), tgt_out)

    return model, loss, tensors


def joeynmt(job: dict, dropout: float = DROPOUT, own_places: bool = False):
    """JoeyNMT's model and loss, called as its trainer calls them; it knows no fused attention.

    own_places: dropout where JoeyNMT's recipes have it: on attention weights and inside the feed-forward, too, but not
    on the embeddings.
    """
    from types import SimpleNamespace

    from joeynmt.batch import Batch
    from joeynmt.config import _check_special_symbols
    from joeynmt.model import build_model
    from joeynmt.vocabulary import Vocabulary

    s = job["sizes"]
    symbols = SimpleNamespace(**_check_special_symbols({}))
    vocabularies = [Vocabulary([f"w{i}" for i in range(4, s[side])], symbols) for side in ("src_vocab", "tgt_vocab")]
    embeddings = {"embedding_dim": s["d_model"], "scale": True, "dropout": 0.0 if own_places else dropout}
    part = {
        "type": "transformer",
        "num_layers": s["n_layers"],
        "num_heads": s["n_heads"],
        "embeddings": embeddings,
        "hidden_size": s["d_model"],
        "ff_size": s["d_ff"],
        "dropout": dropout,
        "layer_norm": "pre",
    }
    model = build_model({"encoder": part, "decoder": dict(part), "tied_softmax": True}, *vocabularies)
    model.loss_function = ("crossentropy", SMOOTHING)
    for name, module in model.named_modules():
        inside = name.endswith("_att.dropout") or name.endswith("pwff_layer.2")
        if isinstance(module, nn.Dropout) and inside and not own_places:
            module.p = 0.0
    ids = torch.tensor([symbols.pad_id, symbols.bos_id, symbols.eos_id, symbols.unk_id])  # at the places of ours

    def make(batch: dict):
        src = pad(batch["src"])
        tgt = pad([[BOS, *t, EOS] for t in batch["tgt"]])
        src, tgt = (torch.where(x < 4, ids[x.clamp(max=3)], x) for x in (src, tgt))
        length = (src != symbols.pad_id).sum(1)
        places = torch.arange(len(src))
        made = Batch(src, length, None, tgt, None, places, torch.device("cpu"), symbols.pad_id, symbols.eos_id)
        made.sort_by_src_length()
        return (made,)

    return model, lambda batch: model(return_type="loss", **vars(batch))[0], make


def joeynmt_batches(job: dict) -> list[dict]:
    """The same sentences in the batches that JoeyNMT's sampler makes of them: shuffled, not sorted by length."""
    from joeynmt.datasets import TokenBatchSampler
    from torch.utils.data import RandomSampler

    rows = [(s, t) for batch in job["batches"] for s, t in zip(batch["src"], batch["tgt"], strict=True)]

    class Data:
        def __len__(self):
            return len(rows)

        def __getitem__(self, i):
            return i, rows[i][0][:-1], rows[i][1]  # JoeyNMT adds the end mark itself

    sampler = RandomSampler(Data(), generator=torch.Generator().manual_seed(0))
    groups = TokenBatchSampler(sampler, job["batch_tokens"], drop_last=False, seed=0)
    return [{"src": [rows[i][0] for i in group], "tgt": [rows[i][1] for i in group]} for group in groups]


def passes(one_pass: Callable[[], float], tokens: int) -> Callable[[dict], dict]:
    """What answers a task: `one_pass` makes a step on each batch, `tokens` in all, and returns the mean loss."""

    def answer(task: dict) -> dict:
        n, spent, loss = 0, 0.0, 0.0
        began = time.perf_counter()
        while n == 0 or spent < task.get("seconds", 0.0):
            loss, n = one_pass(), n + 1
            spent = time.perf_counter() - began
        return {"seconds": spent, "tokens": n * tokens, "loss": loss}

    return answer


def n_targets(batch: dict) -> int:
    """Real target tokens, <eos> counted."""
    return sum(len(t) + 1 for t in batch["tgt"])


def peer(build: Callable, *packages: str, regroup: Callable | None = None, precision: str = "float32"):
    """A builder as something to `serve`."""

    def built(job: dict):
        torch.manual_seed(0)
        torch.set_num_threads(job["threads"])
        model, loss, make = build(job)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

        batches = regroup(job) if regroup else job["batches"]
        tokens = sum(map(n_targets, batches))

        def one_pass() -> float:
            total = torch.zeros(())
            for batch in batches:
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    summed = loss(*make(batch))
                (summed / n_targets(batch)).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                total += summed.detach()
            return float(total) / tokens

        return about(model, *packages), passes(one_pass, tokens)

    return built


def about(model: nn.Module, *packages: str) -> dict:
    versions = {name: importlib.metadata.version(name) for name in (*packages, "torch")}
    return {"parameters": sum(p.numel() for p in model.parameters()), "versions": versions}


def fitting(model: nn.Module, batches: list[dict], device: torch.device, **settings) -> Callable[[], float]:
    """The course's own `Trainer.fit` as a function: one pass over these batches, in this order; returns the mean loss.

    It makes the tensors of each batch itself, as in every training.
    """
    from utils.batching import EpochBatches
    from utils.config import TrainConfig
    from utils.trainer import Trainer

    ends = list(accumulate(len(batch["src"]) for batch in batches))

    class Given(EpochBatches):
        def indices(self, epoch: int) -> list[list[int]]:
            return [list(range(end - len(batch["src"]), end)) for end, batch in zip(ends, batches, strict=True)]

    src, tgt = ([row for batch in batches for row in batch[side]] for side in ("src", "tgt"))
    config = TrainConfig(
        steps=1,
        lr=1e-4,
        warmup=1,
        cooldown=0.0,
        weight_decay=0.01,
        label_smoothing=SMOOTHING,
        clip=1.0,
        **settings,
    )
    trainer = Trainer(model, config, Given(src, tgt, 1), device)

    def one_pass() -> float:
        trainer.config = replace(config, steps=trainer.progress.step + len(batches))
        trainer.fit(report=lambda _: {}, bar=False)
        return trainer.progress.history[-1]["train_nll"]

    return one_pass


def ours(job: dict, precision: str = "float32", compiled: bool = False):
    """The course's own training; no running average of the weights, which nobody else keeps."""
    from utils.checkpoint import build
    from utils.config import ModelConfig

    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    model = build(ModelConfig(**job["sizes"], dropout=DROPOUT))
    settings = {"ema": 0.0, "precision": precision, "compile": compiled}
    one_pass = fitting(model, job["batches"], torch.device("cpu"), **settings)
    return about(model), passes(one_pass, sum(map(n_targets, job["batches"])))


PEERS = {
    "ours": ours,
    "ours-bfloat16": lambda job: ours(job, precision="bfloat16"),
    "ours-compile": lambda job: ours(job, compiled=True),
    "torch": peer(torch_transformer),
    "torch-bfloat16": peer(torch_transformer, precision="bfloat16"),
    "torch-real": peer(lambda job: torch_transformer(job, real_only=True)),
    "marian": peer(marian, "transformers"),
    "x-transformers": peer(x_transformers, "x-transformers"),
    "joeynmt": peer(joeynmt, "joeynmt"),
    "joeynmt-batches": peer(joeynmt, "joeynmt", regroup=joeynmt_batches),
}

if __name__ == "__main__":
    serve(PEERS)
