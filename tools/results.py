"""Write the parts of the pages that are made from files: results of runs, and the tree of files. A test compares them.

python tools/results.py      (part of `make results`; call it after `make bench` or when a file comes or goes, too)
"""

import ast
import json
import os
import re
from pathlib import Path
from statistics import median

import utils
from utils import limits
from utils.config import CHECKPOINT, ROOT

EXPERIMENT = ROOT / "data" / "experiments" / "same_minutes.json"
BENCHMARKS = ROOT / "benchmarks" / "results"
SPEED_PAGE = "benchmarks/README.md"  # the page with the block `speed`, from the root
SHORT_NAMES = {
    "transformer": "Transformer, plain recipe",
    "transformer without glosses": "the same, without the dictionary",
    "rnn": "RNN with attention (lesson 06)",
}
FOLDERS = ("utils", "tools", "tests/helpers", "experiments", "benchmarks")
HEAD = "| model | parameters | training pairs | minutes | BLEU | chrF | BLEU, all references | compounds right |\n"
HEAD += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"


def short_row(name: str, run: dict, minutes: float, n_compounds: int) -> str:
    scores = f"{run['bleu']:.1f} | {run['chrf']:.1f} | {run['compounds_right']} of {n_compounds}"
    return f"| {name} | {minutes:.0f} | {scores} |\n"


def row(name: str, run: dict, minutes: float, n_compounds: int) -> str:
    cells = [name, f"{run['parameters'] / 1e6:.1f} M", f"{run['pairs']:,}", f"{minutes:.0f}"]
    cells += [f"{run[key]:.1f}" for key in ("bleu", "chrf", "bleu_multi")]
    cells += [f"{run['compounds_right']} of {n_compounds}"]
    return f"| {' | '.join(cells)} |\n"


def speed(page: str) -> str:
    """What the benchmarks measured: steps of training and translations, beside upper bounds. Links fit `page`."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(BENCHMARKS.glob("*.json"))}
    step, search = found["training"], found["decoding"]
    tokens = {name: median(rates) for name, rates in step["tokens_per_second"].items()}
    rates = search["sentences_per_second"]  # "1" is greedy, "4" the beam of 4
    sentences = {name: [median(rates[width][name]) for width in ("1", "4")] for name in search["about"]}
    names = step["names"] | {name: search["names"][name] for name in sentences if name not in tokens}
    rows = [(names[n], tokens.get(n), *sentences.get(n, (None, None))) for n in names if n in tokens or n in sentences]
    for precision, bound in step["bound"].items():
        both = (search["bound"]["1"], search["bound"]["4"]) if precision == "float32" else (None, None)
        rows.append((f"*upper bound: matrix products alone, {precision}*", bound, *both))
    text = "| implementation | training, tokens/s | greedy, sentences/s | beam 4, sentences/s |\n"
    text += "| --- | ---: | ---: | ---: |\n"
    for name, *rates in rows:
        text += f"| {name} | " + " | ".join("" if rate is None else f"{rate:,.0f}" for rate in rates) + " |\n"
    mfu = tokens["ours"] / step["bound"]["float32"]
    cache = median(a / b for a, b in zip(search["cache"]["uncached"], search["cache"]["cached"], strict=True))
    text += (
        f"\nMedians of rounds in turns, float32 unless named, on: {step['machine']}. Training reaches {mfu:.0%} of the "
    )
    text += f"best rate of a matrix product (MFU); the cache makes greedy search {cache:.0f} times as fast; one short "
    text += f"sentence takes {1000 * median(search['one_sentence']['4']):.0f} ms with beam 4. "
    if "sharing" in found:
        text += beside_another(found["sharing"]["tokens_per_second"]["this course"])
    text += "The machine is shared: ratios are worth more than rates. Details, and where the time goes: "
    here = (ROOT / page).parent
    links = [f"[{name}]({Path(os.path.relpath(BENCHMARKS, here)).as_posix()}/{name}.md)" for name in found]
    return text + ", ".join(links) + ".\n"


def beside_another(rates: dict[str, list[float]]) -> str:
    """A sentence on two trainings on one machine."""
    share = median(b / a for a, b in zip(rates["alone"], rates["beside the same"], strict=True))
    return f"Beside a second training on the same cores, each keeps {share:.2f} of its rate. "


def precision(page: str) -> str:
    """What half the bits change in the translations of the test. The link fits `page`."""
    found = decoding()["fewer_bits"]
    before, after = (found[name]["beams"]["4"] for name in ("float32", "bfloat16"))
    link = Path(os.path.relpath(BENCHMARKS / "decoding.md", (ROOT / page).parent)).as_posix()
    text = f"Of the test's translations {100 * after['identical']:.1f} % stay the same, "
    return text + f"and BLEU goes from {before['bleu']:.2f} to {after['bleu']:.2f} ([measured]({link})).\n"


def exports() -> str:
    """How often CTranslate2 gives the ids that PyTorch gives."""
    same = decoding()["identical"]
    text = "On the benchmark's test sentences CTranslate2, with patience 2, gives the same ids"
    for name, words in (("patience2", ""), ("int8", "; with 8-bit weights")):
        greedy, beam = (f"{100 * same[f'ctranslate2-{name}'][width]:.1f} %" for width in ("1", "4"))
        text += f"{words} for {greedy} with greedy search and {beam} with beam 4"
    return text + " (`benchmarks/results/decoding.md`).\n"


def decoding() -> dict:
    return json.loads((BENCHMARKS / "decoding.json").read_text(encoding="utf-8"))


def stages(rows: list[dict]) -> str:
    """What each stage of the recipe did, from the checkpoint's stages.json."""
    text = "| stage | command | minutes | what it made |\n| --- | --- | ---: | --- |\n"
    for row in rows:
        if "sha256" in row:
            made = f"{row['pairs']:,} pairs of {row['sentences']:,} sentences; "
            made += "dropped: " + ", ".join(f"{n:,} {why}" for why, n in row["dropped"].items() if n)
        elif "mean of" in row:
            made = f"the mean of the weights of {' and '.join(row['mean of'])}"
        else:
            made = f"{row['step']:,} updates on {row['pairs']:,} pairs; dev: {row['dev_nll']:.2f} nats a token, "
            made += f"BLEU {row['dev_bleu']:.1f} (greedy)"
        text += f"| {row['stage']} | `{row['command']}` | {row['minutes']:.0f} | {made} |\n"
    return text + f"\nTogether {sum(row['minutes'] for row in rows):.0f} minutes of one thread.\n\n"


def first_sentence(path: Path) -> str:
    """What a module's docstring begins with."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0].rstrip(".")


def tree() -> str:
    """A line for each Python file of FOLDERS: the first sentence of its docstring."""
    text = ""
    for folder in FOLDERS:
        text += f"\n| `{folder}/` | |\n| --- | --- |\n"
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT / folder).as_posix()
            text += f"| `{name}` | {first_sentence(path)} |\n"
    return text + "\n"


def core() -> str:
    """The modules to read first, with their lengths."""
    paths = [ROOT / "utils" / f"{name}.py" for name in utils.CORE.split()]
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    links = [f"[{path.stem}](utils/{path.name}) ({n})" for path, n in zip(paths, lines, strict=True)]
    return f"{', '.join(links)}: {sum(lines)} lines.\n"


def results() -> dict[tuple[str, str], str]:
    """Every block, by its file's path from the root and its name."""
    log = json.loads((CHECKPOINT / "training.json").read_text(encoding="utf-8"))
    test = json.loads((CHECKPOINT / "evaluation.json").read_text(encoding="utf-8"))
    experiment = json.loads(EXPERIMENT.read_text(encoding="utf-8"))
    n, last = len(test["compounds"]), log["history"][-1]
    table = CHECKPOINT / "stages.json"  # of a model that the recipe made
    made = json.loads(table.read_text(encoding="utf-8")) if table.exists() else []
    minutes = sum(stage["minutes"] for stage in made) or last["minutes"]

    shipped = row("**Transformer, shipped**", log | test, minutes, n)
    others = [
        row(f"{run['name']} (seed {run['seed']})", run, run["minutes"], n)
        for run in sorted(experiment["runs"], key=lambda run: -run["bleu"])
    ]
    short = "| model | minutes of computing | BLEU | chrF | compounds right |\n| --- | ---: | ---: | ---: | ---: |\n"
    short += short_row("**Transformer, shipped**", log | test, minutes, n)
    for run in sorted(experiment["runs"], key=lambda run: -run["bleu"]):
        short += short_row(SHORT_NAMES.get(run["name"], run["name"]), run, run["minutes"], n)
    plain = test["plain_search"]
    searches = "The shipped translator's search was tuned for it on dev (length penalty, loops); the others' was not. "
    searches += f"With their search it has BLEU {plain['bleu']:.1f}, chrF {plain['chrf']:.1f}, and "
    searches += f"{plain['compounds_right']} compounds of {n} right.\n"
    how = f"On the 1,000 test sentences, first reference, beam {test['beam_size']}, sacrebleu "
    how += f"(`{test['bleu_signature']}`, `{test['chrf_signature']}`). "
    machine = f"Minutes are minutes of computing of one thread: of the shorter runs on {experiment['machine']}, of the "
    machine += f"shipped translator on {log['machine']}.\n"
    example = test["compounds"]["机器学习"].removesuffix(" (right)")
    compounds = "The lecture's example, 机器学习 (*machine learning*), which training never saw, becomes "
    compounds += f"*{example}*.\n"
    run = f"`{log['command']}`: {last['step']:,} steps, {last['tokens'] / 1e6:.1f} M target tokens in "
    run += f"{last['minutes']:.0f} minutes of computing ({last['tokens'] / last['minutes'] / 60:,.0f} tokens/s) on "
    run += f"{experiment['machine']}. On dev: {last['dev_nll']:.3f} nats a token, "
    run += f"BLEU {last['dev_bleu']:.1f} with greedy search.\n\n"
    run = stages(made) if made else run
    listed = "".join(
        f"| {zh} | {en.removesuffix(' (right)')} | {'yes' if en.endswith(' (right)') else 'no'} |\n"
        for zh, en in test["compounds"].items()
    )
    answers = f"{searches}\nCompounds: {test['compounds_right']} of {n} come out right.\n\n"
    answers += "| compound | translation | right |\n| --- | --- | --- |\n" + listed
    return {
        (SPEED_PAGE, "speed"): speed(SPEED_PAGE),
        ("README.md", "results"): short + "\n" + searches + "\n" + compounds,
        ("README.md", "precision"): precision("README.md"),
        ("data/README.md", "results"): run + HEAD + shipped + "".join(others) + "\n" + how + machine + "\n" + answers,
        ("data/README.md", "limits"): limits.table(json.loads((CHECKPOINT / "limits.json").read_text(encoding="utf-8")))
        + "\n",
        ("CONTRIBUTING.md", "exports"): exports(),
        ("CONTRIBUTING.md", "core"): core(),
        ("CONTRIBUTING.md", "files"): tree(),
    }


def main() -> None:
    for (name, block), text in results().items():
        path = ROOT / name
        between = re.compile(rf"(<!-- {block}: begin[^\n]*-->\n).*?(<!-- {block}: end -->)", re.DOTALL)
        old = path.read_text(encoding="utf-8")
        path.write_text(between.sub(lambda found, text=text: found[1] + text + found[2], old), encoding="utf-8")


if __name__ == "__main__":
    main()
