"""Text to ids and back: characters for the source, byte-pair encoding for English (lesson 08)."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from utils.text import CLEANING, HAN, SOURCES

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ["<pad>", "<bos>", "<eos>", "<unk>"]

# Chinese spellings of one thing become one: 着 for the old form 著 (but 著名, 名著), 它 for 牠, quotation marks.
SPELLINGS = {
    "(?<![名原巨编专论土卓遗译显昭合所])著(?![名作称者述])": "着",
    "牠": "它",
    "[“”「」]": '"',
    "[‘’『』]": "'",
}


class Tokenizer:
    """A pair of vocabularies: `encode_src` cuts the source into characters, `encode_tgt` cuts English into subwords.

    Both are `tokenizers` objects, so that no cutting is done in Python. `source` says what language the source is, and
    `cleaning` which version of `utils.text` cleaned it; all of it is one JSON file.
    """

    def __init__(self, src, tgt, source: str = "zh", cleaning: int = CLEANING):
        if source not in SOURCES:
            raise ValueError(f"source is {source!r}; it must be 'zh' (Chinese) or 'any' (any other language).")
        if cleaning not in range(1, CLEANING + 1):
            raise ValueError(f"its text was cleaned by version {cleaning!r} of this course, which has {CLEANING}")
        self.src, self.tgt, self.source, self.cleaning = src, tgt, source, cleaning

    @classmethod
    def train(
        cls, src: Iterable[str], tgt: Iterable[str], tgt_vocab: int = 4000, min_count: int = 2, source: str = "zh"
    ):
        """Learn both vocabularies, from clean sentences of the training split alone.

        Source: every character seen at least `min_count` times. A space is one of them ("▁"), but not in Chinese,
        where it means nothing, and where SPELLINGS become one. (Here, not in `utils.text`: the corpus is split by clean
        text, and its split must stay as it is; and a checkpoint keeps what it has learned.) English: `tgt_vocab`
        subwords, the four special ones among them; a word keeps the space before it, so joining the pieces gives the
        text back.
        """
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        spaces = (
            pre_tokenizers.WhitespaceSplit() if source == "zh" else pre_tokenizers.Metaspace(prepend_scheme="never")
        )
        cut = pre_tokenizers.Sequence([spaces, pre_tokenizers.Split(Regex("."), behavior="isolated")])
        spellings = SPELLINGS.items() if source == "zh" else ()
        unify = normalizers.Sequence([normalizers.Replace(Regex(old), new) for old, new in spellings])
        counts = Counter(char for sentence in src for char in unify.normalize_str(sentence))
        blank = sum(counts.pop(char) for char in list(counts) if char.isspace())
        if source != "zh":
            counts["▁"] += blank
        kept = sorted((c for c, n in counts.items() if n >= min_count), key=lambda c: (-counts[c], c))
        characters = Tokenizer(models.WordLevel({t: i for i, t in enumerate(SPECIALS + kept)}, unk_token="<unk>"))
        characters.normalizer, characters.pre_tokenizer = unify, cut
        characters.decoder = decoders.Metaspace(prepend_scheme="never")  # joins them

        subwords = Tokenizer(models.BPE(unk_token="<unk>"))
        # A word, a number or a run of punctuation each stay apart; "▁" remembers the space before a word.
        subwords.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Metaspace(),
                pre_tokenizers.Split(Regex(r"▁?[\p{L}\p{M}]+|▁?\p{N}|▁?[^\p{L}\p{M}\p{N}▁]|▁"), behavior="isolated"),
            ]
        )
        subwords.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=tgt_vocab, special_tokens=SPECIALS, show_progress=False)
        subwords.train_from_iterator(tgt, trainer)
        return cls(characters, subwords, source)

    def reversed(self):
        """The tokenizer of the other direction: the same two vocabularies, from English subwords to characters."""
        return Tokenizer(self.tgt, self.src, source="any")

    def encode_src(self, texts: list[str]) -> list[list[int]]:
        """Ids of each source sentence with <eos> at its end. Unknown characters become <unk>."""
        return [e.ids + [EOS] for e in self.src.encode_batch(texts, add_special_tokens=False)]

    def encode_tgt(self, texts: list[str]) -> list[list[int]]:
        """Ids of each English sentence, without marks: the model's <bos> and <eos> are the batch's business."""
        return [e.ids for e in self.tgt.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """Text of target ids; special tokens vanish."""
        return self.tgt.decode([i for i in ids if i >= len(SPECIALS)]).strip()

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
        """The whole tokenizer as one JSON text, which `load` reads from a file."""
        both = {"src": json.loads(self.src.to_str()), "tgt": json.loads(self.tgt.to_str())}
        return json.dumps({"source": self.source, "cleaning": self.cleaning} | both, ensure_ascii=False)

    def save(self, path: Path) -> None:
        """Write one JSON file, which `load` reads."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path):
        """The tokenizer of a file; ValueError, or what `tokenizers` raises, when it is not one of ours.

        Files of an earlier version do not name their source: it is Chinese if the vocabulary holds a Chinese character.
        """
        from tokenizers import Tokenizer

        saved = json.loads(Path(path).read_text(encoding="utf-8"))
        src, tgt = (Tokenizer.from_str(json.dumps(saved[side])) for side in ("src", "tgt"))
        source = saved.get("source", "zh" if any(map(HAN.match, src.get_vocab())) else "any")
        return cls(src, tgt, source, saved.get("cleaning", 1))
