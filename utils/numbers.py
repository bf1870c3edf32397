"""Numbers: how both languages write them, where a sentence has one, whether a translation keeps it (lesson 08).

A value is text of one form per kind: "352" (integer, numeral, large, ordinal, year), "37" or "2.5" (percent), "12.50"
(price, with its currency), "3.14" (decimal), "5-12" (date), "15:20" (clock), "13812345678" (phone).
"""

import csv
import hashlib
import random
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from utils.config import ROOT
from utils.corpus import Pair, TestItem

TEMPLATES = ROOT / "data" / "numbers.tsv"

KINDS = "integer numeral large year date clock percent price decimal phone ordinal".split()


class Number(NamedTuple):
    """A number in a sentence: its kind, its value, and the currency if it is a price."""

    kind: str
    value: str
    currency: str = ""


class Found(NamedTuple):
    """A number and where it stands in a Chinese sentence, with the characters that show its kind (第, 年, 元)."""

    number: Number
    start: int
    end: int


class Item(NamedTuple):
    """A Chinese sentence and the number that its translation must keep."""

    zh: str
    number: Number
    source: str  # "dev": a dev sentence with another number put in; "template": a sentence of data/numbers.tsv


class Template(NamedTuple):
    """A sentence with a gap {} for a number between `low` and `high` of one kind; `en` is empty in the test's."""

    kind: str
    low: int
    high: int
    zh: str
    en: str


def held_out(value: str) -> bool:
    """Whether a value belongs to the test: one in five does, by its SHA-256; training's generator makes the others."""
    return hashlib.sha256(value.encode()).digest()[0] % 5 == 0


# ------------------------------------------------------------------------------------------------- Chinese

DIGITS = "零一二三四五六七八九"
READ = {char: i for i, char in enumerate(DIGITS)} | {"〇": 0, "两": 2}
SCALES = {"亿": 10**8, "万": 10**4, "千": 1000, "百": 100, "十": 10}


def chinese(n: int) -> str:
    """A whole number in Chinese numerals: 352 -> 三百五十二, 10050 -> 一万零五十, 12 -> 十二."""
    for char, scale in SCALES.items():
        if n >= scale:
            head, rest = divmod(n, scale)
            head = "" if head == 1 and scale == 10 else chinese(head)
            gap = "零" if 0 < rest < scale // 10 else ""
            # Inside a larger number ten is 一十: 一百一十.
            inner = "一" if rest and 10 <= rest < 20 and scale > 10 else ""
            return head + char + gap + (inner + chinese(rest) if rest else "")
    return DIGITS[n]


def one_by_one(digits: str) -> str:
    """Digits read one after another, as in a year or after the decimal point: 1998 -> 一九九八."""
    return "".join(DIGITS[int(d)] for d in digits)


def with_liang(text: str) -> str:
    """二百 and 二千 as they are mostly said: 两百, 两千."""
    return re.sub("^二(?=[百千万亿])", "两", text)


def read(text: str) -> str | None:
    """The value that digits or Chinese numerals state, 3.5万 and 三点五 among them; None if they state none."""
    if re.match(r"\d", text):
        scale = SCALES.get(text[-1], 1)
        value = Decimal(text.rstrip("万亿").replace(",", "")) * scale
        return str(value if scale == 1 else int(value))
    if "点" in text:
        whole, _, places = text.partition("点")
        whole = read(whole)
        return whole and f"{whole}.{''.join(str(READ[char]) for char in places)}"
    if not re.search("[十百千万亿]", text):  # one by one, as a year; 两三 is two or three
        exact = len(text) == 1 or len(text) > 3 or re.search("[零〇]", text)
        return "".join(str(READ[char]) for char in text) if exact else None
    total = below = unit = 0  # 三百五十二万: below ten thousand, then times ten thousand
    for char in text:
        if char in READ:
            unit = READ[char]
        elif SCALES[char] < 10**4:
            below, unit = below + (unit or 1) * SCALES[char], 0
        else:  # 亿 multiplies all before it, 万 what follows an 亿
            before = total if char == "亿" else 0
            total, below, unit = total - before + (before + below + unit) * SCALES[char], 0, 0
    n = total + below + unit
    # What no one would write so (八九十, 十百) is no number.
    return str(n) if text.replace("两", "二").replace("〇", "零") == chinese(n) else None


_C = "[零〇一二两三四五六七八九十百千万亿]+"
_ONES = "[零〇一二三四五六七八九]"
_D = r"\d+(?:,\d{3})*(?:\.\d+)?"
_N = rf"(?:{_D}[万亿]?|{_C})"
CURRENCIES = {"元": "元", "块钱": "元", "块": "元", "美元": "美元", "美金": "美元", "日元": "日元", "欧元": "欧元"}
SIGNS = {"元": "¥", "美元": "$", "欧元": "€"}
FIND = re.compile(
    rf"(?P<phone>(?<![\d-])(?:\d{{3,4}}-\d{{4}}-\d{{4}}|\d{{3,4}}-\d{{4}}|\d{{7,11}})(?![\d万亿-]))"
    rf"|(?P<percent>百分之(?P<percent_zh>{_C}(?:点{_ONES}+)?)|(?P<percent_digits>{_D})%)"
    rf"|(?P<date>(?P<month>{_N})月(?P<day>{_N})[日号])"
    rf"|(?P<year>(?P<year_value>\d{{4}}|{_ONES}{{4}})年)"
    rf"|(?P<price>(?P<sign>[¥$€])(?P<amount>{_D})|(?P<amount_zh>{_N})(?P<currency>{'|'.join(CURRENCIES)}))"
    rf"|(?P<decimal>{_C}点{_ONES}++(?![十分刻钟])|\d+\.\d+(?![\d万亿:]))"
    rf"|(?P<clock>(?P<h>\d{{1,2}}):(?P<m>\d\d)(?!\d)"
    rf"|(?P<hour>\d{{1,2}}|{_C})[点时](?!间|候)(?P<minute>半|一刻|三刻|(?:\d{{1,2}}|{_C})(?=分)|[二三四五]?十{_ONES}?)?[分钟]?)"
    rf"|(?P<ordinal>第(?P<ordinal_value>{_N}))"
    rf"|(?P<large>{_D}[万亿](?!亿)|[零一二两三四五六七八九十百千]+[万亿](?:{_C})?)"
    rf"|(?P<integer>{_D})"
    rf"|(?P<numeral>{_C})"
)
PARTS = {"半": "30", "一刻": "15", "三刻": "45", None: "0"}


ANY = re.compile(rf"\d|{_C}")


def find(zh: str) -> list[Found]:
    """The numbers of a clean Chinese sentence, in order; 一, 一点 and 一块 ("a", "a little") and 零 are none."""
    found = []
    for match in FIND.finditer(zh) if ANY.search(zh) else ():  # most sentences have none: do not look long
        number = _number(match)
        if number and match[0] not in ("零", "一", "一点", "一块"):
            found.append(Found(number, *match.span()))
    return found


def _number(match: re.Match) -> Number | None:
    kind = match.lastgroup  # the alternative, a group closes after those inside it
    group = match.groupdict()
    if kind == "phone":
        return Number(kind, match[0].replace("-", ""))
    if kind == "date":
        month, day = read(group["month"]), read(group["day"])
        return Number(kind, f"{month}-{day}") if _between(month, 1, 12) and _between(day, 1, 31) else None
    if kind == "clock":
        hour = group["h"] or read(group["hour"])
        minute = group["m"] or PARTS.get(group["minute"]) or read(group["minute"])
        good = _between(hour, 0, 24) and _between(minute, 0, 59)
        return Number(kind, f"{int(hour)}:{int(minute):02}") if good else None
    if kind == "price":
        value = read(group["amount"] or group["amount_zh"])
        by_sign = {sign: currency for currency, sign in SIGNS.items()}
        return value and Number(kind, value, by_sign.get(group["sign"]) or CURRENCIES[group["currency"]])
    texts = {"percent": group["percent_zh"] or group["percent_digits"], "year": group["year_value"]}
    value = read(texts.get(kind) or group["ordinal_value"] or match[0])
    if kind == "integer" and value and "." in value:  # 3,000.5
        kind = "decimal"
    return value and Number(kind, value)


def _between(value: str | None, low: int, high: int) -> bool:
    return value is not None and value.isdigit() and low <= int(value) <= high


def chinese_forms(number: Number) -> dict[str, str]:
    """The ways to write a number in Chinese, by style."""
    kind, value, currency = number
    if kind == "phone":
        cut = {11: (3, 7), 10: (3, 6), 8: (4,), 7: (3,)}[len(value)]
        parts = [value[i:j] for i, j in zip((0, *cut), (*cut, None), strict=True)]
        return {"digits": value, "parts": "-".join(parts)} if len(value) != 10 else {"digits": value}
    if kind == "date":
        month, day = value.split("-")
        words = f"{chinese(int(month))}月{chinese(int(day))}"
        return {"日": f"{month}月{day}日", "号": f"{month}月{day}号", "words日": words + "日", "words号": words + "号"}
    if kind == "clock":
        hour, minute = map(int, value.split(":"))
        said = "两" if hour == 2 else chinese(hour)
        if minute in (0, 30):
            end = "半" if minute else "钟" if hour == 1 else ""  # 一点 alone is "a little"
            return {"colon": value, "digits": f"{hour}点{end}", "words": f"{said}点{end}"}
        end = ("零" if minute < 10 else "") + chinese(minute) + "分"
        return {"colon": value, "digits": f"{hour}点{minute}分", "words": f"{said}点{end}"}
    whole, _, places = value.partition(".")
    words = chinese(int(whole)) + (f"点{one_by_one(places)}" if places else "")
    if kind in ("decimal", "percent"):
        after = {"decimal": (value, words), "percent": (f"{value}%", f"百分之{words}")}[kind]
        return dict(zip(("digits", "words"), after, strict=True))
    if kind == "year":
        words = one_by_one(value)
        circle = {"circle": words.replace("零", "〇") + "年"} if "零" in words else {}
        return {"digits": f"{value}年", "words": f"{words}年"} | circle
    if kind == "ordinal":
        return {"digits": f"第{value}", "words": f"第{words}"}
    if kind == "integer":
        return {"digits": value}
    if kind == "numeral":
        return {"words": with_liang(words)}
    if kind == "large":
        char = "亿" if int(value) >= 10**8 else "万"
        digits = f"{Decimal(value) / SCALES[char]:f}"
        short = {"digits": digits + char} if len(digits) <= 4 else {}
        return short | {"words": with_liang(words)}
    said = {"元": ("元", "块", "块钱"), "美元": ("美元", "美金")}.get(currency, (currency,))
    forms = {f"digits{unit}": value + unit for unit in said}
    forms |= {} if places else {f"words{unit}": with_liang(words) + unit for unit in said}
    return forms | ({"sign": SIGNS[currency] + value} if currency in SIGNS else {})


# ------------------------------------------------------------------------------------------------- English

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
THOUSANDS = {"billion": 10**9, "million": 10**6, "thousand": 1000}
MONTHS = "January February March April May June July August September October November December".split()
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
IRREGULAR |= {"twelve": "twelfth"}


def english(n: int) -> str:
    """A whole number in English words: 352 -> three hundred and fifty-two."""
    for word, scale in (THOUSANDS | {"hundred": 100}).items():
        if n >= scale:
            head, rest = divmod(n, scale)
            joint = " and " if 0 < rest < 100 else " "
            return f"{english(head)} {word}" + (joint + english(rest) if rest else "")
    if n < 20:
        return ONES[n]
    return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")


def ordinal_word(n: int) -> str:
    """15 -> fifteenth, 21 -> twenty-first."""
    head, joint, last = re.fullmatch(r"(.*?)([ -]?)([a-z]+)", english(n)).groups()
    return head + joint + IRREGULAR.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")


def ordinal_digits(n: int) -> str:
    """15 -> 15th, 21 -> 21st."""
    end = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{end}"


def english_forms(number: Number) -> dict[str, str]:
    """The ways to write a number in English, by style, the commonest first."""
    kind, value, currency = number
    if kind == "phone":
        return chinese_forms(number)
    if kind == "date":
        month, day = MONTHS[int(value.split("-")[0]) - 1], int(value.split("-")[1])
        nth = ordinal_digits(day)
        forms = {"plain": f"{month} {day}", "nth": f"{month} {nth}", "British": f"{day} {month}"}
        return forms | {"of": f"the {nth} of {month}", "words of": f"the {ordinal_word(day)} of {month}"}
    if kind == "clock":
        hour, minute = map(int, value.split(":"))
        if minute == 0:
            forms = {"o'clock": f"{hour} o'clock", "words o'clock": f"{english(hour)} o'clock", "colon": value}
            return forms | {"digits": str(hour), "words": english(hour)}
        half = {"half": f"half past {english(hour)}"} if minute == 30 and 0 < hour < 13 else {}
        return {"colon": value} | half
    whole, _, places = value.partition(".")
    digits = f"{int(whole):,}" + (f".{places}" if places else "")
    words = {} if places else {"words": english(int(whole))}
    if kind == "year":
        return {"digits": value}
    if kind == "decimal":
        return {"digits": digits}
    if kind == "ordinal":
        n = int(value)
        return {"nth": ordinal_digits(n), "words nth": ordinal_word(n), "digits": value} | words
    if kind == "percent":
        forms = {"sign": f"{digits}%", "digits": f"{digits} percent", "per cent": f"{digits} per cent"}
        return forms | {style: f"{text} percent" for style, text in words.items()}
    if kind == "price":
        name = {"元": "yuan", "美元": "dollars", "日元": "yen", "欧元": "euros"}[currency]
        forms = {"digits": f"{digits} {name}", "plain": f"{value} {name}"}
        forms |= {style: f"{text} {name}" for style, text in words.items()}
        return forms | ({"sign": SIGNS[currency] + digits} if currency in SIGNS else {})
    n, short = int(value), {}
    for word, scale in THOUSANDS.items():
        if kind == "large" and n >= scale >= 10**6:
            short = {"short": f"{Decimal(n) / scale:f} {word}"}
            break
    return short | {"digits": digits, "plain": value} | words


WORDS = {word: n for n, word in enumerate(ONES)} | {word: 10 * n for n, word in enumerate(TENS) if n > 1} | {"oh": 0}
MULTIPLES = THOUSANDS | {"hundred": 100, "dozen": 12}
NTH = {ordinal_word(n): english(n) for n in [*range(1, 21), *range(30, 100, 10), 100, 1000]}
NTH = {nth: word.removeprefix("one ") for nth, word in NTH.items()} | {"hundredth": "hundred", "thousandth": "thousand"}
_WORD = "(?:" + "|".join(sorted([*WORDS, *MULTIPLES, *NTH], key=len, reverse=True)) + ")"
RUN = re.compile(rf"\b{_WORD}(?:(?: and |[ -]){_WORD})*\b")


def _longer(n: int, word: str, after_and: bool) -> int | None:
    """The number n with one more word: 300 and "five" give 305. None if the word begins a number of its own."""
    below = n % 1000
    if word in THOUSANDS:
        scale = THOUSANDS[word]
        return n + below * (scale - 1) if below and (n - below) % (1000 * scale) == 0 else None
    if word in MULTIPLES:
        return n + below * (MULTIPLES[word] - 1) if 0 < below < 100 else None
    after_hundred = n >= 100 and n % 100 == 0
    after_tens = WORDS[word] < 10 and n % 10 == 0 and n % 100 >= 20 and not after_and
    return n + WORDS[word] if WORDS[word] and (after_hundred or after_tens) else None


def _digits(run: re.Match) -> str:
    """A run of number words in digits: "nineteen ninety-eight" -> 19 98, "twenty-first" -> 21th."""
    numbers: list[int | str] = []
    joint = ""
    for word in re.findall("[a-z]+", run[0]):
        if word == "and":
            joint = word
            continue
        cardinal = NTH.get(word, word)
        longer = _longer(numbers[-1], cardinal, joint == "and") if numbers and isinstance(numbers[-1], int) else None
        if longer is None:
            numbers += [joint] * bool(joint) + [(WORDS | MULTIPLES)[cardinal]]
        else:
            numbers[-1] = longer
        if cardinal != word:
            numbers[-1] = f"{numbers[-1]}th"
        joint = ""
    return " ".join(map(str, numbers))


def normalize(text: str) -> str:
    """English in lower case with all numbers in digits: words read, 1,000 without its comma, 21st as 21th."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.lower())
    text = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1th", text)
    text = re.sub(r"\bhalf a dozen\b", "six", text)
    text = re.sub(r"\ban? (?=(?:hundred|thousand|million|billion|dozen)\b)", "one ", text)
    text = re.sub(r"\b(\d+(?:\.\d+)?)[ -](hundred|thousand|million|billion|dozen)\b", _multiplied, text)
    text = RUN.sub(_digits, text)
    return re.sub(r"\b(\d+) point (\d(?: \d)*)\b", lambda m: f"{m[1]}.{m[2].replace(' ', '')}", text)


def _multiplied(match: re.Match) -> str:
    return f"{(Decimal(match[1]) * MULTIPLES[match[2]]).normalize():f}"


# Before and after a number no digit, and no mark that joins it to one: 352 is not in 1352, 352.7 or 3:52.
_BEFORE, _AFTER = r"(?<!\d)(?<!\d[.,:])", r"(?!\d|[.,:]\d)"
# What may stand for each currency; Tatoeba calls a 元 a dollar as often as a yuan.
NAMES = {
    "元": (r"[¥$]|rmb|cny", r"yuan|rmb|cny|renminbi|kuai|¥|dollars?|bucks|\$"),
    "美元": (r"(?:us|u\.s\.)? ?\$|usd", r"(?:us |u\.s\. |american )?dollars?|usd|bucks|\$"),
    "日元": ("¥|jpy", "yen|jpy|¥"),
    "欧元": ("€|eur", "euros?|eur|€"),
}


def pattern(number: Number) -> str:
    """A regular expression for the number in normalized English."""
    kind, value, currency = number
    if kind == "phone":
        return r"(?<!\d)" + r"[\s().-]*".join(value) + r"(?!\d)"
    if kind == "date":
        month, day = value.split("-")
        name = MONTHS[int(month) - 1].lower()
        name = rf"(?:{name}|{name[:3]}|sept)\.?" if name == "september" else rf"(?:{name}|{name[:3]})\.?"
        month, day = f"0?{month}", f"0?{day}"
        choices = [rf"\b{name},? (?:the )?{day}(?:th)?", rf"{_BEFORE}{day}(?:th)?(?: of)? {name}(?![a-z])"]
        return "(?:" + "|".join([*choices, rf"{_BEFORE}{month}[/-]{day}"]) + ")" + r"(?!\d|:\d)"
    if kind == "clock":
        hour, minute = map(int, value.split(":"))
        # 15:20 is 3:20 in the afternoon; of 3:20 we do not know.
        hours = sorted({hour, hour % 12 or 12, *([hour + 12] if hour < 12 else [])})
        said, nexts = "|".join(map(str, hours)), "|".join(str(h % 12 + 1) for h in hours)
        choices = [
            rf"0?(?:{said})[:.]{minute:02}",
            rf"(?:{said}) {minute:02}",
            rf"{minute}(?: minutes?)? past (?:{said})",
        ]
        choices += [rf"half past (?:{said})"] if minute == 30 else []
        choices += [rf"(?:quarter|{minute}) (?:past|after) (?:{said})"] if minute == 15 else []
        choices += [rf"quarter (?:to|of|before) (?:{nexts})"] if minute == 45 else []
        choices += [rf"{60 - minute}(?: minutes?)? (?:to|before) (?:{nexts})"] if minute > 30 else []
        choices += [rf"(?:{said})(?::00)?(?! \d)"] if minute == 0 else []
        choices += [r"\b(?:noon|midday|midnight)"] if value in ("12:00", "0:00", "24:00") else []
        wrong_half = r"(?! ?a\.?m\b)" if 12 < hour < 24 else ""
        return f"{_BEFORE}(?:{'|'.join(choices)}){_AFTER}{wrong_half}"
    whole, _, places = value.partition(".")
    if kind == "price":
        cents = places.ljust(2, "0") if places else ""
        amount = rf"{whole}(?:\.{places.rstrip('0')}0*)" if places.strip("0") else rf"{whole}(?:\.00?)?"
        before, after = NAMES[currency]
        choices = [rf"(?:{before}) ?{_BEFORE}{amount}{_AFTER}", rf"{_BEFORE}{amount}{_AFTER}[ -]?(?:{after})"]
        choices += [rf"{_BEFORE}{whole} (?:{after})(?: and)? {cents.lstrip('0')} cents"] if places.strip("0") else []
        return "|".join(choices)
    if kind == "year":
        said = rf"(?:{value}|{value[:2]} (?:0 )?{int(value[2:])})" if len(value) == 4 else value
    elif kind == "ordinal":  # lesson 4, but not 4 lessons
        said = rf"(?:{value}th|{value}(?! (?!is\b|was\b|has\b|this\b)[a-z]+s\b))"
    else:
        said = rf"{re.escape(value)}(?:th)?"
    percent = r" ?(?:%|percent\b|per cent\b|pct\b)"
    after = percent if kind == "percent" else rf"(?!{percent}| ?o'clock)"  # nine things are not nine o'clock
    return f"{_BEFORE}{said}{_AFTER}{after}"


def keeps(en: str, item: Item) -> bool:
    """Whether an English sentence states the item's number, however it is written, and no other that was not asked.

    Small ones (one, two, first) may come with the language: "one of them".
    """
    text = normalize(en)
    match = re.search(pattern(item.number), text)
    if not match:
        return False
    rest = text[: match.start()] + " " + text[match.end() :]
    stated = {Decimal(number) for number in re.findall(r"\d+(?:\.\d+)?", rest)}
    given = {Decimal(part) for found in find(item.zh) for part in re.findall(r"\d+(?:\.\d+)?", found.number.value)}
    return stated <= given | {Decimal(0), Decimal(1), Decimal(2)}


# ------------------------------------------------------------------------------------------------- the test


def draw(kind: str, low: int, high: int, rng: random.Random, test: bool) -> Number:
    """A random number of a kind from low to high, of the test's values or of training's."""
    while True:
        number = any_number(kind, low, high, rng)
        if held_out(number.value) == test:
            return number


def any_number(kind: str, low: int, high: int, rng: random.Random) -> Number:
    """A random number of a kind from low to high, of the test's values or not."""
    n = rng.randint(low, high)
    if kind == "phone":
        first = rng.choice(("13", "15", "18")) if (length := rng.choice((7, 8, 11))) == 11 else rng.choice("23568")
        return Number(kind, first + "".join(rng.choices("0123456789", k=length - len(first))))
    if kind == "date":
        return Number(kind, f"{rng.randint(1, 12)}-{rng.randint(1, 28)}")
    if kind == "clock":
        return Number(kind, f"{n}:{rng.choice((0, 0, 30, 30, rng.randint(1, 11) * 5, rng.randint(1, 59))):02}")
    if kind == "decimal" or kind == "percent" and rng.random() < 0.25:
        places = str(rng.randint(1, 99)) if kind == "decimal" else str(rng.randint(1, 9))
        return Number(kind, f"{n}.{places.rstrip('0') or '5'}")
    if kind == "price":
        currency = rng.choice(("元", "元", "元", "美元", "美元", "日元", "欧元"))
        cents = rng.choice(("", "", ".50", f".{rng.randint(10, 99)}")) if currency != "日元" and n < 1000 else ""
        return Number(kind, f"{n}{cents}", currency)
    if kind == "large":
        n = int(float(f"{n:.2g}"))  # 3.5万, not 35,172
    return Number(kind, str(n))


def templates(path=TEMPLATES) -> list[Template]:
    """The sentences with a gap of a file: the test's without, training's with English."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Template(kind, int(low), int(high), zh, *(en or [""])) for kind, low, high, zh, *en in rows]


def near(number: Number) -> tuple[int, int]:
    """Bounds for another number in the place of this one."""
    if number.kind in ("clock", "year"):
        return {"clock": (1, 12), "year": (1800, 2025)}[number.kind]
    n = int(Decimal(number.value)) if re.fullmatch(r"[\d.]+", number.value) else 0
    return max(3, n // 5), 5 * n + 20


def frame(zh: str) -> str:
    """The sentence without its numbers: two sentences that differ in numbers alone have the same."""
    for found in reversed(find(zh)):
        zh = zh[: found.start] + "#" + zh[found.end :]
    return zh


def items(dev: list[TestItem], train: Iterable[Pair], n: int = 1000, from_dev: int = 200, seed: int = 0) -> list[Item]:
    """The test of numbers: `from_dev` dev sentences with another number put in, the rest made of templates.

    A dev sentence serves if it has one number, which a reference keeps. No sentence is the same as one of training but
    for its number. All kinds get as many sentences of templates; the same seed gives the same items.
    """
    rng = random.Random(seed)
    known = {frame(pair.zh) for pair in train}
    places = [
        (item.zh, found)
        for item in dev
        if frame(item.zh) not in known
        if len(find(item.zh)) == 1
        for found in find(item.zh)
        if any(keeps(en, Item(item.zh, found.number, "dev")) for en in item.references)
    ]
    made: dict[str, Item] = {}

    def fill(before: str, after: str, number: Number, source: str) -> None:
        zh = before + rng.choice(list(chinese_forms(number).values())) + after
        made.setdefault(zh, Item(zh, number, source))

    while len(made) < from_dev:
        zh, found = places[len(made) % len(places)]
        number = draw(found.number.kind, *near(found.number), rng, test=True)
        fill(zh[: found.start], zh[found.end :], number, "dev")
    usable = [t for t in templates() if t.zh.replace("{}", "#") not in known]
    kinds = {kind: [t for t in usable if t.kind == kind] for kind in KINDS}
    while len(made) < n:
        kind = KINDS[len(made) % len(KINDS)]
        template = kinds[kind][rng.randrange(len(kinds[kind]))]
        fill(*template.zh.split("{}"), draw(kind, template.low, template.high, rng, test=True), "template")
    return list(made.values())
