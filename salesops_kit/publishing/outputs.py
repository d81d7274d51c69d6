"""The outputs of an executed notebook: read by type, and cut to a size that a page can hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from salesops_kit.language import _
from salesops_kit.mime import HEADLINE, OWN_TYPES, TABLE

if TYPE_CHECKING:
    import nbformat

LONGEST_TEXT = 200_000
LONGEST_PICTURE = 8_000_000


def typed(notebook: nbformat.NotebookNode, kind: str) -> list[dict[str, Any]]:
    """The payloads of one MIME type, in the order of the notebook."""
    return [dict(data[kind]) for data in _data(notebook) if isinstance(data.get(kind), dict)]


def _data(notebook: nbformat.NotebookNode) -> Iterator[Any]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("data", {})


def malformed(notebook: nbformat.NotebookNode) -> list[str]:
    """What is wrong with the shape of headlines and tables, so that nothing half read is published."""
    wrong = []
    seen: set[str] = set()
    for payload in typed(notebook, HEADLINE):
        name = payload.get("id")
        value = payload.get("value")
        if not isinstance(name, str) or not name:
            wrong.append("a headline has no id")
        elif name in seen:
            wrong.append(f"two headlines have the id {name!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float | None):
            wrong.append(f"the value of headline {name!r} is no number")
        seen.add(str(name))
    for payload in typed(notebook, TABLE):
        columns, rows = payload.get("columns"), payload.get("rows")
        if not isinstance(columns, list) or not isinstance(rows, list) or not payload.get("id"):
            wrong.append(f"table {payload.get('id')!r} has no id, columns or rows")
        elif any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
            wrong.append(f"table {payload['id']!r} has rows of another width than its columns")
    return wrong


def trim(notebook: nbformat.NotebookNode) -> tuple[nbformat.NotebookNode, int]:
    """The notebook with oversized outputs cut, and how many were.

    Text over 200,000 characters keeps its beginning; a picture or HTML over 8,000,000 cannot be cut
    and gives way to a note. Typed outputs of the kit are kept whole. The same object comes back when
    nothing is too long.
    """
    from nbformat import from_dict

    cells = []
    count = 0
    for cell in notebook.cells:
        outputs = [_trimmed(output) for output in cell.get("outputs", [])]
        changed = sum(new is not old for new, old in zip(outputs, cell.get("outputs", []), strict=True))
        if changed:
            count += changed
            cell = from_dict({**cell, "outputs": outputs})
        cells.append(cell)
    return (from_dict({**notebook, "cells": cells}) if count else notebook), count


def _note(size: int) -> str:
    return _("This output was cut: it held {size} characters.").format(size=f"{size:,}")


def _trimmed(output: Any) -> Any:
    from nbformat import from_dict

    if output.output_type == "stream":
        if len(output.text) <= LONGEST_TEXT:
            return output
        return from_dict({**output, "text": f"{output.text[:LONGEST_TEXT]}\n{_note(len(output.text))}\n"})
    data = output.get("data", {})
    sizes = {
        kind: len(text)
        for kind, text in data.items()
        if isinstance(text, str) and len(text) > (LONGEST_TEXT if kind == "text/plain" else LONGEST_PICTURE)
    }
    if not sizes:
        return output
    plain = str(data.get("text/plain", ""))
    if set(sizes) == {"text/plain"}:
        kept = {kind: value for kind, value in data.items() if kind != "text/plain"}
        plain = plain[:LONGEST_TEXT]
    else:
        kept = {kind: value for kind, value in data.items() if kind.startswith(OWN_TYPES)}
        plain = plain[:1_000]
    return from_dict({**output, "data": {**kept, "text/plain": f"{plain}\n{_note(max(sizes.values()))}"}})
