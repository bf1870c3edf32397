"""What a check returns: whether the exercise is passed, and the sentences that the learner reads."""

import html
from dataclasses import dataclass

MARKS = {True: ("✓", "#009e73"), False: ("✗", "#d55e00"), None: ("○", "#767676")}


@dataclass(frozen=True)
class Result:
    """`passed` is True, False or None (not attempted); `str()` is what the learner reads."""

    passed: bool | None
    text: str

    def __str__(self) -> str:
        return f"{MARKS[self.passed][0]} {self.text}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        style = f"border-left: 4px solid {MARKS[self.passed][1]}; padding: 2px 0 2px 10px; white-space: pre-wrap; "
        style += "word-break: normal; overflow-wrap: anywhere"  # JupyterLab's own style breaks lines inside words
        return f'<pre style="{style}">{html.escape(str(self))}</pre>'
