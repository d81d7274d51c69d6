"""Rows of a fix list that no update file can mend: they are listed, and mended where they came from."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import ibis
import pandas as pd

from salesops_kit.data import engine
from salesops_kit.data.cleaning import EXCLUSIONS, SET_ASIDE
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.dataset import Rows
from salesops_kit.fixes.crm import FORMATS, crm_tables
from salesops_kit.fixes.sheets import FixRow
from salesops_kit.language import _

_IN_CRM = "Mend it by hand, in the CRM."
_MERGE = "merge into {record_id}"

Ids = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class ByHand:
    """What can tell whether a row is mended by hand: per table the ``fields`` that an update file holds
    and the ``known`` ids among those asked for, and by table and record what was set ``aside``."""

    data: Rows
    fields: Mapping[str, Collection[str]]
    known: Ids
    aside: Mapping[tuple[str, str], Collection[tuple[str, str]]]

    def why(self, row: FixRow) -> tuple[str, str] | None:
        """Why a row is mended by hand, and how; None where an update file can mend it or the row
        is wrong.

        A record that was set aside may repeat the key of one that is known: then the row is about what
        was set aside when it shows that one's value.
        """
        if is_merge(row.suggested) or is_merge(row.new_value):
            return "records are merged in the CRM and by no update file", "Merge them by hand."
        aside = self.aside.get((row.table, row.record_id))
        if aside and (
            row.record_id not in self.known.get(row.table, ()) or (row.field, row.value.strip()) in aside
        ):
            return "the import set this record aside", "Mend it by hand, in the CRM or the export."
        if row.table not in TABLES:
            return None
        if row.table not in self.fields:
            return f"no update file holds records of {row.table}", _IN_CRM
        if not row.field:
            return "the row is about the record as a whole", _IN_CRM
        if row.field not in self.fields[row.table] and row.field in self._columns(row.table):
            return f"no update file holds {row.field} of {row.table}", _IN_CRM
        return None

    def _columns(self, table: str) -> set[str]:
        held = self.data.table(table).columns if table in self.data.tables else ()
        return {*TABLES[table].columns, *held}


def by_hand(rows: Sequence[FixRow], data: Rows, fields: Mapping[str, Collection[str]]) -> ByHand:
    """What tells of these rows which are mended by hand; ``fields`` are those of an update file by table."""
    return ByHand(data, fields, _known_ids(rows, data), _set_aside(data))


def is_merge(text: str) -> bool:
    """Whether a text suggests to merge a record into another, in the reader's language or in English.

    >>> is_merge("merge into AC0000008"), is_merge("Mergers Ltd")
    (True, False)
    """
    if not text:
        return False
    forms = (re.escape(form).replace(re.escape("{record_id}"), r"\S.*") for form in {_MERGE, _(_MERGE)})
    return any(re.fullmatch(form, text.strip(), re.IGNORECASE) for form in forms)


def marked(frame: pd.DataFrame, data: Rows) -> pd.DataFrame:
    """A fix list with ``by_hand``, true where no CRM's update file can mend the row. A merge, which is
    about the record as a whole, names no field."""
    fields: dict[str, set[str]] = {}
    for name in FORMATS:
        for table, crm in crm_tables(name).items():
            fields.setdefault(table, set()).update(crm.fields)
    columns = ("table", "record_id", "field", "value", "suggested")
    texts = frame[list(columns)].astype(object).where(frame[list(columns)].notna(), "").astype(str)
    rows = [
        FixRow("", 0, row.table, row.record_id, row.field, row.value, "", row.suggested)
        for row in texts.itertuples()
    ]
    told = by_hand(rows, data, fields)
    merges = [is_merge(row.suggested) for row in rows]
    return frame.assign(
        field=frame["field"].mask(pd.Series(merges, index=frame.index, dtype=bool), ""),
        by_hand=pd.Series([told.why(row) is not None for row in rows], index=frame.index, dtype=bool),
    )


def _known_ids(rows: Sequence[FixRow], data: Rows) -> dict[str, set[str]]:
    """The ids of the rows' records that the data knows, by table."""
    found: dict[str, set[str]] = {}
    for name in sorted({row.table for row in rows} & set(data.tables) & set(TABLES)):
        key = TABLES[name].key
        if len(key) == 1:
            wanted = sorted({row.record_id for row in rows if row.table == name})
            table = data.table(name)
            listed = ibis.memtable({"wanted": wanted}, schema={"wanted": "string"})
            ids = engine.collect(table.semi_join(listed, table[key[0]] == listed.wanted).select(key[0]))
            found[name] = {str(value) for value in ids[key[0]]}
    return found


def _set_aside(data: Rows) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """The field and value of each record that was set aside, by the table and id that a fix list gives it:
    its key or, where it has none, its file and row."""
    if EXCLUSIONS not in data.tables:
        return {}
    columns = ["table_name", "key", "source_file", "source_row", "column_name", "got", "action"]
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    # All of them are collected, as for the list itself, so that the numbers of rows read alike.
    frame = engine.collect(data.table(EXCLUSIONS).select(*columns))
    places = [f"{file}, {row}" for file, row in zip(frame["source_file"], frame["source_row"], strict=True)]
    texts = frame.astype(object).where(frame.notna(), "").assign(place=places)
    for row in texts[texts["action"] == SET_ASIDE].itertuples():
        record = row.key if row.key.strip() else row.place
        found.setdefault((row.table_name, record), set()).add((row.column_name, row.got.strip()))
    return found
