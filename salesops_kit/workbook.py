"""The one thing that a template opens: its scope's rows, tables, headlines, figures, and the end mark."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import publish_display_data

from salesops_kit import formats
from salesops_kit.compute import Calculator, plain, reference_for, resolve_as_of, resolve_choice, small_frames
from salesops_kit.data import engine, scope
from salesops_kit.data.as_of import STATES
from salesops_kit.data.cleaning import EXCLUSIONS
from salesops_kit.data.dataset import Rows, open_rows, open_snapshot
from salesops_kit.data.slices import open_slice
from salesops_kit.declarations import LISTED, NOTED, RAISED, reads
from salesops_kit.display import figure as figures
from salesops_kit.display import notices, tables
from salesops_kit.display.heat import heat_html
from salesops_kit.display.narrative import Exhibit
from salesops_kit.errors import InputError, NotAvailableError, Problem
from salesops_kit.language import _
from salesops_kit.mime import HEADLINE, QUALITY, SENTINEL, TABLE
from salesops_kit.periods import Period
from salesops_kit.registry import find_table, references
from salesops_kit.registry import tables as registered
from salesops_kit.settings import COMPANY

CONTEXT_VARIABLE = "SALESOPS_CONTEXT"
# What Jupyter's server tells a kernel of the notebook that it was started for.
NOTEBOOK_VARIABLE = "JPY_SESSION_NAME"
EXCLUDED = "data.exclusions"
DIGITS = 6
MOST_EXPORTED_ROWS = 100_000


def open_workbook(
    *, team: str = COMPANY, quarter: str = "", as_of: str = "", data: str = "sample"
) -> Workbook:
    """Open a dataset for one scope, quarter and cut-off date.

    ``team``: a team, a parent team, or ``company`` for all. ``quarter``: a fiscal quarter such as
    ``2027-Q3``; empty is all history. ``as_of``: an ISO date, everything known at its end counts;
    empty is the earlier of the quarter's end and the data's. ``data``: a dataset's name or folder.

    Under the kit's driver the rows are the slice that the driver cut for these parameters; elsewhere
    the same slice is cut here. Raises :class:`InputError` with every wrong parameter.
    """
    given = {"team": team, "quarter": quarter, "as_of": as_of, "data": data}
    problems = [
        Problem(
            "expected text",
            column=name,
            got=repr(value),
            next_step=f"At the terminal of papermill give it with -r {name} VALUE, which keeps it text.",
        )
        for name, value in given.items()
        if not isinstance(value, str)
    ]
    if problems:
        raise InputError(problems)
    context = _driver_context(given)
    if context is not None:
        rows = open_slice(Path(context["slice"]))
        reference: Mapping[str, Any] = context["reference"]
        # The driver has checked the quarter, in which a team may have no row.
        period = rows.settings.fiscal.quarter(quarter) if quarter else None
        day = resolve_as_of(rows, as_of, period)
    else:
        whole = open_rows(open_snapshot(data))
        chosen = resolve_choice(whole, team=team, quarter=quarter, as_of=as_of)
        period, day = chosen.period, chosen.as_of
        rows = whole if chosen.members is None else scope.cut(whole, chosen.members)
        company = Calculator(whole, day, period)
        reference = _LazyReference(company, len(chosen.members or ()))
    calculator = Calculator(rows, day, period, reference)
    if context is None:
        return Workbook(calculator, team=team, checks=lambda: _raised_here(company, chosen.members))
    return Workbook(
        calculator, team=team, sentinel=context["sentinel"], declared=context["tables"],
        raised=context.get("raised", ()),
    )  # fmt: skip


def _driver_context(given: Mapping[str, str]) -> dict[str, Any] | None:
    """What the driver prepared for this kernel; None outside of it.

    Parameters that differ from the prepared ones are refused: the slice would not be theirs.
    """
    file = os.environ.get(CONTEXT_VARIABLE)
    if not file:
        return None
    context: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    wrong = [
        Problem("differs from what the run prepared", column=name, expected=str(prepared), got=given[name])
        for name, prepared in context["params"].items()
        if name in given and given[name] != prepared
    ]
    if wrong:
        raise InputError(wrong)
    return context


def _raised_here(company: Calculator, members: Sequence[str] | None) -> Sequence[Mapping[str, Any]]:
    """The checks that are raised by records of a scope in what the open notebook reads, as a run would have
    them. Where the notebook is not known, in any table."""
    from salesops_kit.analysis.quality import raised_for

    policy, declared = company.rows.policy, _declared_tables()
    severities = {check.severity for check in policy.checks}
    severities |= {level.severity for level in policy.process.service_levels}
    if not severities & {"error", "warning"} or LISTED in (declared or ()):
        return ()
    found = company.table(RAISED)
    read = set(found["table"]) if declared is None else {STATES, *reads(declared).tables}
    return raised_for(found, members=members, tables=read)


def _declared_tables() -> Sequence[str] | None:
    """The tables that the notebook declares which JupyterLab says this kernel runs; None without one."""
    file = Path(os.environ.get(NOTEBOOK_VARIABLE, ""))
    try:
        declared = json.loads(file.read_text(encoding="utf-8"))["metadata"]["salesops"]["tables"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [name for name in declared if name in registered()] if isinstance(declared, list) else None


class _LazyReference(Mapping[str, Any]):
    """Company-wide figures, those of an analysis computed when it first asks for them."""

    def __init__(self, company: Calculator, members: int) -> None:
        self._company, self._members = company, members
        self._figures: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._figures:
            self._figures[name] = reference_for(self._company.references(name), self._members)
        return self._figures[name][name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in references() if name in self)

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def __bool__(self) -> bool:
        return True


class Workbook:
    """The rows of one scope and what a template does with them."""

    def __init__(
        self, calculator: Calculator, *, team: str, sentinel: str = "",
        declared: Sequence[str] | None = None, raised: Sequence[Mapping[str, Any]] = (),
        checks: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:  # fmt: skip
        self._calculator = calculator
        self._sentinel = sentinel
        self._declared = declared
        self._raised = raised
        self._checks = checks
        self._is_told = False
        self._emitted: set[str] = set()
        self.team = team

    @property
    def rows(self) -> Rows:
        """The scope's own slice of every canonical table."""
        return self._calculator.rows

    @property
    def reference(self) -> Mapping[str, Any]:
        """Company-wide figures by analysis: plain numbers, to which three other teams contributed."""
        return self._calculator.reference or {}

    @property
    def as_of(self) -> dt.date:
        """The cut-off date in force: everything known at its end counts."""
        return self._calculator.as_of

    @property
    def period(self) -> Period | None:
        """The fiscal quarter; None for all history."""
        return self._calculator.period

    @property
    def parts(self) -> str:
        """The dimension that the scope is made of: ``team`` for several teams, ``owner_id`` for one."""
        if self.team == COMPANY:
            return "team"
        teams = self.rows.table("opportunity_states").select("team").distinct()
        return "team" if len(engine.collect(teams)) > 1 else "owner_id"

    def table(self, name: str, **options: Any) -> pd.DataFrame:
        """One table of an analysis, as ``salesops show`` gives it.

        Where the dataset lacks what the analysis needs, an empty frame whose
        ``attrs["unavailable"]`` says why; a figure or table of it then shows that sentence.
        Raises :class:`InputError` in a run for a table that the notebook's metadata do not declare: the
        slice holds what the declared ones read.
        """
        if self._declared is not None and name not in (*NOTED, *self._declared) and find_table(name):
            advice = "Add it to metadata.salesops.tables of the notebook."
            raise InputError(Problem(f"the notebook does not declare the table {name}", next_step=advice))
        try:
            frame = self._calculator.table(name, **options)
        except NotAvailableError as error:
            frame = pd.DataFrame()
            frame.attrs["unavailable"] = str(error)
        frame.attrs |= {"table": name, "options": options, "currency": self.rows.settings.base_currency}
        return frame

    @small_frames()
    def note(self) -> None:
        """Show whether the numbers tie with what was declared, what money is under flags, what the data
        lacks, and which checks are raised."""
        self._find_checks()
        flags, ties = (self.table(name) for name in NOTED)
        quality = notices.quality(flags, ties, currency=self.rows.settings.base_currency)
        errors, warnings, text = notices.checks(self._raised)
        quality["check_text"] = "" if self._is_told else text
        notes = [*notices.kinds(flags), *(_(text) for text in self.rows.notes)]
        lines = [_("As of {day}.").format(day=formats.date(self.as_of))]
        lines += [text for text in (quality["tie_text"], quality["flag_text"], quality["check_text"]) if text]
        payload = {
            "problems": int(flags["rows"].sum()) if len(flags) else 0,
            "excluded_rows": int(flags.attrs.get("set_aside", 0)),
            "touched": _rounded(flags.attrs.get("touched")),
            "ties": quality["ties"],
            "errors": errors,
            "warnings": warnings,
            "notes": [*lines, *notes],
        }
        publish_display_data(
            {
                "text/plain": "\n".join([*lines, *notes]),
                "text/html": figures.quality_html(quality, notes),
                QUALITY: payload,
            }
        )

    def _find_checks(self, *, is_said: bool = False) -> None:
        """Find out, once, which checks are raised where no run has; with ``is_said`` say it at once, as the
        head of a page would: in an open notebook the note comes below the headlines."""
        if self._checks is None:
            return
        self._raised, self._checks = self._checks(), None
        *_lists, text = notices.checks(self._raised)
        if text and is_said:
            self._is_told = True
            html = figures.quality_html({"check_text": text}, [])
            publish_display_data({"text/plain": text, "text/html": html})

    @small_frames()
    def exclusions(self) -> pd.DataFrame:
        """Every kind of excluded or flagged row of the scope: table, problem, column, what is done,
        rows, and the file and row of the first."""
        table = self.rows.table(EXCLUSIONS)
        grouped = table.group_by("table_name", "problem", "column_name", "action").aggregate(
            rows=table.count(), first_file=table.source_file.min(), first_row=table.source_row.min()
        )
        frame = engine.collect(grouped)
        frame = frame.sort_values(
            ["action", "table_name", "problem"], ascending=[False, True, True], ignore_index=True
        )
        frame.attrs |= {"table": EXCLUDED, "empty": _("Nothing is left out, and nothing is flagged.")}
        return frame

    @small_frames()
    def headlines(self, name: str) -> None:
        """Show a table of headlines as cards and emit each as a typed output; where the dataset lacks
        what they need, show why."""
        self._find_checks(is_said=True)
        frame = self.table(name)
        if "unavailable" in frame.attrs:
            self._say(frame.attrs["unavailable"], figures.note_html)
            return
        for row in frame.to_dict("records"):
            payload = {key: _rounded(value) for key, value in row.items()}
            if payload["unit"] == tables.MONEY:
                payload["unit"] = frame.attrs["currency"]
            payload |= {"as_of": self.as_of.isoformat(), "scope": self.team}
            payload["prior_label"] = payload.get("prior_label") or frame.attrs.get("prior_label", "")
            value = _("n/a") if payload["value"] is None else payload["value"]
            text = f"{row['id']}: {value}"
            publish_display_data({"text/plain": text, HEADLINE: payload})
        publish_display_data(
            {
                "text/plain": _("Headlines"),
                "text/html": figures.headlines_html(frame, currency=frame.attrs["currency"]),
            }
        )

    @small_frames()
    def show(self, frame: pd.DataFrame, story: Callable[[pd.DataFrame], Exhibit]) -> None:
        """Show what a story says of a table: its picture with the data one click away, or the table.

        Where the table is not available or has no row, the reason is shown instead.
        """
        if "unavailable" in frame.attrs:
            self._say(frame.attrs["unavailable"], figures.note_html)
            return
        if frame.empty:
            # Nothing found is an answer too.
            self._say(frame.attrs.get("empty") or _("No deal falls under this question."), figures.text_html)
            return
        exhibit = story(frame)
        attrs = frame.attrs if exhibit.table is None else exhibit.table.attrs
        looks: dict[str, Any] = {
            "units": exhibit.units or self._units(frame),
            "currency": self.rows.settings.base_currency,
            "columns": exhibit.columns,
            "notes": [note for note in attrs.get("notes", []) if note not in exhibit.said],
        }
        if exhibit.figure is not None:
            alternative = exhibit.alternative or exhibit.message
            html = figures.figure_html(
                exhibit.figure,
                message=exhibit.message,
                alternative=alternative,
                frame=frame if exhibit.table is None else exhibit.table,
                **looks,
            )
        elif exhibit.is_text:
            html = figures.text_html(exhibit.message)
        else:
            html = _table_html(frame if exhibit.table is None else exhibit.table, exhibit, looks)
        shown: dict[str, Any] = {"text/plain": exhibit.message, "text/html": html}
        typed = self._typed(frame, exhibit.message)
        if typed["id"] not in self._emitted:
            self._emitted.add(typed["id"])
            shown[TABLE] = typed
        publish_display_data(shown)

    def _say(self, sentence: str, as_html: Callable[[str], str]) -> None:
        publish_display_data({"text/plain": sentence, "text/html": as_html(sentence)})

    def close(self) -> None:
        """Say where the numbers come from and mark that the last cell was reached."""
        period = self.period.label if self.period else _("all history")
        text = _("Snapshot {digest}, {period}, as of {day}.").format(
            digest=self.rows.digest[:12], period=period, day=formats.date(self.as_of)
        )
        html = figures.note_html(text)
        publish_display_data(
            {
                "text/plain": f"{text} {self._sentinel}".strip(),
                "text/html": html,
                SENTINEL: {"sentinel": self._sentinel},
            }
        )

    def _units(self, frame: pd.DataFrame) -> Mapping[str, str]:
        name = str(frame.attrs.get("table", ""))
        return find_table(name).units if name and name != EXCLUDED else {}

    def _typed(self, frame: pd.DataFrame, title: str) -> dict[str, Any]:
        units = self._units(frame)
        by = str(frame.attrs.get("options", {}).get("by", "")).replace(",", "_")
        return {
            "id": f"{frame.attrs.get('table', 'table')}{'.by_' if by else ''}{by}",
            "title": title,
            "columns": [
                {"name": name, "label": tables.label(name), "unit": units.get(name, "")} for name in frame
            ],
            "rows": [
                [_rounded(value) for value in row]
                for row in frame.head(MOST_EXPORTED_ROWS).itertuples(index=False, name=None)
            ],
            "truncated": max(0, len(frame) - MOST_EXPORTED_ROWS),
            "as_of": self.as_of.isoformat(),
            "scope": self.team,
            "notes": list(frame.attrs.get("notes", [])),
        }


def _table_html(frame: pd.DataFrame, exhibit: Exhibit, looks: dict[str, Any]) -> str:
    if not exhibit.shaded_by:
        return tables.frame_html(frame, caption=exhibit.message, **looks)
    return heat_html(
        frame,
        caption=exhibit.message,
        label=exhibit.shaded_by,
        columns=exhibit.columns,
        low=0.0,
        notes=looks["notes"],
    )


def _rounded(value: Any) -> Any:
    """A value as JSON holds it, numbers to 6 digits after the point."""
    held = plain(value)
    # Adding zero turns -0.0 into 0.0.
    return round(held, DIGITS) + 0.0 if isinstance(held, float) else held
