"""The two records: JSON there and back, and nonsense refused in one sentence."""

import json
from dataclasses import FrozenInstanceError

import pytest

from utils.config import ROOT, ModelConfig, TrainConfig, from_json, to_json

MODEL = ModelConfig(src_vocab=13, tgt_vocab=11, kind="rnn", d_model=8, n_heads=2, dropout=0.3, norm_first=False)


@pytest.mark.parametrize("config", [MODEL, TrainConfig(steps=5), TrainConfig(minutes=1.5, precision="bfloat16")])
def test_json_there_and_back(config):
    assert from_json(type(config), to_json(config)) == config
    assert to_json(config).count("\n") == len(json.loads(to_json(config))) + 2  # one field a line: readable diffs


def test_configs_are_frozen_and_the_root_is_the_repository():
    with pytest.raises(FrozenInstanceError):
        MODEL.d_model = 16
    assert (ROOT / "utils" / "config.py").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"src_vocab": 3, "tgt_vocab": 3, "d_hidden": 1}', "ModelConfig has no field 'd_hidden'"),
        ('{"src_vocab": 3}', "tgt_vocab"),
        ('{"src_vocab": 3, "tgt_vocab": 3, "kind": "cnn"}', "'transformer' or 'rnn'"),
        ("{", "Expecting"),
    ],
)
def test_foreign_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(ModelConfig, text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(3, 3, d_model=10, n_heads=4), "d_model = 10 cannot be split into n_heads = 4"),
        (lambda: ModelConfig(3, 3, d_model=9, n_heads=3), "d_model = 9 must be even"),
        (lambda: TrainConfig(), "give steps, minutes, or both"),
        (lambda: TrainConfig(steps=1, precision="int8"), "'float32' or 'bfloat16'"),
        (lambda: TrainConfig(steps=0), "steps is 0"),
        (lambda: TrainConfig(minutes=-1.0), "minutes is -1"),
        (lambda: TrainConfig(steps=1, batch_tokens=0), "batch_tokens is 0"),
        (lambda: TrainConfig(steps=1, accumulate=0), "accumulate is 0"),
    ],
)
def test_values_that_could_never_work_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
