"""Markup that Python's reader and a browser may take for different pages, refused before it is judged."""

from __future__ import annotations

import re
from collections.abc import Iterator

VOID = frozenset(
    {
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    }
)
# A browser reads what is in them by rules of its own, to an end that it finds in its own way.
RAW = frozenset(
    {
        "textarea",
        "title",
        "xmp",
        "noscript",
        "noembed",
        "noframes",
        "plaintext",
        "iframe",
        "select",
        "template",
        "listing",
    }
)
# What need not be closed.
OPTIONAL = frozenset("p li td th tr tbody thead tfoot dt dd option colgroup caption".split())  # noqa: SIM905
FOREIGN = frozenset({"svg", "math"})
SHOWN = 20
_NAME = r"[^\s\"'<>/=\x00]+"
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+)"
_ATTRIBUTES = rf"(?:\s+{_NAME}(?:\s*=\s*{_VALUE})?)*"
_TOKEN = re.compile(
    rf"<!--(?P<comment>.*?)-->|<(?P<end>/?)(?P<tag>[A-Za-z][^\s/>\x00<]*)(?P<attributes>{_ATTRIBUTES})"
    r"\s*(?P<closes>/?)>|<(?=[A-Za-z/!?])",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(rf"\s+({_NAME})(?:\s*=\s*{_VALUE})?", re.DOTALL)


def ambiguous_markup(page: str) -> list[str]:
    """What of a page's markup a browser may read otherwise than as it is written; empty for plain markup.

    Plain are tags whose attributes are each named once, comments without tricks, elements that are closed
    in order (those of lists, tables and paragraphs need not be), and style sheets without ``<``. The
    document type is not looked at.

    >>> ambiguous_markup('<!DOCTYPE html><p class=a>1 &lt; 2<p>b<svg><path d="M0"/></svg>')
    []
    >>> ambiguous_markup('<!DOCTYPE html><a href="#" href="x">a</a><div/>')
    ['an attribute twice on <a>', '<div/>, which a browser takes for open', '<div> is never closed']
    """
    return list(dict.fromkeys(_problems(page)))


def _problems(page: str) -> Iterator[str]:
    open_: list[str] = []
    place = page.find(">") + 1
    while found := _TOKEN.search(page, place):
        place = found.end()
        if found["comment"] is not None:
            if found["comment"].startswith((">", "->")) or "--!>" in found[0] or "<!--" in found["comment"]:
                yield "a comment that a browser may end elsewhere"
            continue
        if found["tag"] is None:
            yield f"markup that can be read in two ways: {page[found.start() : found.start() + SHOWN]!r}"
            continue
        tag = found["tag"].lower()
        names = [name.lower() for name in _ATTRIBUTE.findall(found["attributes"])]
        if len(names) != len(set(names)):
            yield f"an attribute twice on <{tag}>"
        if found["end"]:
            while open_ and open_[-1] != tag and open_[-1] in OPTIONAL:
                open_.pop()
            if not open_ or open_.pop() != tag:
                yield f"</{tag}> closes nothing"
            continue
        is_foreign = tag in FOREIGN or any(name in FOREIGN for name in open_)
        if tag in RAW and not (tag == "title" and (is_foreign or "body" not in open_)):
            yield f"a <{tag}> element"
        if found["closes"] and not is_foreign and tag not in VOID:
            yield f"<{tag}/>, which a browser takes for open"
        elif found["closes"] or tag in VOID:
            continue
        if tag == "style":
            end = page.find("</style>", place)
            if end < 0 or "<" in page[place:end]:
                yield "a <style> element that a browser may end elsewhere"
            place = end + len("</style>") if end >= 0 else len(page)
            continue
        if tag in OPTIONAL and open_ and open_[-1] == tag:
            open_.pop()
        open_.append(tag)
    if left := [tag for tag in open_ if tag not in OPTIONAL]:
        yield f"<{left[-1]}> is never closed"
