"""Write the results into README.md and data/README.md from the files that the runs left; a test compares them.

python tools/results.py      (part of `make results`)
"""

import json
import re

from utils.config import ROOT

CHECKPOINT = ROOT / "data" / "checkpoints" / "zh-en"
EXPERIMENT = ROOT / "data" / "experiments" / "same_minutes.json"
BLOCK = re.compile(r"(<!-- results: begin[^\n]*-->\n).*?(<!-- results: end -->)", re.DOTALL)
HEAD = "| model | parameters | training pairs | minutes | BLEU | chrF | BLEU, all references | compounds right |\n"
HEAD += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"


def row(name: str, run: dict, minutes: float, n_compounds: int) -> str:
    cells = [name, f"{run['parameters'] / 1e6:.1f} M", f"{run['pairs']:,}", f"{minutes:.0f}"]
    cells += [f"{run[key]:.1f}" for key in ("bleu", "chrf", "bleu_multi")]
    cells += [f"{run['compounds_right']} of {n_compounds}"]
    return f"| {' | '.join(cells)} |\n"


def results() -> dict[str, str]:
    """The block of each file, by its path from the root."""
    log = json.loads((CHECKPOINT / "training.json").read_text(encoding="utf-8"))
    test = json.loads((CHECKPOINT / "evaluation.json").read_text(encoding="utf-8"))
    experiment = json.loads(EXPERIMENT.read_text(encoding="utf-8"))
    n, last = len(test["compounds"]), log["history"][-1]

    shipped = row("**Transformer, shipped**", log | test, last["minutes"], n)
    others = [
        row(f"{run['name']} (seed {run['seed']})", run, run["minutes"], n)
        for run in sorted(experiment["runs"], key=lambda run: -run["bleu"])
    ]
    how = f"On the 1,000 test sentences, first reference, beam {test['beam_size']}, sacrebleu "
    how += f"(`{test['bleu_signature']}`, `{test['chrf_signature']}`). "
    machine = f"Trained on: {experiment['machine']}. Minutes are minutes of computing of one thread.\n"
    example = test["compounds"]["机器学习"].removesuffix(" (right)")
    compounds = f"The lecture's example, 机器学习, which training never saw, becomes *{example}*.\n"
    run = f"`{log['command']}`: {last['step']:,} steps, {last['tokens'] / 1e6:.1f} M target tokens in "
    run += f"{last['minutes']:.0f} minutes of computing ({last['tokens'] / last['minutes'] / 60:,.0f} tokens/s) on "
    run += f"{experiment['machine']}. On dev: {last['dev_nll']:.3f} nats a token, "
    run += f"BLEU {last['dev_bleu']:.1f} with greedy search.\n\n"
    listed = "".join(
        f"| {zh} | {en.removesuffix(' (right)')} | {'yes' if en.endswith(' (right)') else 'no'} |\n"
        for zh, en in test["compounds"].items()
    )
    answers = f"Compounds: {test['compounds_right']} of {n} come out right.\n\n| compound | translation | right |\n"
    answers += "| --- | --- | --- |\n" + listed
    return {
        "README.md": HEAD + shipped + "".join(others) + "\n" + how + machine + "\n" + compounds,
        "data/README.md": run + HEAD + shipped + "\n" + how + "\n\n" + answers,
    }


def main() -> None:
    for name, text in results().items():
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        path.write_text(BLOCK.sub(lambda found, text=text: found[1] + text + found[2], old), encoding="utf-8")


if __name__ == "__main__":
    main()
