"""BERT: one stack that reads a text from both sides; it learns by guessing hidden words, then by labels (lesson 09).

Its marks are those that the tokenizer has: [CLS] is <bos>, [SEP] is <eos>, and [MASK] is <unk>, which a tokenizer of
subwords needs for nothing else.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from utils.attention import padding_mask
from utils.batching import EpochBatches, chunks, pad
from utils.config import ModelConfig
from utils.stack import Stack, embedding
from utils.tokenizer import BOS, EOS, SPECIALS, UNK

CLS, SEP, MASK = BOS, EOS, UNK


class EncoderOnly(nn.Module):
    """An encoder without a decoder: every token asks all others, and each position gives a vector, (B, T, D).

    From these an output layer, tied to the embedding, guesses hidden words; from the vector of [CLS] a small head says
    to which of two classes the whole text belongs. Source: BERT (arXiv 1810.04805), with pre-norm, sinusoidal positions
    and a plain output layer. Lesson 09.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.tgt_embedding = embedding(config.tgt_vocab, config)
        self.segment_embedding = nn.Embedding(2, config.d_model)
        nn.init.zeros_(self.segment_embedding.weight)
        self.stack = Stack(config)
        self.pooler, self.classifier = nn.Linear(config.d_model, config.d_model), nn.Linear(config.d_model, 2)

    def encoder_output(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """A vector for each position, which knows the whole text. ids: from `one_text` or `two_texts`, padded."""
        x = self.tgt_embedding(ids) + self.segment_embedding(segments(ids))
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return self.stack(x, places, padding_mask(ids, self.config.pad_id))

    def project(self, y: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """The output layer: logits over the vocabulary, with the embedding as its matrix."""
        return nn.functional.linear(y, self.tgt_embedding.weight)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits for the word at each position, which is asked for where [MASK] stands."""
        return self.project(self.encoder_output(ids))

    def classify(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B 2"]:
        """Logits of the two classes, read from the vector of [CLS]."""
        return self.classifier(self.stack.dropout(torch.tanh(self.pooler(self.encoder_output(ids)[:, 0]))))

    def attention_weights(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B L H T T"]:
        """Where each position looked, for every layer and head."""
        with self.stack.watched() as weights:
            self.encoder_output(ids)
        return torch.stack(weights, dim=1)


# ---- what it reads ----


def two_texts(a: list[int], b: list[int]) -> list[int]:
    """[CLS] a [SEP] b [SEP]; `segments` says which is which. Lesson 09."""
    return [CLS, *a, SEP, *b, SEP]


def one_text(a: list[int]) -> list[int]:
    """[CLS] a [SEP]. Lesson 09."""
    return [CLS, *a, SEP]


def segments(ids: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """0 up to and with the first [SEP], then 1. Lesson 09."""
    is_sep = (ids == SEP).long()
    return (is_sep.cumsum(dim=1) - is_sep).clamp(max=1)


def n_asked(n_words):
    """How many of n_words words are asked for, tensors or arrays: 15 %, rounded, and at least one. Lesson 09."""
    return ((3 * n_words + 10) // 20).clip(1)


def hide(ids: Int[Tensor, "B T"], vocab: int) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """The text with 15 % of its words hidden, and labels: what stood there, -1 where nothing is asked.

    Of the words that are asked for 80 % become [MASK], 10 % a random word, and 10 % stay: the model is never sure that
    a word which it sees is right. Marks stay as they are. Source: BERT (arXiv 1810.04805), section 3.1. Lesson 09.
    """
    is_word = ids >= len(SPECIALS)
    place = torch.rand(ids.shape, device=ids.device).masked_fill(~is_word, 2.0).argsort(dim=1).argsort(dim=1)
    asked = (place < n_asked(is_word.sum(dim=1, keepdim=True))) & is_word
    dice = torch.rand(ids.shape, device=ids.device)
    hidden = ids.masked_fill(asked & (dice < 0.8), MASK)
    any_word = torch.randint_like(ids, len(SPECIALS), vocab)
    hidden = torch.where(asked & (dice >= 0.8) & (dice < 0.9), any_word, hidden)
    return hidden, ids.masked_fill(~asked, -1)


# ---- training: what the Trainer asks for ----


@dataclass(frozen=True)
class Texts:
    """A batch: ids (B, T), labels (B,), -1 for none; n_targets: words that are asked for, or texts with a label."""

    ids: Tensor
    labels: Tensor
    n_targets: int

    def pinned(self) -> "Texts":
        return replace(self, ids=self.ids.pin_memory(), labels=self.labels.pin_memory())

    def to(self, device: torch.device) -> "Texts":
        ids, labels = (x.to(device, non_blocking=x.is_pinned()) for x in (self.ids, self.labels))
        return replace(self, ids=ids, labels=labels)


class TextBatches:
    """Texts in shuffled batches: with labels, 0 or 1, or without, to be asked for hidden words.

    The order is that of `utils.batching.EpochBatches`: it depends on (seed, epoch) alone. Lesson 09.
    """

    def __init__(self, texts: list[list[int]], labels: list[int] | None, max_tokens: int, seed: int = 0):
        self.texts, self.labels = texts, labels
        self.order = EpochBatches(texts, [[label] for label in labels or []] or [[]] * len(texts), max_tokens, seed)
        n_words = np.array([sum(i >= len(SPECIALS) for i in text) for text in texts])
        self.n_each = n_asked(n_words) if labels is None else np.ones_like(n_words)
        self.indices, self.fingerprint = self.order.indices, self.order.fingerprint

    def n_targets(self, indices: np.ndarray | list[int]) -> int:
        """Words that are asked for, or texts with a label."""
        return int(self.n_each[indices].sum())

    def batch(self, indices: np.ndarray | list[int], rank: int = 0, world_size: int = 1) -> Texts:
        """The batch, or one process's share of it; a share without texts asks for nothing."""
        share = [int(i) for i in indices[rank::world_size]]
        labels = [-1 if self.labels is None else self.labels[i] for i in share] or [-1]
        n_targets = self.n_targets(share) if share else 0
        return Texts(pad([self.texts[i] for i in share] or [[CLS]]), torch.tensor(labels), n_targets)


def masked_lm_loss(logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Mean -log p of the words that are asked for, labels >= 0; 0 where none is. Lesson 09."""
    nll = -logits.log_softmax(dim=-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]  # (B, T)
    asked = labels >= 0
    return (nll * asked).sum() / asked.sum().clamp(min=1)


def hidden_word_loss(model: EncoderOnly, batch: Texts, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Summed smoothed loss and summed -log p of hidden words, which are others in every step: the Trainer's `loss`.

    `masked_lm_loss` without the logits that nobody asks for. Lesson 09.
    """
    from utils.loss import projected_loss  # PyTorch's compiler comes with it: a second, for who only translates

    ids, labels = hide(batch.ids, model.config.tgt_vocab)
    y = model.encoder_output(ids)[labels >= 0]  # (N, D)
    return projected_loss(y, model.tgt_embedding.weight, labels[labels >= 0], eps, model.config.pad_id)


def class_loss(model: EncoderOnly, batch: Texts, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Summed smoothed loss and summed -log p of the texts' classes: the Trainer's `loss` for fine-tuning. Lesson 09."""
    logits = model.classify(batch.ids).float()
    options = {"ignore_index": -1, "reduction": "sum"}
    loss = nn.functional.cross_entropy(logits, batch.labels, label_smoothing=eps, **options)
    return loss, nn.functional.cross_entropy(logits.detach(), batch.labels, **options)


# ---- what it has learned ----


@torch.inference_mode()
def probability_of_one(model: EncoderOnly, texts: list[list[int]], at_a_time: int = 64) -> Float[Tensor, " N"]:
    """The probability of class 1 for each text. Lesson 09."""
    model.eval()
    device = model.tgt_embedding.weight.device
    found = [model.classify(pad(part).to(device)).softmax(dim=-1)[:, 1].cpu() for part in chunks(texts, at_a_time)]
    return torch.cat(found)


@torch.inference_mode()
def hidden_words_found(model: EncoderOnly, texts: list[list[int]], seed: int = 0) -> dict[str, float]:
    """Of words hidden at random: mean -log p, and the share that the model guesses. The same words for every model.

    Lesson 09.
    """
    model.eval()
    device = model.tgt_embedding.weight.device
    nll = right = n = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in chunks(texts, 64):
            ids, labels = (x.to(device) for x in hide(pad(part), model.config.tgt_vocab))
            logp = model.project(model.encoder_output(ids)[labels >= 0]).log_softmax(dim=-1)  # (N, V)
            labels = labels[labels >= 0]
            nll -= logp.gather(1, labels[:, None]).sum().item()
            right += (logp.argmax(dim=-1) == labels).sum().item()
            n += len(labels)
    return {"nll": nll / n, "right": right / n}
