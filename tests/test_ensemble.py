"""An ensemble is one more model: alone it is that model, together the mean of probabilities decides."""

import pytest
import torch
from helpers.tiny import SRC, tiny_checkpoint, tiny_model
from torch.testing import assert_close

from utils.attention import padding_mask
from utils.batching import pad
from utils.checkpoint import CheckpointError, load_model, save_model
from utils.decoding import beam, greedy
from utils.ensemble import Ensemble, load_ensemble
from utils.tokenizer import BOS, Tokenizer


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_a_model_with_itself_translates_as_it_does_alone(kind):
    model = tiny_model(kind)
    for n in (1, 3):
        together = Ensemble([model] * n)
        assert greedy(together, pad(SRC), 9) == greedy(model, pad(SRC), 9)
        assert beam(together, pad(SRC), 9, beam_size=3) == beam(model, pad(SRC), 9, beam_size=3)


def test_a_step_gives_the_mean_of_the_probabilities_also_of_unlike_models():
    models = [tiny_model(seed=0), tiny_model(seed=1, n_layers=1), tiny_model("rnn", seed=2)]
    src = pad(SRC)
    tokens = torch.full((len(src),), BOS)
    with torch.no_grad():
        found = Ensemble(models).step(tokens, Ensemble(models).encode(src, padding_mask(src)))[0].exp()
        each = [model.step(tokens, model.encode(src, padding_mask(src)))[0].softmax(-1) for model in models]
    assert_close(found, sum(each) / 3)
    assert (each[0] - each[1]).abs().max() > 0.01


def test_checkpoints_with_other_vocabularies_are_refused(tmp_path):
    first = tiny_checkpoint(tmp_path / "first")
    assert isinstance(load_ensemble([first, first]).translate("我"), str)
    tokenizer = Tokenizer.train(["我们"] * 2, ["We"] * 2, tgt_vocab=10)
    model = tiny_model(src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    save_model(tmp_path / "second", model.state_dict(), model.config, tokenizer)
    with pytest.raises(CheckpointError, match="second has other vocabularies than .*first"):
        load_ensemble([first, tmp_path / "second"])
    alone = load_ensemble([first])
    assert type(alone.model) is type(load_model(first)[0])


def test_what_is_no_translator_is_refused(tmp_path):
    first, reader = tiny_checkpoint(tmp_path / "first"), tiny_checkpoint(tmp_path / "reader", "encoder-only")
    with pytest.raises(CheckpointError, match="reader reads and does not write"):
        load_ensemble([first, reader])
