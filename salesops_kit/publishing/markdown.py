"""Markdown cells as HTML whose headings have ids that a table of contents can link to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import nbformat

_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_NO_ID = re.compile(r"[^\w]+")


class Markdown:
    """Renders the cells of one page in order, so that each heading's id is its own.

    ``headings`` collects level, text and id of what was rendered.
    """

    def __init__(self) -> None:
        from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

        self._markdown = MarkdownWithMath(renderer=IPythonRenderer(escape=False, exclude_anchor_links=True))
        self._taken: set[str] = set()
        self.headings: list[dict[str, Any]] = []

    def __call__(self, source: str) -> str:
        """The HTML of one cell."""
        return _HEADING.sub(self._with_id, str(self._markdown.render(source)))

    def _with_id(self, found: re.Match[str]) -> str:
        level, inner = found[1], found[2]
        text = html.unescape(_TAG.sub("", inner)).strip()
        base = name = _NO_ID.sub("-", text.lower()).strip("-") or "section"
        number = 1
        while name in self._taken:
            number += 1
            name = f"{base}-{number}"
        self._taken.add(name)
        self.headings.append({"level": int(level), "text": text, "id": name})
        return f'<h{level} id="{html.escape(name)}">{inner}</h{level}>'


def contents(cells: Iterable[nbformat.NotebookNode]) -> list[dict[str, Any]]:
    """The headings of Markdown cells that readers see, in order, as level, text and id."""
    markdown = Markdown()
    for cell in cells:
        if cell.cell_type == "markdown" and "remove-cell" not in cell.metadata.get("tags", []):
            markdown(cell.source)
    return markdown.headings
