"""How the import files of the CRMs name records and fields."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from salesops_kit.yaml_text import read_yaml

FORMATS = ("salesforce", "hubspot")
_FILE = Path(__file__).parent / "crm_fields.yml"


@dataclass(frozen=True)
class CrmTable:
    """One table as a CRM imports it: its object, the column of the id, and the names of its fields."""

    object: str
    id: str
    fields: Mapping[str, str]
    recode: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@functools.cache
def crm_tables(format_: str) -> Mapping[str, CrmTable]:
    """The tables that a CRM's import can mend, by the kit's names.

    >>> crm_tables("salesforce")["opportunities"].fields["close_date"]
    'CloseDate'
    """
    return {name: CrmTable(**values) for name, values in read_yaml(_FILE)[format_].items()}
