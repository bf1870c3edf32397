"""The mean of weights: of a model with itself the model, of two what arithmetic says; others are refused."""

import json

import pytest
import torch
from helpers.tiny import tiny_checkpoint
from torch.testing import assert_close

from utils import average
from utils.checkpoint import load_model, save_model


@pytest.fixture
def two(tmp_path):
    """Two checkpoints of one size, whose weights differ, in half precision as they are stored."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for n, folder in enumerate(folders):
        model, tokenizer = load_model(tiny_checkpoint(folder))
        weights = {name: torch.full_like(w, n + 1.0) for name, w in model.state_dict().items()}
        save_model(folder, weights, model.config, tokenizer, half=True)
    return folders


def test_each_weight_is_the_mean(two, tmp_path, capsys):
    assert average.main([*map(str, two), str(two[1]), "--out", str(tmp_path / "mean")]) == 0
    assert json.loads(capsys.readouterr().out)["mean of"] == ["a", "b", "b"]
    for weight in load_model(tmp_path / "mean")[0].parameters():
        assert_close(weight, torch.full_like(weight, 5 / 3), rtol=1e-3, atol=0)


def test_the_mean_of_one_model_is_that_model(tmp_path):
    folder = tiny_checkpoint(tmp_path / "one")
    average.write([folder, folder], tmp_path / "mean")
    first, second = load_model(folder)[0].state_dict(), load_model(tmp_path / "mean")[0].state_dict()
    assert_close(second, first, rtol=1e-3, atol=1e-6)


def test_models_that_do_not_fit_and_folders_without_one_are_refused(two, tmp_path, capsys):
    other = tiny_checkpoint(tmp_path / "rnn", "rnn")
    assert average.main([str(two[0]), str(other), "--out", str(tmp_path / "mean")]) == 1
    assert "a has other sizes or vocabularies than" in capsys.readouterr().err
    assert average.main([str(two[0]), str(tmp_path / "none"), "--out", str(tmp_path / "mean")]) == 1
    assert "There is no checkpoint in" in capsys.readouterr().err and not (tmp_path / "mean").exists()
