"""An executed notebook as a self-contained HTML page without code."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_kit import formats
from salesops_kit.language import _, text_language, use_locale
from salesops_kit.publishing.manifest import Manifest
from salesops_kit.publishing.markdown import Markdown, contents

if TYPE_CHECKING:
    import nbformat

PAGE = Path(__file__).parent / "page"
_ISO_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


def page_digest(folder: Path = PAGE) -> str:
    """The sha256 of the page template's files, names included."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def render(notebook: nbformat.NotebookNode, facts: Mapping[str, Any], *, locale: str) -> str:
    """The page of an executed notebook in a language.

    ``facts`` is what the page template finds in ``resources["salesops"]``: title, report, team,
    quarter, period_text, as_of, banner, manifest, sentinel, links, contents; ``translate`` is
    there for the template's own words. Code, prompts and stderr
    are absent, not hidden; cells tagged remove-cell and outputs tagged remove-output too. A Markdown
    cell is translated whole.
    """
    with use_locale(locale):
        shown = _shown(notebook)
        facts = {**facts, "lang": text_language(), "contents": contents(shown.cells)}
        resources = {"salesops": facts, "metadata": {"name": str(facts.get("title", ""))}}
        exporter = _exporter()
        exporter.register_filter("markdown2html", Markdown())
        page, _resources = exporter.from_notebook_node(shown, resources=resources)
    return str(page)


@lru_cache(maxsize=1)
def _exporter() -> Any:
    # Its HTML exporter would parse the page once more, for what our template has seen to: it takes as long
    # as all else.
    from nbconvert import TemplateExporter
    from traitlets.config import Config

    config = Config(
        {
            "TagRemovePreprocessor": {
                "enabled": True,
                "remove_cell_tags": {"remove-cell"},
                "remove_all_outputs_tags": {"remove-output"},
                "remove_input_tags": {"remove-input"},
            }
        }
    )
    return TemplateExporter(
        config=config,
        template_name=PAGE.name,
        template_extension=".html.j2",
        file_extension=".html",
        extra_template_basedirs=[str(PAGE.parent)],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        optimistic_validation=True,
        filters={"translate": _, "dates": _readable_dates, "base64": _base64},
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _readable_dates(text: str) -> str:
    """A text with its ISO dates as the reader's language writes them."""
    return _ISO_DATE.sub(lambda found: formats.date(found[0]), text)


def _shown(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cells as a reader sees them: Markdown in the reader's language, no stderr."""
    from nbformat import from_dict

    cells = []
    for cell in notebook.cells:
        changed = dict(cell)
        if cell.cell_type == "markdown":
            changed["source"] = _(cell.source)
        elif cell.cell_type == "code":
            changed["outputs"] = [
                output
                for output in cell.outputs
                if not (output.output_type == "stream" and output.name == "stderr")
            ]
        cells.append(changed)
    return from_dict({**notebook, "cells": cells})


def page_facts(manifest: Manifest, title: str, sentinel: str) -> dict[str, Any]:
    """What a page says about itself, from its manifest."""
    return {
        "title": title,
        "report": manifest.report,
        "team": manifest.scope,
        "quarter": manifest.quarter,
        "period_text": manifest.period,
        "as_of": manifest.as_of,
        "banner": [],
        "manifest": {
            "run": manifest.run,
            "seq": manifest.seq,
            "key": manifest.key,
            "audience": manifest.audience,
            "reason": manifest.reason,
            "params": manifest.params,
        },
        "sentinel": sentinel,
        "links": [],
    }


def banner(level: str, text: str) -> list[dict[str, str]]:
    """The ``banner`` fact of a page: one note above the title; ``level`` is stale, warning or note."""
    return [{"level": level, "text": text}] if text else []
