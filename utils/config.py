"""What a model is, how it is trained, and on what: frozen records whose fields are the command line's flags, too.

A field says all there is to know about a setting: its default, what it means, which values it may have. The flags of
`python -m utils.training`, its help, and the checks of everything that is given or loaded are made from the fields.
"""

import argparse
import json
import math
import numbers
import operator
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parents[1]  # the repository: data/ and notebooks/ lie here
CHECKPOINT = ROOT / "data" / "checkpoints" / "zh-en"  # the translator that ships

KINDS = ("transformer", "rnn", "decoder-only", "encoder-only")
OF_ATTENTION = tuple(kind for kind in KINDS if kind != "rnn")
ACTIVATIONS = ("relu", "gelu", "swiglu")
POSITIONS = ("sinusoidal", "rotary", "none")
MINUTES = 70.0  # of a training that is given no end

LIMITS = {
    "least": (operator.ge, "at least {}"),
    "above": (operator.gt, "more than {}"),
    "most": (operator.le, "at most {}"),
    "below": (operator.lt, "less than {}"),
}


def setting(default: Any, meaning: str, **rules) -> Any:
    """A field of a record: its default (MISSING for none), what it means, and what else is known of it.

    least, above, most, below, choices: the values it may have. flag: its name on the command line where that is not
    --its-name; None for no flag; where it turns off what is on, `meaning` is the flag's. rnn: its
    default for an RNN. auto: what decides it on the command line unless a value is given. free: a run may be resumed
    with another value, since what is learned does not depend on it. tatoeba: it has no meaning for somebody's own
    pairs. block: what the layers of a Transformer are made of, and no RNN; a record of an earlier version, which lacks
    it, means the default. kinds: of model that use it, where not all do; the records of others may hold any value.
    """
    return field(default=default, metadata={"meaning": meaning} | rules)


def flag(f: Field) -> str | None:
    """The field's name on the command line."""
    return f.metadata.get("flag", "--" + f.name.replace("_", "-"))


def value_type(f: Field) -> type:
    """The type of a field's values; `int` for `int | None`."""
    return (get_args(f.type) or [f.type])[0]


def rule(f: Field) -> str:
    """What a field's value must be, in words: "a whole number, at least 1"."""
    if "choices" in f.metadata:
        return " or ".join(map(repr, f.metadata["choices"]))
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
    limits = [text.format(f.metadata[name]) for name, (_, text) in LIMITS.items() if name in f.metadata]
    return ", ".join([words[value_type(f)], *filter(None, [" and ".join(limits)])])


def may_have(f: Field, value: Any) -> bool:
    """Whether a field may have this value. True is no whole number, nor is 4.0, nor what 64 bits do not hold."""
    kind = value_type(f)
    if value is None:
        return f.default is None
    if isinstance(value, bool) != (kind is bool):
        return False
    if not isinstance(value, {int: numbers.Integral, float: numbers.Real}.get(kind, kind)):
        return False
    if kind in (int, float) and not (math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**63):
        return False
    within = all(compare(value, f.metadata[name]) for name, (compare, _) in LIMITS.items() if name in f.metadata)
    return within and value in f.metadata.get("choices", [value])


class Record:
    """Checks every value when a record is made: ValueError, one sentence, names the first that is not allowed.

    Numbers become Python's own, also where they were NumPy's.
    """

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if not may_have(f, value):
                raise ValueError(f"{f.name} is {value!r:.60}; it must be {rule(f)}.")
            if value is not None:
                object.__setattr__(self, f.name, value_type(f)(value))


@dataclass(frozen=True)
class ModelConfig(Record):
    """Sizes of a model, and what its layers are made of (lesson 07; an RNN: lesson 06; one stack: lesson 09).

    A model of one stack has the same table for what it reads and writes, `tgt_vocab`; only a decoder that translates
    reads the source vocabulary, too.
    """

    src_vocab: int = setting(MISSING, "tokens of the source vocabulary", least=3, flag=None)
    tgt_vocab: int = setting(MISSING, "tokens of the target vocabulary", least=3, flag=None)
    kind: str = setting("transformer", "kind of model", choices=KINDS, flag="--model")
    d_model: int = setting(256, "width of the embeddings and of the residual stream", least=1)
    n_heads: int = setting(4, "attention heads, which share the width equally", least=1, kinds=OF_ATTENTION)
    n_layers: int = setting(3, "layers of the encoder, and of a Transformer's decoder", least=1, rnn=1)
    d_ff: int = setting(1024, "inner width of the feed-forward layers; of an RNN, of its states", least=1, rnn=512)
    dropout: float = setting(0.2, "share of activations dropped in training", least=0, below=1)
    norm_first: bool = setting(
        True,
        "norm after each addition, as in the paper (before each sublayer)",
        flag="--post-norm",
        kinds=OF_ATTENTION,
    )
    pad_id: int = setting(0, "id of <pad>", least=0, flag=None)
    decoder_layers: int | None = setting(
        None,
        "layers of a Transformer's decoder, where it has another number of them",
        least=1,
        kinds=("transformer",),
    )
    norm: str = setting(
        "layer", "layer norm, or RMSNorm, which takes no mean away", choices=("layer", "rms"), block=True
    )
    activation: str = setting(
        "relu", "inside the feed-forward layers; swiglu has a second matrix", choices=ACTIVATIONS, block=True
    )
    positions: str = setting("sinusoidal", "how a model knows who stands where", choices=POSITIONS, block=True)
    key_heads: int | None = setting(
        None,
        "heads of keys and values, which share the attention heads equally (as many as these)",
        least=1,
        block=True,
    )
    bias: bool = setting(True, "layers and norms without biases", flag="--no-bias", block=True)
    qk_norm: bool = setting(False, "queries and keys brought to one length before the scores", block=True)
    prefix: bool = setting(False, "in a decoder-only model source tokens ask the whole source", block=True)

    def __post_init__(self):
        super().__post_init__()
        if self.pad_id >= min(self.src_vocab, self.tgt_vocab):
            raise ValueError(f"pad_id is {self.pad_id}; it must be a token of both vocabularies.")
        if self.kind == "rnn":
            given = [flag(f) for f in fields(self) if f.metadata.get("block") and getattr(self, f.name) != f.default]
            if given:
                raise ValueError(f"{', '.join(given)}: not for an RNN, which has no such layers.")
            return
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model = {self.d_model} cannot be split into n_heads = {self.n_heads} equal heads.")
        if self.d_model % 2:
            raise ValueError(f"d_model = {self.d_model} must be even: positions come as sine/cosine pairs.")
        if self.positions == "rotary" and self.d_model // self.n_heads % 2:
            raise ValueError(
                f"Heads of {self.d_model // self.n_heads} columns cannot be turned pair by pair: rotary positions need "
                "an even d_model / n_heads."
            )
        if self.key_heads and self.n_heads % self.key_heads:
            raise ValueError(f"n_heads = {self.n_heads} cannot share key_heads = {self.key_heads} equally.")
        if self.prefix and self.kind != "decoder-only":
            raise ValueError("prefix is for a decoder-only model: an encoder's source tokens ask one another anyway.")

    def layer(self) -> dict[str, Any]:
        """The arguments of a layer: each is a field of the same name."""
        names = "d_model n_heads d_ff dropout norm_first norm activation key_heads bias qk_norm"
        return {name: getattr(self, name) for name in names.split()}


@dataclass(frozen=True)
class TrainConfig(Record):
    """One training recipe (lesson 08). It ends when `steps` or `minutes` are used up, whichever comes first."""

    steps: int | None = setting(None, "updates after which training ends", least=1, free=True)
    minutes: float | None = setting(
        None,
        f"minutes of computing after which it ends, checks left out; {MINUTES:g} if no end is given",
        above=0,
        free=True,
    )
    batch_tokens: int = setting(1500, "tokens in a batch: sentences times the longest one's", least=1)
    lr: float = setting(1.5e-3, "peak learning rate", least=0)
    warmup: int = setting(400, "steps over which the learning rate rises", least=0)
    cooldown: float = setting(
        0.5, "share of the run, at its end, over which the learning rate falls to zero", least=0, most=1
    )
    weight_decay: float = setting(0.01, "pull of every weight towards zero", least=0)
    label_smoothing: float = setting(0.1, "probability that the loss gives to wrong tokens", least=0, below=1)
    r_drop: float = setting(
        0.0, "weight of the difference between two passes with dropout of their own (R-Drop); 0 for one pass", least=0
    )
    token_dropout: float = setting(
        0.0, "share of the tokens that the model reads in training as <unk>", least=0, below=1
    )
    clip: float = setting(1.0, "largest norm of the gradient, which is scaled down to it; 0 for no limit", least=0)
    ema: float = setting(
        0.999, "decay of the running average of the weights, which is checked and kept; 0 for none", least=0, below=1
    )
    accumulate: int = setting(1, "batches that make one update", least=1)
    precision: str = setting(
        "float32",
        "numbers that matrix products take",
        choices=("float32", "bfloat16"),
        auto="the faster on this device",
    )
    compile: bool = setting(False, "torch.compile, with minutes of warm-up (benchmarks/gpu.py)", free=True)
    seed: int = setting(0, "seed of everything random", least=0, below=2**63)
    eval_minutes: float = setting(5.0, "minutes between checks on dev, each followed by a save", least=0, free=True)

    def __post_init__(self):
        super().__post_init__()
        if self.steps is None and self.minutes is None:
            raise ValueError("Say when training ends: give steps, minutes, or both.")


@dataclass(frozen=True)
class DataConfig(Record):
    """What a model learns from: Tatoeba, or somebody's own pairs (lesson 08)."""

    pairs: str | None = setting(None, "train on this TSV of source, tab, target (Tatoeba)", free=True)
    glosses: int = setting(10_000, "dictionary glosses that join the training pairs of Tatoeba", least=0, tatoeba=True)
    compounds: int = setting(0, "compounds of two of the dictionary's words that join them", least=0, tatoeba=True)
    numbers: int = setting(0, "pairs with other numbers and names that join them", least=0, tatoeba=True)
    names: int = setting(0, "pairs with other names that join them", least=0, tatoeba=True)
    copies: int = setting(0, "pairs to learn to copy digits from that join them", least=0, tatoeba=True)
    practice: int = setting(0, "the same, of many more kinds of sentence", least=0, tatoeba=True)
    more_practice: int = setting(0, "the same, of still more kinds of sentence", least=0, tatoeba=True)
    joined: int = setting(
        0, "two training pairs after one another, as one pair: as many of these join them", least=0, tatoeba=True
    )
    synthetic: str | None = setting(
        None, "files of `python -m utils.synthetic` that join them, with commas between", free=True, tatoeba=True
    )
    reverse: bool = setting(False, "from English to Chinese", tatoeba=True)
    start: str | None = setting(
        None,
        "begin with the weights and the tokenizer of this checkpoint folder (random weights)",
        free=True,
        tatoeba=True,
    )
    tgt_vocab: int = setting(4000, "subwords of English, or of the target language of your pairs", least=5)
    source: str = setting(
        "auto", "the source language of your pairs: Chinese, any other, or found out", choices=("auto", "zh", "any")
    )

    def __post_init__(self):
        super().__post_init__()
        given = [flag(f) for f in fields(self) if f.metadata.get("tatoeba") and getattr(self, f.name) != f.default]
        if self.pairs and given:
            raise ValueError(f"{', '.join(given)}: not with --pairs, whose file is all.")
        if not self.pairs and self.source != "auto":
            raise ValueError("--source: only with --pairs, since Tatoeba's source is known.")


# ---- the command line ----


def add_flags(parser: argparse.ArgumentParser, record: type[Record]) -> None:
    """A flag for each field that has one. What is not given is None, and the field's own default holds."""
    for f in fields(record):
        name, known = flag(f), f.metadata
        if name is None:
            continue
        options = {"dest": f.name, "help": known["meaning"]}
        if value_type(f) is bool:
            parser.add_argument(name, **options, action="store_const", const=not f.default)
            continue
        choices = known.get("choices")
        if "auto" in known:
            choices = ("auto", *choices)
            options["help"] += f" (default: auto, {known['auto']})"
        elif f.default is not None:
            for_rnn = f"; for an RNN {known['rnn']}" if "rnn" in known else ""
            options["help"] += f" (default: {f.default}{for_rnn})"
        parser.add_argument(name, **options, type=value_type(f), choices=choices)


def from_flags(record: type[Record], args: argparse.Namespace, **others) -> Any:
    """The record that parsed flags describe; `others` are fields without a flag, or those that were left open.

    ValueError, one sentence, names the flags that mean nothing for this kind of model.
    """
    values, idle = {}, []
    for f in fields(record):
        if args.kind == "rnn" and "rnn" in f.metadata:
            values[f.name] = f.metadata["rnn"]
        if flag(f) is not None and getattr(args, f.name) is not None:
            values[f.name] = getattr(args, f.name)
            if args.kind not in (None, *f.metadata.get("kinds", KINDS)):
                idle.append(flag(f))
    if idle:
        raise ValueError(f"{', '.join(idle)}: not for --model {args.kind}, which has no such layers.")
    return record(**values | others)


# ---- records that are kept ----


def to_json(record: Record) -> str:
    """The record as readable JSON, one field a line."""
    return json.dumps(asdict(record), indent=2) + "\n"


def from_json(record: type[Record], text: str) -> Any:
    """The inverse of `to_json`. ValueError where a field is unknown, missing, or has a value that it may not have."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{record.__name__} is no list of names and values.")
    names = {f.name for f in fields(record)}
    if unknown := sorted(set(values) - names):
        raise ValueError(f"{record.__name__} has no field {unknown[0]!r}.")
    # What a checkpoint of an earlier version does not have is off where None means that; of a block, as it was then.
    later = {f.name for f in fields(record) if f.default is None or f.metadata.get("block")}
    if missing := sorted(names - set(values) - later):
        raise ValueError(f"{record.__name__}: the field {missing[0]!r} is missing.")
    return record(**values)


def refuse_another(given: Record, saved: dict) -> None:
    """ValueError naming the first field whose saved value is another, unless a run may be resumed with another one."""
    for f in fields(given):
        before, now = saved.get(f.name, f.default), getattr(given, f.name)  # an earlier version lacked new settings
        if before != now and not f.metadata.get("free"):
            name = flag(f) or f.name
            raise ValueError(f"it was begun with {name} {before}, and now {name} is {now}")
