"""The last look at a page before it is published: whole, inert, and asking nothing of any network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from salesops_kit.publishing.page_markup import ambiguous_markup

FORBIDDEN = frozenset(
    {"script", "iframe", "frame", "object", "embed", "applet", "base", "form", "portal", "foreignobject"}
    | {"animate", "animatetransform", "set"}
)
_ADDRESSES = frozenset(
    {"src", "srcset", "href", "xlink:href", "poster", "data", "action", "formaction", "background", "cite"}
    | {"longdesc", "manifest", "ping", "srcdoc", "archive", "codebase", "classid", "profile", "usemap"}
)
_STYLES = frozenset(
    {"style", "fill", "stroke", "mask", "filter", "clip-path", "cursor"}
    | {"marker", "marker-start", "marker-mid", "marker-end"}
)
_CSS_REQUEST = re.compile(
    r"@import|url\((?!\s*['\"]?(#|data:(image|font)/))|expression\(|image-set\(", re.IGNORECASE
)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_INERT_DATA = re.compile(
    r"data:(image/(png|jpeg|gif|webp|svg\+xml)|font/woff2?);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE
)
_INVISIBLE = re.compile(r"[\x00-\x20\u00a0\u200b-\u200f\u2028\u2029\ufeff]")


class _Reader(HTMLParser):
    def __init__(self, allowed_links: Sequence[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.seen: dict[str, int] = {}
        self.policy = ""
        self.in_style = False
        self.style = ""
        self.allowed = tuple(allowed_links)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag in FORBIDDEN:
            self.problems.append(f"a <{tag}> element")
        self.in_style = tag == "style"
        values = {name: value or "" for name, value in attrs}
        if tag == "meta":
            self._meta(values)
        for name, value in values.items():
            self._attribute(tag, name, value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self.in_style = False
            self._css(self.style)
            self.style = ""

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.style += data

    def _meta(self, values: dict[str, str]) -> None:
        kind = values.get("http-equiv", "").lower()
        if kind == "content-security-policy":
            self.policy = values.get("content", "")
        elif kind:
            self.problems.append(f"a meta http-equiv {kind[:40]!r}")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on"):
            self.problems.append(f"a handler {name!r} on <{tag}>")
        if name in _STYLES:
            self._css(value)
        if name not in _ADDRESSES:
            return
        bare = _INVISIBLE.sub("", value)
        if name in ("srcdoc", "ping", "srcset"):
            self.problems.append(f"an attribute {name!r} on <{tag}>")
        elif tag == "a" and name == "href" and any(value.startswith(prefix) for prefix in self.allowed):
            return
        elif bare.startswith(("//", "\\\\", "/\\", "\\/")):
            self.problems.append(f"an external address in {name!r} on <{tag}>")
        elif _SCHEME.match(bare) and not (tag in ("img", "image") and _INERT_DATA.fullmatch(value)):
            self.problems.append(f"an address {bare.split(':')[0][:20].lower()}: in {name!r} on <{tag}>")
        elif tag != "a" and bare and not bare.startswith("#") and not _INERT_DATA.fullmatch(value):
            self.problems.append(f"<{tag}> asks for {bare[:40]!r}")

    def _css(self, text: str) -> None:
        decoded = re.sub(r"\\([0-9a-fA-F]{1,6})\s?", lambda m: chr(min(int(m[1], 16), 0x10FFFF)), text)
        if _CSS_REQUEST.search(decoded):
            self.problems.append("a style that asks for an address")


def link_prefix(pattern: str) -> list[str]:
    """The fixed beginning of a record-link pattern, when it names a host by https; else nothing.

    >>> link_prefix("https://crm.example.com/deal/{opportunity_id}")
    ['https://crm.example.com/deal/']
    """
    prefix = pattern.partition("{")[0]
    return [prefix] if re.match(r"https://[A-Za-z0-9.-]+(:\d+)?/", prefix) else []


def page_problems(page: str, sentinel: str, *, allowed_links: Sequence[str] = ()) -> list[str]:
    """Everything that keeps a page from being published; empty for a good page.

    A good page is one whole HTML document with a language, one h1 and the run's sentinel; a policy
    that starts from ``default-src 'none'`` and names no script source; no script, handler, frame or
    form; no address that a browser would fetch or run. Links may go to relative addresses, fragments
    and those that begin with one of ``allowed_links``. Its markup is plain, so that a browser reads the
    page that is judged here: see :func:`~salesops_kit.publishing.page_markup.ambiguous_markup`.
    """
    reader = _Reader(allowed_links)
    reader.feed(page)
    reader.close()
    problems = list(dict.fromkeys([*reader.problems, *ambiguous_markup(page)]))
    if not page.lstrip()[:15].lower().startswith("<!doctype html>") or not page.rstrip().endswith("</html>"):
        problems.append("not one whole HTML document")
    for tag in ("html", "body", "h1", "title"):
        limit = reader.seen.get(tag, 0)
        if limit < 1 or (limit > 1 and tag != "title"):
            problems.append(f"{limit} <{tag}> elements")
    policy = reader.policy.replace(" ", "").lower()
    if not policy.startswith("default-src'none'") or "script-src" in policy:
        problems.append("no policy that forbids scripts and requests")
    if sentinel not in page:
        problems.append("the sentinel of this run is missing")
    return problems
