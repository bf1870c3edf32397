"""`make soak`: translate random lines for ten minutes, to see that nothing crashes, gets lost or piles up.

Lines of any Unicode characters, of Chinese, of both; empty and very long ones; with control characters and halves of
surrogate pairs. Every call must answer with one string per line, and memory must stay level.
"""

import argparse
import random
import statistics
import sys
import time

import psutil

from utils import load_translator
from utils.runtime import utf8_output

# MB that memory may grow by after the warm-up. The allocator keeps what the largest batches needed, so that it goes up
# and down by tens of MB; a leak of 20 KB a line would be beyond in ten minutes.
MOST_GROWTH = 60
CHINESE = (
    "我你他们的是不有人这中大来上国到说为子和地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天能好都然没"
)
CONTROLS = "\0\a\b\t\v\f\r\x1b\x1c\x7f\x85\u2028\u2029\ufeff\u202e\u200d\ufffe"


def random_line(rng: random.Random) -> str:
    """One line; it may be no text at all."""

    def character() -> str:
        kind = rng.random()
        if kind < 0.4:
            return rng.choice(CHINESE)
        if kind < 0.6:
            return rng.choice("。，！？、；：“”…,.!? abcXYZ0123456789")
        if kind < 0.7:
            return rng.choice(CONTROLS)
        if kind < 0.75:
            return chr(rng.randrange(0xD800, 0xE000))
        return chr((rng.randrange(17) << 16) + rng.randrange(0x10000))

    def sentence() -> str:
        return "".join(rng.choice(CHINESE) for _ in range(rng.randrange(1, 30))) + rng.choice("。！？")

    kind = rng.random()
    if kind < 0.05:
        return rng.choice(["", " ", "\u3000", "\t"])
    if kind < 0.07:
        return "".join(character() for _ in range(rng.randrange(500, 3000)))
    if kind < 0.6:
        return "".join(sentence() for _ in range(rng.randrange(1, 4)))
    return "".join(character() for _ in range(rng.randrange(1, 60)))


def random_lines(rng: random.Random, n: int) -> list[str]:
    return [random_line(rng).replace("\n", " ") for _ in range(n)]


def resident() -> float:
    """MB of memory that this process holds."""
    return psutil.Process().memory_info().rss / 1e6


def growth(memory: list[float]) -> float:
    """MB between the middle values of the first and of the last quarter of what was measured."""
    quarter = max(1, len(memory) // 4)
    return statistics.median(memory[-quarter:]) - statistics.median(memory[:quarter])


def soak(minutes: float, warm_up: float, rng: random.Random) -> str | None:
    """Translate random lines for so many minutes, and report; returns what went wrong."""
    translator, memory, lines, said = load_translator(), [], 0, -1
    started = time.monotonic()
    while (now := (time.monotonic() - started) / 60) < minutes:
        batch, beam_size = random_lines(rng, rng.choice((1, 4, 16))), rng.choice((1, 4))
        try:
            english = translator.translate(batch, beam_size=beam_size)
        except Exception as error:
            return f"{type(error).__name__}: {error}, for beam size {beam_size} and the lines {batch!r}"
        if len(english) != len(batch) or any("\n" in text for text in english):
            return f"not one output per line, for beam size {beam_size} and the lines {batch!r}"
        lines += len(batch)
        if now >= warm_up:
            memory.append(resident())
        if int(now) > said:
            said = int(now)
            print(f"{said:3d} min {lines:8,} lines {resident():6.0f} MB", flush=True)
    memory.append(resident())  # also where one call has outlasted all that was left after the warm-up
    grown = growth(memory)
    print(f"{lines:,} lines in {minutes:g} minutes, one output each; memory {grown:+.0f} MB after the warm-up")
    return f"memory grew by {grown:.0f} MB, more than {MOST_GROWTH}" if grown > MOST_GROWTH else None


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python tools/soak.py", description="Translate random lines for minutes.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="minutes after which memory should have its size")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    args = parser.parse_args(argv)
    if args.minutes <= args.warm_up:
        parser.error(f"memory is measured after the warm-up: --minutes must be more than {args.warm_up:g} (--warm-up).")
    print(f"seed {args.seed}", flush=True)
    wrong = soak(args.minutes, args.warm_up, random.Random(args.seed))
    print(f"FAILED: {wrong}" if wrong else "ok")
    return int(wrong is not None)


if __name__ == "__main__":
    sys.exit(main())
