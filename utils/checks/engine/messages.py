"""All that a learner reads passes through `say`: one place for another language."""


def say(text: str, **values) -> str:
    """The sentence, with each value in the place that has its name: say("{n} cases", n=3).

    Give it whole sentences, as literal strings: a tool such as Babel can then collect them. Names and advice of
    mistakes pass through it when they are shown.
    """
    return text.format(**values) if values else text
