"""A search of every file of a report for texts that belong to other teams alone."""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from salesops_kit.publishing.manifest import Gate

ISOLATION = "isolation"
KIT = Path(__file__).parents[1]
SHORTEST_TEXT = 5
SHORTEST_NUMBER = 10
_LETTERS = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Bytes of other scripts count as letters: in UTF-8 they are above the ASCII range.
_WORDS_ONLY = bytes(byte if byte in _LETTERS or byte >= 0x80 else 0x20 for byte in range(256))


def isolation_gate(
    files: Iterable[Path],
    foreign: Mapping[str, Iterable[str]],
    is_own: Callable[[str], bool],
    *,
    ordinary: bytes = b"",
) -> Gate:
    """Whether no file holds a text of ``foreign``, which are texts of other teams by kind.

    Texts are compared as whole words, as they stand and as HTML and JSON write them; workbooks are
    unpacked. A text that is too short to tell anything, or whose words all stand in the kit's own
    source or in ``ordinary`` (the template), is left out. A text that is found is no leak when
    ``is_own`` says that the team's own rows hold it too. The detail names files and kinds, never a
    foreign text.
    """
    usual = _kit_words() | _words(ordinary)
    wanted = {text: kind for kind, texts in foreign.items() for text in texts if _is_telling(text, usual)}
    search = _Search(wanted)
    found: dict[str, dict[str, None]] = {}
    judged: dict[str, bool] = {}
    count = 0
    for path in files:
        count += 1
        for content in _contents(path):
            for text in search.texts_in(content):
                if text not in judged:
                    judged[text] = is_own(text)
                if not judged[text]:
                    found.setdefault(path.name, {})[wanted[text]] = None
    if found:
        places = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in found.items())
        return Gate(name=ISOLATION, status="failed", detail=f"texts of other teams stand in {places}")
    return Gate(name=ISOLATION, status="passed", detail=f"{len(wanted)} texts of other teams, {count} files")


class _Search:
    """Many texts looked for at once: content is split into words, and only a text whose words are all
    among them is looked for as a whole."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.worded: list[tuple[frozenset[bytes], bytes, str]] = []
        self.unbounded: list[tuple[bytes, str]] = []
        for text in wanted:
            for spelling in _spellings(text):
                raw = spelling.encode("utf-8", "surrogatepass")
                if raw.isascii():
                    words = raw.translate(_WORDS_ONLY).split()
                    self.worded.append((frozenset(words), b" %b " % b" ".join(words), text))
                else:
                    # Many scripts put no space between words.
                    self.unbounded.append((raw, text))

    def texts_in(self, content: bytes) -> Iterator[str]:
        words = content.translate(_WORDS_ONLY).split()
        distinct = set(words)
        likely = [(padded, text) for needed, padded, text in self.worded if needed <= distinct]
        if likely:
            plain = b" %b " % b" ".join(words)
            yield from (text for padded, text in likely if padded in plain)
        yield from (text for raw, text in self.unbounded if raw in content)


def _spellings(text: str) -> set[str]:
    """A text as it stands, in HTML as Python and as Jinja write it, and all in JSON."""
    escaped = html.escape(text)
    spellings = {text, escaped, escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    return {*spellings, *(json.dumps(spelling)[1:-1] for spelling in spellings)}


def _contents(path: Path) -> Iterator[bytes]:
    if path.suffix != ".xlsx":
        yield path.read_bytes()
        return
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            yield book.read(name)


def _is_telling(text: str, usual: frozenset[bytes]) -> bool:
    words = text.encode("utf-8", "surrogatepass").translate(_WORDS_ONLY).split()
    size = sum(len(word) for word in words)
    if size < SHORTEST_TEXT or (size < SHORTEST_NUMBER and all(word.isdigit() for word in words)):
        return False
    return not all(word in usual for word in words)


def _words(content: bytes) -> frozenset[bytes]:
    return frozenset(content.translate(_WORDS_ONLY).split())


@lru_cache(maxsize=1)
def _kit_words() -> frozenset[bytes]:
    """Every word of the kit's sources, which its pages may use for whatever they have to say."""
    words: frozenset[bytes] = frozenset()
    for path in sorted(KIT.rglob("*")):
        if path.suffix in (".py", ".j2", ".css", ".js", ".json", ".po", ".mo"):
            words |= _words(path.read_bytes())
    return words
