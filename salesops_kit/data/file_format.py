"""How a file writes its values, as declared: nothing about it is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from salesops_kit.settings import Settings

_DIRECTIVE = re.compile(r"%-?(.)", re.DOTALL)
_DIRECTIVES = "aAbBcdDfgGHIjmMnpSuUVwWxXyYzZ%"
EITHER = "iso_or_epoch_ms"
ALONE = ("iso", "epoch_ms", EITHER)


def _known_formats(value: tuple[str, ...] | str) -> tuple[str, ...] | str:
    if isinstance(value, str) and value in ALONE:
        return value
    for written in (value,) if isinstance(value, str) else value:
        found = _DIRECTIVE.findall(written)
        if not found or set(found) - set(_DIRECTIVES) or written.replace("%%", "").endswith("%"):
            either = "expected iso, epoch_ms, iso_or_epoch_ms"
            expected = f"{either}, or formats such as %d.%m.%Y (a list holds only those)"
            raise ValueError(f"{expected}, got {written!r}")
    return value


def _known_zone(value: str) -> str:
    return Settings(zone=value).zone if value else value


DateFormats = Annotated[tuple[str, ...] | str, AfterValidator(_known_formats)]
Zone = Annotated[str, AfterValidator(_known_zone)]


class FileFormat(BaseModel):
    """How one file writes its values. What is not declared is not guessed.

    ``dates`` and ``instants`` are strptime formats, or ``iso``, ``epoch_ms`` or ``iso_or_epoch_ms``; a
    list is tried in order. ``zone`` is the zone of instants that carry no offset (empty: the dataset's zone).
    ``currency_symbols`` (a list, or a text of single characters) are dropped from either end of a
    number. ``full_width`` reads full-width digits and signs and the Unicode minus as their ASCII forms.
    ``short_ids`` (length: length) cuts ids of one length to another, for systems that write the same id
    both with and without check characters. ``footer_lines`` are the beginnings of lines that a report
    puts below its rows: from the first of them on, what follows at the end of the file is left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Annotated[str, Field(min_length=1, max_length=1)] = "."
    thousands: Annotated[str, Field(max_length=1)] = ""
    parentheses_are_negative: bool = False
    currency_symbols: tuple[str, ...] | str = ()
    full_width: bool = False
    dates: DateFormats = "iso"
    instants: DateFormats = "iso"
    zone: Zone = ""
    null_values: tuple[str, ...] = ("",)
    short_ids: dict[int, int] = Field(default_factory=dict)
    footer_lines: tuple[str, ...] = ()


def formats_for(names: Iterable[str], declared: Mapping[str, FileFormat]) -> dict[str, FileFormat]:
    """Each file's format: what is declared for its name, over what is declared for ``*``."""
    common = declared.get("*", FileFormat())
    return {
        name: common.model_copy(update=_declared(declared[name])) if name in declared else common
        for name in names
    }


def _declared(fmt: FileFormat) -> dict[str, Any]:
    return {name: getattr(fmt, name) for name in fmt.model_fields_set}
