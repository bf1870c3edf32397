"""All that a learner reads passes through `say`: in English, or in the language that the environment names.

TRANSFORMER_COURSE_LANGUAGE=zh takes the sentences of utils/checks/locale/zh.po; `python -m tools.messages` keeps that
file complete. What has no translation stays English.
"""

from functools import cache
from pathlib import Path

from utils.language import language

LOCALE = Path(__file__).parents[1] / "locale"


def say(text: str, **values) -> str:
    """The sentence, with each value in the place that has its name: say("{n} cases", n=3).

    Give it whole sentences, as literal strings: `tools.messages` collects them. Names and advice of mistakes pass
    through it when they are shown.
    """
    text = translations(language()).get(text, text)
    return text.format(**values) if values else text


@cache
def translations(language: str) -> dict[str, str]:
    """The sentences of a language by their English; none of English, or of a language without a file."""
    path = LOCALE / f"{language}.po"
    if language == "en" or not path.exists():
        return {}
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        return {message.id: message.string for message in read_po(file) if message.id and message.string}
