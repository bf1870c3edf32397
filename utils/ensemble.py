"""Several models that translate together: at every step the mean of their probabilities decides (lesson 08b).

Search knows a model by `encode`, `step` and `reorder` alone; so an ensemble is one more model, and greedy and beam
search serve it as they are.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.checkpoint import CheckpointError, load_model
from utils.runtime import pick_device
from utils.tokenizer import Tokenizer
from utils.translate import Translator, refuse_others


class EnsembleState(NamedTuple):
    """The states of all the models, a state each."""

    states: list

    def reorder(self, rows: Int[Tensor, " R2"], sentences: Int[Tensor, " B2"] | None = None) -> None:
        """Row r becomes what row rows[r] was, in every model."""
        for state in self.states:
            state.reorder(rows, sentences)


class Ensemble(nn.Module):
    """Models with the same two vocabularies as one; source: Sutskever et al. (arXiv 1409.3215), section 3.6.

    Lesson 08b.
    """

    def __init__(self, models: list[nn.Module]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def encode(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> EnsembleState:
        return EnsembleState([model.encode(src, src_mask) for model in self.models])

    def step(self, tokens: Int[Tensor, " R"], state: EnsembleState) -> tuple[Float[Tensor, "R V"], EnsembleState]:
        """The logarithm of the mean probability of each next token."""
        logp = []
        for i, (model, one) in enumerate(zip(self.models, state.states, strict=True)):
            logits, state.states[i] = model.step(tokens, one)
            logp.append(logits.log_softmax(dim=-1))
        return torch.stack(logp).logsumexp(dim=0) - math.log(len(logp)), state


def load_models(checkpoints: list[Path], device: str | torch.device = "cpu") -> tuple[tuple[nn.Module, ...], Tokenizer]:
    """The models of several checkpoints, and their one tokenizer; CheckpointError where the vocabularies differ."""
    models, tokenizers = zip(*(load_model(checkpoint, device) for checkpoint in checkpoints), strict=True)
    for checkpoint, tokenizer in zip(checkpoints, tokenizers, strict=True):
        if tokenizer.to_json() != tokenizers[0].to_json():
            raise CheckpointError(
                f"{checkpoint} has other vocabularies than {checkpoints[0]}: they cannot translate together."
            )
    return models, tokenizers[0]


def load_ensemble(checkpoints: list[Path], device: str | None = None) -> Translator:
    """The translator of several checkpoints, or of one.

    CheckpointError where their vocabularies differ, or where one of them holds no translator.
    """
    where = pick_device(device)
    models, tokenizer = load_models(checkpoints, where)
    for checkpoint, model in zip(checkpoints, models, strict=True):
        refuse_others(checkpoint, model, tokenizer)
    return Translator(models[0] if len(models) == 1 else Ensemble(list(models)), tokenizer, where)
