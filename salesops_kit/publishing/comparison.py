"""What a report's numbers are compared with: other scopes of the same data, and the quarter before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from salesops_kit.periods import FiscalCalendar
from salesops_kit.publishing import gates, keys
from salesops_kit.publishing.ledger import Ledger
from salesops_kit.publishing.manifest import Gate
from salesops_kit.publishing.plan import Job
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.schedule import Task
from salesops_kit.settings import COMPANY


def group_of(task: Task, tasks: Sequence[Task], leaf_teams: Sequence[str]) -> list[Task]:
    """The reports of a run that have to tie with a report's: those of its template and quarter for the
    company and the leaf teams. Empty when the report is about none of these."""
    own = task.job
    tied = {COMPANY, *leaf_teams} if leaf_teams else set()
    group = [
        t
        for t in tasks
        if (t.job.report, t.job.quarter) == (own.report, own.quarter) and _team(t.job) in tied
    ]
    return group if task in group else []


def _team(job: Job) -> str | None:
    is_about_team = "team" in job.params and job.template.audience != "private"
    return str(job.params["team"]) if is_about_team else None


def sums(group: Sequence[Task], past: Ledger, preparer: Preparer) -> Gate:
    """Whether the additive headlines of the leaf teams add up to the company's.

    A report that this run does not make, or made without success, stands in with what it last
    published, if it was made from the same data by the same template and code (its key is what a run
    now would give it); where one is missing, the gate says that it was not checked.
    """
    made = {_team(task.job): task for task in group}
    teams = sorted(preparer.leaf_teams())
    found = {
        scope: _from_run(made[scope]) if scope in made else _published(group[0].job, scope, past, preparer)
        for scope in (COMPANY, *teams)
    }
    missing = [scope for scope, headlines in found.items() if headlines is None]
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        why = f"no report of the same data for {', '.join(missing[:5])}{more}"
        return gates.not_checked(gates.ADDITIVE, why)
    heads = {scope: headlines for scope, headlines in found.items() if headlines is not None}
    return gates.additive_gate(heads[COMPANY], {team: heads[team] for team in teams})


def _from_run(task: Task) -> gates.Headlines | None:
    if task.outcome is not None and task.outcome.status == "success":
        return task.outcome.headlines
    if task.good is not None and task.good.manifest.key == task.draft.key:
        return task.good.manifest.headlines
    return None


def _published(like: Job, scope: str, past: Ledger, preparer: Preparer) -> gates.Headlines | None:
    job = replace(like, params={**like.params, "team": scope})
    good = past.last_good(job.address)
    if good is None:
        return None
    parts = keys.key_parts(job, preparer.key_parts(list(job.template.tables), dict(job.params)))
    return good.manifest.headlines if keys.key(parts) == good.manifest.key else None


def quarter_before(
    job: Job, as_of: str, past: Ledger, fiscal: FiscalCalendar
) -> dict[str, Mapping[str, Any]]:
    """The headlines, by id, that were last published for the same scope and the quarter before.

    Empty unless both quarters were over on their reports' cut-off dates: half a quarter is no match for
    a whole one, and only the report itself can compare like with like (its ``prior``).
    """
    try:
        quarter = fiscal.quarter(job.quarter)
    except ValueError:
        return {}
    previous = fiscal.previous(quarter)
    good = past.last_good(replace(job, params={**job.params, "quarter": previous.label}).address)
    if good is None or _day(as_of) < quarter.last_day or _day(good.manifest.as_of) < previous.last_day:
        return {}
    return {str(headline["id"]): headline for headline in good.manifest.headlines}


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return dt.date.min
