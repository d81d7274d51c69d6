"""How a file seems to write its values: encoding, delimiter, dates and numbers, each told from a sample."""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from salesops_kit.errors import InputError, Problem

ENCODINGS = ("utf-8", "gb18030", "big5", "cp949", "cp1252")
DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 1 << 18
# In the order in which they are written: a day that fits both of the first is of neither for sure.
MONTH_FIRST, DAY_FIRST = "%m/%d/%Y", "%d/%m/%Y"
_DATES = (
    "iso", MONTH_FIRST, DAY_FIRST, "%d.%m.%Y", "%Y.%m.%d", "%Y. %m. %d", "%Y. %m. %d.", "%Y年%m月%d日",
    "%Y년 %m월 %d일", "%m-%d-%Y", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y", "%d-%b-%Y", "%m/%d/%y", "%d/%m/%y",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", ", %I:%M %p")
_ISO = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?)?"
)
_EPOCH = re.compile(r"\d{12,13}")
_NUMBER = re.compile(r"[(+\-−]?\s*\d[\d.,'’\s]*\)?")
# Symbols of money, codes of three letters, and the sign of a percentage.
_SYMBOLS = re.compile(r"[A-Z]{3}|[^\d\s.,()+\-−'’A-Za-z]|[A-Z]{1,2}\$|kr")


@dataclass(frozen=True)
class Text:
    """The head of a text file: its encoding, its delimiter, and its records."""

    encoding: str
    delimiter: str
    records: list[list[str]]


@dataclass(frozen=True)
class Numbers:
    """How a column writes its numbers."""

    decimal: str = "."
    thousands: str = ""
    symbols: tuple[str, ...] = ()
    parentheses: bool = False


def read_head(path: Path, known: Callable[[str], bool]) -> Text:
    """The head of a CSV file, in the encoding in which most of its column names are known.

    Raises :class:`~salesops_kit.errors.InputError` for a file that no encoding reads.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        is_whole = not file.read(1)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encodings: tuple[str, ...] = ("utf-16",)
    elif head.startswith(codecs.BOM_UTF8):
        encodings = ("utf-8",)
    else:
        encodings = ENCODINGS
    readable: dict[str, Text] = {}
    for encoding in encodings:
        try:
            text = codecs.getincrementaldecoder(encoding)("strict").decode(head, final=is_whole)
        except UnicodeDecodeError:
            continue
        readable[encoding] = _records(encoding, text.removeprefix("\ufeff"), is_whole=is_whole)
        if encoding == "utf-8":
            break
    if not readable:
        raise InputError(
            Problem("no known encoding reads the file", file=path.name, expected=", ".join(encodings),
                    next_step="Save it as CSV (UTF-8).")
        )  # fmt: skip
    # One set of bytes is text in several encodings; names that are known tell which.
    return max(readable.values(), key=lambda one: sum(map(known, one.records[0] if one.records else [])))


def _records(encoding: str, text: str, *, is_whole: bool) -> Text:
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    lines = text.splitlines(keepends=True)
    made = [record for record in csv.reader(lines, delimiter=delimiter) if any(map(str.strip, record))]
    return Text(encoding, delimiter, made if is_whole else made[:-1])


def date_formats(values: Sequence[str]) -> list[str]:
    """The formats that read most of the values: ``iso``, ``epoch_ms``, or a strptime format.

    Of many values one in fifty may be none: such rows are reported when the file is read.

    >>> date_formats(["12/31/2026"]), date_formats(["01/02/2026"])
    (['%m/%d/%Y'], ['%m/%d/%Y', '%d/%m/%Y'])
    """
    texts = list(dict.fromkeys(value.strip() for value in values if value.strip()))
    if not texts:
        return []
    forms = ["epoch_ms", "iso", *(form + time for form in _DATES[1:] for time in _TIMES)]
    possible = [form for form in forms if any(_fits(text, form) for text in texts[:20])]
    counts = {form: sum(_fits(text, form) for text in texts) for form in possible}
    most = max(counts.values(), default=0)
    if most < len(texts) - len(texts) // 50:
        return []
    found = [form for form, count in counts.items() if count == most]
    # Four digits of a year are never two.
    return [form for form in found if not ("%y" in form and form.replace("%y", "%Y") in found)]


def _fits(text: str, form: str) -> bool:
    if form in ("epoch_ms", "iso"):
        return bool((_EPOCH if form == "epoch_ms" else _ISO).fullmatch(text))
    try:
        dt.datetime.strptime(text, form)  # noqa: DTZ007 (only whether it can be read)
    except ValueError:
        return False
    return True


def is_ambiguous(formats: Sequence[str]) -> bool:
    """Whether day and month can be told apart: two formats read every value, and mean different days."""
    return len({form.split(" ")[0] for form in formats if form not in ("iso", "epoch_ms")}) > 1


def numbers_of(values: Sequence[str]) -> Numbers | None:
    """How numbers are written; None where a value is no number.

    >>> numbers_of(["$1,234.50", "(7)"])
    Numbers(decimal='.', thousands=',', symbols=('$',), parentheses=True)
    """
    texts = [value.strip() for value in values if value.strip()]
    if not texts:
        return None
    symbols = sorted({symbol for text in texts for symbol in _SYMBOLS.findall(text)})
    bare = [_without(text, symbols) for text in texts]
    if not all(_NUMBER.fullmatch(text) for text in bare):
        return None
    decimal, thousands = _marks(bare)
    parentheses = any(text.startswith("(") for text in bare)
    return Numbers(decimal, thousands, tuple(symbols), parentheses)


def _without(text: str, symbols: Sequence[str]) -> str:
    for symbol in sorted(symbols, key=len, reverse=True):
        text = text.replace(symbol, "")
    return text.strip()


def _marks(texts: Sequence[str]) -> tuple[str, str]:
    """The decimal mark and the mark between thousands."""
    both = [text for text in texts if "." in text and "," in text]
    if both:
        decimal = max(".,", key=both[0].rfind)
        return decimal, "," if decimal == "." else "."
    for mark, other in ((",", "."), (".", ",")):
        groups = [text.strip("()+-− ").split(mark)[1:] for text in texts if mark in text]
        if not groups:
            continue
        in_threes = all(len(part) == 3 for parts in groups for part in parts)
        if in_threes and (mark == "," or any(len(parts) > 1 for parts in groups)):
            return other, mark
        if any(len(parts) > 1 for parts in groups):
            return other, mark
        return mark, ""
    return ".", ""
