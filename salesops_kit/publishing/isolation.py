"""A search of every file of a report for texts that belong to other teams alone."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from salesops_kit.publishing.manifest import Gate

ISOLATION = "isolation"
KIT = Path(__file__).parents[1]
SHORTEST_TEXT = 5
SHORTEST_NUMBER = 10
_LETTERS = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TAG = re.compile(rb"<[^<>]{1,2000}>")
# Characters between words as entities, as escapes of JSON, also within JSON, and colours of a terminal.
_ENTITY = rb"(?:lt|gt|quot|apos|nbsp|amp|#39|#34|#x27|#x22);"
_WRITTEN = re.compile(
    rb"&(?:amp;)*" + _ENTITY + rb"|(?:\x1b|\\+u001[bB])\[[0-9;]*m|\\+u([0-9a-fA-F]{4})|\\+[nrtbf]"
)
# Bytes of other scripts count as letters: in UTF-8 they are above the ASCII range.
_WORDS_ONLY = bytes(byte if byte in _LETTERS or byte >= 0x80 else 0x20 for byte in range(256))


@dataclass(frozen=True)
class Foreign:
    """The texts of other teams that no file of a report may hold, by kind.

    ``is_own`` says whether the team's own rows mention a text after all. A text that is too short to tell
    anything, or whose words all stand in the kit's own source or in ``ordinary`` (the template), is not
    looked for. Texts are compared as whole words, however HTML, JSON, CSV or a terminal write what stands
    between them, within and across elements.
    """

    texts: Mapping[str, Iterable[str]]
    is_own: Callable[[str], bool]
    ordinary: bytes = b""

    @cached_property
    def wanted(self) -> dict[str, str]:
        """The kind of each text that is looked for."""
        usual = _kit_words() | _words(self.ordinary)
        return {
            text: kind for kind, texts in self.texts.items() for text in texts if _is_telling(text, usual)
        }

    @cached_property
    def _search(self) -> _Search:
        return _Search(self.wanted)

    @cached_property
    def _judged(self) -> dict[str, bool]:
        return {}

    def kinds_in(self, content: bytes) -> Iterator[str]:
        """The kinds of the foreign texts that a content holds."""
        for text in self._search.texts_in(content):
            if text not in self._judged:
                self._judged[text] = self.is_own(text)
            if not self._judged[text]:
                yield self.wanted[text]


def isolation_gate(files: Iterable[Path], foreign: Foreign) -> Gate:
    """Whether no file holds a foreign text; workbooks are unpacked. The detail names files and kinds, never
    a foreign text."""
    found: dict[str, dict[str, None]] = {}
    count = 0
    for path in files:
        count += 1
        for content in _contents(path):
            for kind in foreign.kinds_in(content):
                found.setdefault(path.name, {})[kind] = None
    if found:
        places = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in found.items())
        return Gate(name=ISOLATION, status="failed", detail=f"texts of other teams stand in {places}")
    detail = f"{len(foreign.wanted)} texts of other teams, {count} files"
    return Gate(name=ISOLATION, status="passed", detail=detail)


class _Search:
    """Many texts looked for at once: content is split into words, and only a text whose words are all
    among them is looked for as a whole."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.worded: list[tuple[frozenset[bytes], bytes, str]] = []
        self.unbounded: list[tuple[bytes, str]] = []
        for text in wanted:
            raw = text.encode("utf-8", "surrogatepass")
            words = _plain_words(raw)
            if raw.isascii():
                self.worded.append((frozenset(words), _padded(words), text))
            else:
                # Many scripts put no space between words.
                self.unbounded.append((b" ".join(words), text))

    def texts_in(self, content: bytes) -> Iterator[str]:
        words = _plain_words(content)
        distinct, plain = set(words), _padded(words)
        apart: list[tuple[bytes, str]] = []
        for needed, padded, text in self.worded:
            if needed <= distinct:
                if padded in plain:
                    yield text
                else:
                    apart.append((padded, text))
        for joined, text in self.unbounded:
            if joined in plain:
                yield text
            elif b" " in joined and all(part in plain for part in joined.split()):
                apart.append((joined, text))
        if apart and b"<" in content:
            # Its words are all there: it may be set in several elements.
            plain = _padded(_plain_words(_TAG.sub(b" ", content)))
            yield from (text for looked_for, text in apart if looked_for in plain)


def _padded(words: Iterable[bytes]) -> bytes:
    return b" %b " % b" ".join(words)


def _plain_words(content: bytes) -> list[bytes]:
    """The words of a content, however HTML, JSON, CSV or a terminal write what stands between them."""
    if b"&" in content or b"\\" in content or b"\x1b" in content:
        content = _WRITTEN.sub(_meant, content)
        if b"\xed" in content:
            # JSON writes a character beyond the first plane as two halves.
            halves = content.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
            content = halves.decode("utf-16", "replace").encode("utf-8")
    return content.translate(_WORDS_ONLY).split()


def _meant(found: re.Match[bytes]) -> bytes:
    return chr(int(found[1], 16)).encode("utf-8", "surrogatepass") if found[1] else b" "


def _contents(path: Path) -> Iterator[bytes]:
    if path.suffix != ".xlsx":
        yield path.read_bytes()
        return
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            yield book.read(name)


def _is_telling(text: str, usual: frozenset[bytes]) -> bool:
    words = _plain_words(text.encode("utf-8", "surrogatepass"))
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
