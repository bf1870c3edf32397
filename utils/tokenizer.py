"""Text to ids and back: characters for Chinese, byte-pair encoding for English (lesson 08)."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ["<pad>", "<bos>", "<eos>", "<unk>"]


class Tokenizer:
    """A pair of vocabularies: `encode_src` cuts Chinese into characters, `encode_tgt` cuts English into subwords.

    Both are `tokenizers` objects, so that the whole travels as one JSON file and no cutting is done in Python.
    """

    def __init__(self, src, tgt):
        self.src, self.tgt = src, tgt

    @classmethod
    def train(cls, chinese: Iterable[str], english: Iterable[str], tgt_vocab: int = 4000, min_count: int = 2):
        """Learn both vocabularies, from the training split alone.

        Chinese: every character seen at least `min_count` times. English: `tgt_vocab` subwords, the four special ones
        among them; a word keeps the space before it, so joining the pieces gives the text back.
        """
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

        counts = Counter(char for sentence in chinese for char in sentence if not char.isspace())
        kept = sorted((c for c, n in counts.items() if n >= min_count), key=lambda c: (-counts[c], c))
        src = Tokenizer(models.WordLevel({t: i for i, t in enumerate(SPECIALS + kept)}, unk_token="<unk>"))
        src.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), behavior="isolated")]
        )

        tgt = Tokenizer(models.BPE(unk_token="<unk>"))
        # A word, a number or a run of punctuation each stay apart; "▁" remembers the space before a word.
        tgt.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Metaspace(),
                pre_tokenizers.Split(Regex(r"▁?[\p{L}\p{M}]+|▁?\p{N}|▁?[^\p{L}\p{M}\p{N}▁]|▁"), behavior="isolated"),
            ]
        )
        tgt.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=tgt_vocab, special_tokens=SPECIALS, show_progress=False)
        tgt.train_from_iterator(english, trainer)
        return cls(src, tgt)

    def encode_src(self, texts: list[str]) -> list[list[int]]:
        """Ids of each Chinese sentence with <eos> at its end. Unknown characters become <unk>."""
        return [e.ids + [EOS] for e in self.src.encode_batch(texts, add_special_tokens=False)]

    def encode_tgt(self, texts: list[str]) -> list[list[int]]:
        """Ids of each English sentence, without marks: the model's <bos> and <eos> are the batch's business."""
        return [e.ids for e in self.tgt.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """English text of target ids; special tokens vanish."""
        return self.tgt.decode(ids, skip_special_tokens=True).strip()

    def src_tokens(self, ids: list[int]) -> list[str]:
        return [self.src.id_to_token(i) for i in ids]

    def tgt_tokens(self, ids: list[int]) -> list[str]:
        return [self.tgt.id_to_token(i) for i in ids]

    @property
    def src_vocab(self) -> int:
        return self.src.get_vocab_size()

    @property
    def tgt_vocab(self) -> int:
        return self.tgt.get_vocab_size()

    def to_json(self) -> str:
        """The whole tokenizer as one JSON text, which `load` reads."""
        import json

        both = {"src": json.loads(self.src.to_str()), "tgt": json.loads(self.tgt.to_str())}
        return json.dumps(both, ensure_ascii=False)

    def save(self, path: Path) -> None:
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path):
        import json

        from tokenizers import Tokenizer

        both = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(*(Tokenizer.from_str(json.dumps(both[side])) for side in ("src", "tgt")))
