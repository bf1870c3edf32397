"""What a model is and how it is trained: two frozen records that travel as JSON beside every checkpoint."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the repository: data/ and notebooks/ lie here


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a translation model. `kind` picks the class, the rest is shared by both kinds.

    kind: "transformer" or "rnn". norm_first: layer norm before each sublayer (pre-norm) or after the addition,
    as in the paper (post-norm). dropout: on embeddings and on what each sublayer adds to the residual stream.
    """

    src_vocab: int
    tgt_vocab: int
    kind: str = "transformer"
    d_model: int = 256
    n_heads: int = 4
    n_layers: int = 3
    d_ff: int = 1024
    dropout: float = 0.1
    norm_first: bool = True
    pad_id: int = 0

    def __post_init__(self):
        if self.kind not in ("transformer", "rnn"):
            raise ValueError(f"kind is {self.kind!r}; it must be 'transformer' or 'rnn'.")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model = {self.d_model} cannot be split into n_heads = {self.n_heads} equal heads.")
        if self.d_model % 2:
            raise ValueError(f"d_model = {self.d_model} must be even: positions come as sine/cosine pairs.")


@dataclass(frozen=True)
class TrainConfig:
    """One training recipe.

    The run ends when `steps` or `minutes` of computing are used up, whichever comes first (None = no limit of that
    kind). The learning rate rises over `warmup` steps, stays, and falls linearly to zero over the last `cooldown`
    share of the run. batch_tokens: budget of a batch, sentences times the longest one's tokens. ema: decay of the
    running average of the weights that is evaluated and shipped (0 = no averaging). precision: "float32" or
    "bfloat16" (autocast).
    """

    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 1500
    lr: float = 1.5e-3
    warmup: int = 400
    cooldown: float = 0.5
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    clip: float = 1.0
    ema: float = 0.999
    accumulate: int = 1
    precision: str = "float32"
    compile: bool = False
    seed: int = 0
    eval_minutes: float = 5.0

    def __post_init__(self):
        if self.steps is None and self.minutes is None:
            raise ValueError("Say when training ends: give steps, minutes, or both.")
        for name in ("steps", "minutes", "batch_tokens", "accumulate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be more than 0.")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {self.precision!r}; it must be 'float32' or 'bfloat16'.")


def to_json(config) -> str:
    """The record as readable JSON, one field a line."""
    return json.dumps(asdict(config), indent=2) + "\n"


def from_json(kind, text: str):
    """The inverse of `to_json`; `kind` is the dataclass. Unknown or missing fields raise ValueError."""
    values = json.loads(text)
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {sorted(unknown)[0]!r}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error
