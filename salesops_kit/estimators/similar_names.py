"""Records that are probably one: names compared within blocks, by edit distance."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Indel

LARGEST_BLOCK = 3_000
# Names shorter than this are one only when they are equal: one letter of four is another name.
SHORTEST_FUZZY = 6
_EDGE = 4
_WORD = re.compile(r"[^\W_]+")
_SPLIT_NUMBER = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
# Forms of incorporation, which people write or leave out.
_FORMS = frozenset(
    {
        "inc", "incorporated", "llc", "llp", "lp", "ltd", "limited", "plc", "corp", "corporation", "co",
        "company", "gmbh", "mbh", "ag", "kg", "kgaa", "ug", "ohg", "se", "sa", "sas", "sarl", "srl",
        "spa", "sl", "bv", "nv", "oy", "oyj", "ab", "as", "asa", "aps", "kk", "pte", "pty", "pvt",
        "sdn", "bhd", "the",
    }
)  # fmt: skip
_FORMS_WITHOUT_SPACES = (
    "股份有限公司", "有限责任公司", "有限責任公司", "有限公司", "公司", "株式会社", "合同会社", "有限会社",
    "주식회사", "유한회사", "(주)", "㈜",
)  # fmt: skip
# Letters that who lacks them writes as two; casefold does so with ß.
_SPELT_OUT = str.maketrans({"ä": "ae", "æ": "ae", "ö": "oe", "ø": "oe", "œ": "oe", "ü": "ue", "å": "aa"})
_DOTTED = re.compile(r"\b((?:[a-z]\.){1,3}[a-z]?)(?=\W|$)")


@functools.lru_cache(maxsize=200_000)
def plain_name(name: str) -> tuple[str, str]:
    """A name as it is compared: its words without case, signs and form of incorporation, umlauts and their
    like spelt out, and its numbers.

    >>> plain_name("Greywater Energy, Inc."), plain_name("GREYWATER  energy 2")
    (('greywater energy', ''), ('greywater energy', '2'))
    >>> plain_name("浩屿物流有限公司 7"), plain_name("X.Y. Tools S.A.")
    (('浩屿物流', '7'), ('xy tools', ''))
    >>> plain_name("Bäcker & Söhne AG"), plain_name("Baecker und Soehne")
    (('baecker and soehne', ''), ('baecker und soehne', ''))
    """
    text = unicodedata.normalize("NFKC", name).casefold().translate(_SPELT_OUT)
    for form in _FORMS_WITHOUT_SPACES:
        text = text.replace(unicodedata.normalize("NFKC", form).casefold(), " ")
    text = text.replace("&", " and ").replace("'", "").replace("’", "")
    text = _DOTTED.sub(lambda match: match.group(1).replace(".", ""), text)
    words = [part for word in _WORD.findall(text) for part in _SPLIT_NUMBER.split(word)]
    bare = [word for word in words if word not in _FORMS and not word.isdigit()]
    # A company that is called nothing but "The Company" keeps its name.
    kept = bare or [word for word in words if not word.isdigit()]
    return " ".join(kept), " ".join(word for word in words if word.isdigit())


def similar_pairs(names: Sequence[str], *, apart: Sequence[str] = (), least: float) -> pd.DataFrame:
    """Pairs of places in ``names`` whose names are at least ``least`` (0-1) alike.

    Columns ``left`` < ``right`` (places) and ``similarity``: 1 less the share of letters to be put in or
    taken out, of the names as :func:`plain_name` gives them, in their order or with the words sorted,
    whichever is more alike. Numbers in the names must be equal. ``apart`` holds a value per name, such as a
    country: names with different known values are not compared. Names are compared within blocks that share
    their numbers and the first or last letters, or their longest word; a block of more than 3,000 names is
    cut by its names' order, each part compared with itself.
    """
    split = [plain_name(name) if name else ("", "") for name in names]
    words = np.array([text for text, _numbers in split], dtype=object)
    places = np.flatnonzero([bool(text) for text in words])
    kinds = [(apart[i] if apart else "") or "" for i in range(len(names))]
    found: dict[tuple[int, int], float] = {}
    # Equal names are one name to compare; only names that differ are compared letter by letter.
    groups: dict[tuple[str, str], list[int]] = {}
    for place in places:
        groups.setdefault(split[place], []).append(int(place))
    for members in groups.values():
        # Each is compared with the next few only, so that one name used a thousand times stays cheap.
        members.sort(key=lambda place: (kinds[place], place))
        _add(found, ((a, b) for n, a in enumerate(members) for b in members[n + 1 :][:_EDGE]), kinds, 1.0)
    keys = [key for key in groups if len(key[0].replace(" ", "")) >= SHORTEST_FUZZY]
    for a, b, alike in _fuzzy(keys, least):
        pairs = ((x, y) for x in groups[keys[a]] for y in groups[keys[b]])
        _add(found, pairs, kinds, alike)
    rows = [(left, right, alike) for (left, right), alike in sorted(found.items())]
    return pd.DataFrame(rows, columns=["left", "right", "similarity"]).astype(
        {"left": "int64", "right": "int64", "similarity": "float64"}
    )


def _add(
    found: dict[tuple[int, int], float], pairs: Iterable[tuple[int, int]], kinds: Sequence[str], alike: float
) -> None:
    for x, y in pairs:
        if kinds[x] and kinds[y] and kinds[x] != kinds[y]:
            continue
        pair = (min(x, y), max(x, y))
        found[pair] = max(alike, found.get(pair, 0.0))


def _fuzzy(keys: Sequence[tuple[str, str]], least: float) -> Iterable[tuple[int, int, float]]:
    blocks: dict[tuple[str, str, str], list[int]] = {}
    for number, (text, numbers) in enumerate(keys):
        compact = text.replace(" ", "")
        longest = max(text.split(), key=lambda word: (len(word), word))
        marks = {("first", compact[:_EDGE]), ("last", compact[-_EDGE:]), ("word", longest)}
        for kind, mark in marks:
            blocks.setdefault((kind, mark, numbers), []).append(number)
    seen: set[tuple[int, int]] = set()
    for members in blocks.values():
        if len(members) < 2:
            continue
        members.sort(key=lambda number: keys[number][0])
        for start in range(0, len(members), LARGEST_BLOCK):
            part = members[start : start + LARGEST_BLOCK]
            for a, b, alike in _compare([keys[number][0] for number in part], least):
                pair = (part[a], part[b])
                if pair not in seen:
                    seen.add(pair)
                    yield (*pair, alike)


def _compare(texts: Sequence[str], least: float) -> Iterable[tuple[int, int, float]]:
    compact = [text.replace(" ", "") for text in texts]
    ordered = [" ".join(sorted(text.split())) for text in texts]
    wanted = 100.0 * least
    alike = process.cdist(compact, compact, scorer=fuzz.ratio, score_cutoff=wanted, dtype=np.float32)
    pairs = [(int(a), int(b)) for a, b in np.argwhere(alike > 0) if a < b]
    scores = {(a, b): float(alike[a, b]) / 100 for a, b in pairs}
    if any(" " in text for text in texts):
        sorted_alike = process.cdist(
            ordered, ordered, scorer=fuzz.ratio, score_cutoff=wanted, dtype=np.float32
        )
        for a, b in np.argwhere(sorted_alike > 0):
            if a < b:
                score = Indel.normalized_similarity(ordered[a], ordered[b])
                scores[int(a), int(b)] = max(score, scores.get((int(a), int(b)), 0.0))
    return [(a, b, score) for (a, b), score in sorted(scores.items())]
