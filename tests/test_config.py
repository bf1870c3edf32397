"""The records: JSON there and back, flags and help from the same fields, and nonsense refused in one sentence."""

import argparse
import json
import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from utils.config import (
    CHECKPOINT,
    LIMITS,
    ROOT,
    DataConfig,
    ModelConfig,
    TrainConfig,
    add_flags,
    flag,
    from_flags,
    from_json,
    may_have,
    refuse_another,
    to_json,
    value_type,
)

pytestmark = pytest.mark.usefixtures("shapes_unchecked")  # the records check their own values

MODEL = ModelConfig(src_vocab=13, tgt_vocab=11, kind="rnn", d_model=8, n_heads=2, dropout=0.3, norm_first=False)
RECORDS = {ModelConfig: {"src_vocab": 13, "tgt_vocab": 11}, TrainConfig: {"steps": 5, "minutes": 5}, DataConfig: {}}


@pytest.mark.parametrize("config", [MODEL, TrainConfig(steps=5), TrainConfig(minutes=1.5, precision="bfloat16")])
def test_json_there_and_back(config):
    assert from_json(type(config), to_json(config)) == config
    assert to_json(config).count("\n") == len(json.loads(to_json(config))) + 2  # one field a line: readable diffs


def test_the_shipped_config_loads_and_is_the_default():
    text = (CHECKPOINT / "config.json").read_text(encoding="utf-8")
    assert from_json(ModelConfig, text) == ModelConfig(src_vocab=3015, tgt_vocab=4000)


def test_configs_are_frozen_and_the_root_is_the_repository():
    with pytest.raises(FrozenInstanceError):
        MODEL.d_model = 16
    assert (ROOT / "utils" / "config.py").is_file()


def test_numbers_of_numpy_become_pythons():
    config = ModelConfig(np.int64(13), 11, d_model=np.int32(8), n_heads=2, dropout=np.float32(0.5))
    assert config == ModelConfig(13, 11, d_model=8, n_heads=2, dropout=0.5)
    assert {type(config.src_vocab), type(config.d_model)} == {int} and type(config.dropout) is float
    json.loads(to_json(config))
    assert type(TrainConfig(steps=5, lr=1).lr) is float


@pytest.mark.parametrize("name", ["src_vocab", "n_heads", "dropout", "pad_id", "norm_first"])
def test_a_field_that_is_missing_is_no_silent_default(name):
    values = json.loads(to_json(MODEL))
    del values[name]
    with pytest.raises(ValueError, match=f"field '{name}' is missing"):
        from_json(ModelConfig, json.dumps(values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_hidden": 1}, "ModelConfig has no field 'd_hidden'"),
        ({"kind": "cnn"}, "kind is 'cnn'; it must be 'transformer' or 'rnn'"),
        ({"kind": ["rnn"]}, "it must be 'transformer' or 'rnn'"),
        ({"dropout": 2}, "dropout is 2; it must be a finite number, at least 0 and less than 1"),
        ({"dropout": math.nan}, "dropout is nan; it must be a finite number"),
        ({"dropout": 10**400}, "dropout is 1000.*; it must be a finite number"),
        ({"dropout": True}, "dropout is True; it must be a finite number"),
        ({"pad_id": 999999}, "pad_id is 999999; it must be a token of both vocabularies"),
        ({"n_heads": 4.0}, "n_heads is 4.0; it must be a whole number, at least 1"),
        ({"n_heads": True}, "n_heads is True; it must be a whole number"),
        ({"n_heads": None}, "n_heads is None; it must be a whole number"),
        ({"d_model": "8"}, "d_model is '8'; it must be a whole number"),
        ({"norm_first": 1}, "norm_first is 1; it must be true or false"),
    ],
)
def test_values_of_a_config_that_could_never_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_json(ModelConfig, json.dumps(json.loads(to_json(MODEL)) | changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "3", ""])
def test_what_is_no_config_at_all_is_refused(text):
    with pytest.raises(ValueError):
        from_json(ModelConfig, text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(3, 3, d_model=10, n_heads=4), "d_model = 10 cannot be split into n_heads = 4"),
        (lambda: ModelConfig(3, 3, d_model=9, n_heads=3), "d_model = 9 must be even"),
        (lambda: TrainConfig(), "give steps, minutes, or both"),
        (lambda: TrainConfig(steps=1, precision="int8"), "'float32' or 'bfloat16'"),
    ],
)
def test_what_does_not_go_together_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_heads_and_even_widths_are_no_business_of_an_rnn():
    assert ModelConfig(13, 11, kind="rnn", d_model=9, n_heads=4).d_model == 9


# ------------------------------------------------------------------------------------------- the command line


def parsed(line: str, *records):
    parser = argparse.ArgumentParser()
    for record in records or RECORDS:
        add_flags(parser, record)
    return parser.parse_args(line.split())


def test_every_flag_reaches_its_field_and_the_rest_has_the_fields_default():
    line = "--model rnn --d-model 9 --dropout 0.5 --steps 7 --lr 1 --compile --pairs x --source any --tgt-vocab 30"
    args = parsed(line)
    assert from_flags(ModelConfig, args, src_vocab=13, tgt_vocab=11) == ModelConfig(
        13, 11, kind="rnn", d_model=9, n_layers=1, d_ff=512, dropout=0.5
    )
    assert from_flags(TrainConfig, args, precision="bfloat16") == TrainConfig(
        steps=7, lr=1.0, compile=True, precision="bfloat16"
    )
    assert from_flags(DataConfig, args) == DataConfig(pairs="x", source="any", tgt_vocab=30)
    sizes = from_flags(ModelConfig, parsed("--model rnn --d-ff 8"), src_vocab=13, tgt_vocab=11)
    assert (sizes.n_layers, sizes.d_ff) == (1, 8)


def test_the_help_tells_every_flag_with_its_meaning_and_its_default():
    parser = argparse.ArgumentParser()
    for record in RECORDS:
        add_flags(parser, record)
    text = " ".join(parser.format_help().split())
    for record in RECORDS:
        for f in fields(record):
            if name := flag(f):
                assert f"{name} " in text and " ".join(f.metadata["meaning"].split()) in text
                assert (
                    f.default is None
                    or isinstance(f.default, bool)
                    or f"(default: {f.default}" in text
                    or "auto" in f.metadata
                )


CASES = [(record, f) for record in RECORDS for f in fields(record)]


@pytest.mark.parametrize(("record", "f"), CASES, ids=[f"{r.__name__}.{f.name}" for r, f in CASES])
def test_no_field_takes_a_value_beyond_its_limits(record, f):
    """At the limits and on both sides of them; and what is of another type, endless, or not a number at all."""
    values = ["nonsense", "", (), b"1", None, True, False, 0, 1, -1, 2, 8, 0.5, -0.5, math.nan, math.inf, 10**400]
    values += [f.metadata[name] + d for name in f.metadata.keys() & LIMITS.keys() for d in (-1, 0, 1)]
    values += f.metadata.get("choices", ())
    taken = []
    for value in values:
        try:
            found = getattr(record(**RECORDS[record] | {f.name: value}), f.name)
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 200
        else:
            assert found == value and type(found) in (value_type(f), type(None)) and may_have(f, value)
            taken.append(value)
    assert 0 < len(taken) < len(values)
    for name, (within, _) in LIMITS.items():
        assert name not in f.metadata or all(within(value, f.metadata[name]) for value in taken if value is not None)


@pytest.mark.parametrize(
    "line",
    [
        "--clip -1",
        "--label-smoothing 2",
        "--label-smoothing 1",
        "--ema 1.5",
        "--ema 1",
        "--n-layers -1",
        "--n-layers 0",
        "--cooldown 2",
        "--minutes nan",
        "--minutes inf",
        "--minutes 0",
        "--n-heads 0",
        "--d-model -32",
        "--tgt-vocab -1",
        "--dropout 2",
        "--dropout 1",
        "--lr nan",
        "--lr -1",
        "--weight-decay -0.1",
        "--warmup -1",
        "--steps 0",
        "--accumulate 0",
        "--batch-tokens 0",
        "--eval-minutes -1",
        "--seed -1",
        "--glosses -1",
    ],
)
def test_flags_that_would_spoil_a_run_are_refused_by_name(line):
    args = parsed(line)
    name = line.split()[0].removeprefix("--").replace("-", "_")
    with pytest.raises(ValueError, match=f"^{name} is .*; it must be "):
        for record, needed in RECORDS.items():
            from_flags(record, args, **{key: value for key, value in needed.items() if f"--{key}" not in line})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--model rnn --n-heads 8 --decoder-layers 2", "--n-heads, --decoder-layers: not for --model rnn"),
        ("--model rnn --post-norm", "--post-norm: not for --model rnn"),
        ("--model decoder-only --decoder-layers 2", "--decoder-layers: not for --model decoder-only"),
        ("--pairs x --glosses 5 --compounds 5", "--glosses, --compounds: not with --pairs"),
        ("--pairs x --glosses 0", "--glosses: not with --pairs"),
        ("--source zh", "--source: only with --pairs"),
    ],
)
def test_flags_that_mean_nothing_beside_others_are_refused_by_name(line, message):
    args = parsed(line)
    with pytest.raises(ValueError, match=f"^{message}"):
        for record, needed in RECORDS.items():
            from_flags(record, args, **needed)


# ------------------------------------------------------------------------------------------------ going on


@pytest.mark.parametrize("record", RECORDS)
def test_another_value_is_refused_with_the_flag_and_both_values(record):
    config = record(**RECORDS[record])
    saved = json.loads(to_json(config))
    refuse_another(config, saved)
    free = []
    for f in fields(record):
        other = saved | {f.name: "another"}
        if f.metadata.get("free"):
            refuse_another(config, other)
            free.append(f.name)
            continue
        shown = flag(f) or f.name
        with pytest.raises(
            ValueError, match=f"begun with {shown} another, and now {shown} is {getattr(config, f.name)}$"
        ):
            refuse_another(config, other)
    # Of files the path is free: what is in them decides the pairs' fingerprint, and is held by that.
    files = ["pairs", "synthetic", "start"]
    assert free == {TrainConfig: ["steps", "minutes", "compile", "eval_minutes"], DataConfig: files}.get(record, [])
