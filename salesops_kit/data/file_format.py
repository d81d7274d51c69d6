"""How a file writes its values, as declared: nothing about it is guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class FileFormat(BaseModel):
    """How one file writes its values. What is not declared is not guessed.

    ``dates`` and ``instants`` are strptime formats, or ``iso`` or ``epoch_ms``; a list is tried in
    order. ``zone`` is the zone of instants that carry no offset (empty: the dataset's zone).
    ``currency_symbols`` (a list, or a text of single characters) are dropped from either end of a
    number. ``full_width`` reads full-width digits and signs and the Unicode minus as their ASCII forms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    parentheses_are_negative: bool = False
    currency_symbols: tuple[str, ...] | str = ()
    full_width: bool = False
    dates: tuple[str, ...] | str = "iso"
    instants: tuple[str, ...] | str = "iso"
    zone: str = ""
    null_values: tuple[str, ...] = ("",)


def formats_for(names: Iterable[str], declared: Mapping[str, FileFormat]) -> dict[str, FileFormat]:
    """Each file's format: what is declared for its name, over what is declared for ``*``."""
    common = declared.get("*", FileFormat())
    return {
        name: common.model_copy(update=_declared(declared[name])) if name in declared else common
        for name in names
    }


def _declared(fmt: FileFormat) -> dict[str, Any]:
    return {name: getattr(fmt, name) for name in fmt.model_fields_set}
