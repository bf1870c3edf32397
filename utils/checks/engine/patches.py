"""Mistakes as patches of a right answer: a table in plain text.

    no scaling: / math.sqrt(len(q)) ->                   <- name: old -> new; several are joined by &&
        The scores are not divided by sqrt(d).           <- advice, indented by four
    the products are not added up: = K * q               <- "= ..." replaces the whole body by `return ...`
      | K @ q -> K * q                                   <- another way to make the same mistake
        K * q multiplies entry by entry ...
    another score is subtracted: z.max() -> z[0] || z[1] <- two ways, which differ in what is new
    the mask is inverted: ~mask -> mask
      &&? .nan_to_num(0.0) ->                            <- the line before, continued: two ways, with this and without
        ...

Each old text must stand exactly once in the answer's body; blanks around old and new are nothing. Advice is left out
where the same name has it already: for another right answer, in an exercise before, of the same lesson (the last that
has it), or in a lesson that is imported (the first).
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

Edits = tuple[tuple[int, int, str], ...]  # start, end, new text


class Misfit(Exception):
    """A table that does not fit its answer: for who writes a lesson."""


class Answer:
    """A right answer as learners write it: a function, whose body can be changed."""

    def __init__(self, function: Callable, exercise: str):
        self.function, self.exercise = function, exercise
        self.parameters = tuple(inspect.signature(function).parameters)
        source = textwrap.dedent(inspect.getsource(function))
        node = ast.parse(source).body[0]
        begin = node.body[1 if ast.get_docstring(node) else 0].lineno - 1
        self.body = "\n".join(source.split("\n")[begin:]).rstrip()
        self.made: dict[tuple, Callable | None] = {}

    def edits(self, way: tuple[tuple[str, str | None], ...], mistake: str) -> Edits:
        """The places that a way changes, in order."""
        found = []
        for old, new in way:
            if old == "=":
                return ((0, len(self.body), f"    return {new}"),)
            if new is None:
                raise Misfit(f"{self.exercise}, {mistake!r}: {old!r} lacks an arrow: old -> new")
            if (there := self.body.count(old) if old else 0) != 1:
                raise Misfit(f"{self.exercise}, {mistake!r}: {old!r} stands {there} times in the answer, and not once")
            start = self.body.index(old)
            found.append((start, start + len(old), new))
        if not apart(found):
            raise Misfit(f"{self.exercise}, {mistake!r}: two patches of {way!r} overlap")
        return tuple(sorted(found))

    def changed(self, edits: Edits) -> Callable:
        body = self.body
        for start, end, new in sorted(edits, reverse=True):
            body = body[:start] + new + body[end:]
        source, made = f"def wrong({', '.join(self.parameters)}):\n{body}\n", {}
        exec(compile(source, f"<{self.exercise}, changed>", "exec"), self.function.__globals__, made)
        return made["wrong"]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A usual wrong answer: its name, why it happens and where to look again, and how it is made of a right one."""

    name: str
    advice: str
    written: Callable | None = None  # by hand, where it is no patch
    answer: Answer | None = None
    edits: Edits = ()

    @cached_property
    def code(self) -> Callable:
        return self.written or self.answer.changed(self.edits)


def apart(edits: list[tuple[int, int, str]]) -> bool:
    edits = sorted(edits)
    return all(end <= start for (_, end, _), (start, _, _) in zip(edits, edits[1:], strict=False))


def spread(text: str) -> list[tuple[tuple[str, str | None], ...]]:
    """The ways that `old -> new || other new &&? old -> new` stands for, each as its pairs (old, new)."""
    if text.startswith("= "):
        return [(("=", new.strip()),) for new in text[2:].split("||")]
    choices = []
    for patch in text.split("&&"):
        old, arrow, new = (part.strip() for part in f" {patch.removeprefix('?')} ".partition(" -> "))
        pairs = [(old, one.strip()) for one in new.split("||")] if arrow else [(old, None)]
        choices.append([*pairs, None] if patch.startswith("?") else pairs)
    return [tuple(filter(None, chosen)) for chosen in product(*choices)]


def read(table: str, answer: Answer, known: list[Mistake], besides: str = "") -> list[Mistake]:
    """The mistakes of a table, all with one more patch `besides`; the advice of the `known` need not be repeated."""
    mistakes, name, ways, advice = [], "", [], []

    def close() -> None:
        if not name:
            return
        said = " ".join(advice) or next((m.advice for m in reversed([*known, *mistakes]) if m.name == name), "")
        if not said or not ways:
            raise Misfit(f"{answer.exercise}, {name!r}: no {'patch' if said else 'advice'}")
        for text in ways:
            edits = [answer.edits(way, name) for way in spread(text + besides)]
            mistakes.extend(Mistake(name, said, answer=answer, edits=some) for some in edits)

    for line in filter(str.strip, textwrap.dedent(table).splitlines()):
        if line.startswith("    "):
            advice.append(line.strip())
        elif line.startswith("  | "):
            ways.append(line[4:])
        elif line.startswith(("  && ", "  &&? ", "  || ")) and ways:
            ways[-1] += line[1:]
        elif not line.startswith(" ") and ":" in line:
            close()
            name, _, way = line.partition(":")
            ways, advice = [way.strip()] if way.strip() else [], []
        else:
            raise Misfit(f"{answer.exercise}: {line!r} is neither a name with a colon nor indented as it should be")
    close()
    return mistakes


def pairs(mistakes: list[Mistake]) -> Iterator[tuple[Mistake, Mistake, Callable]]:
    """Two slips at once, where both patches fit the same answer."""
    for one, other in combinations(mistakes, 2):
        edits = one.edits + other.edits
        if one.answer and one.answer is other.answer and one.name != other.name and apart(edits):
            made = one.answer.made
            if edits not in made:
                try:
                    made[edits] = one.answer.changed(edits)
                except SyntaxError:
                    made[edits] = None
            if made[edits]:
                yield one, other, made[edits]
