"""What a report's numbers are compared with: other scopes of the same data, and the quarter before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from salesops_kit.periods import FiscalCalendar
from salesops_kit.publishing import gates, keys
from salesops_kit.publishing.ledger import GOOD, Ledger
from salesops_kit.publishing.manifest import Gate
from salesops_kit.publishing.paths import Address
from salesops_kit.publishing.plan import Job
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.schedule import Task
from salesops_kit.settings import COMPANY


def groups_of(tasks: Sequence[Task], leaf_teams: Sequence[str]) -> list[list[Task]]:
    """The reports of a run that have to tie with each other: those of a template and quarter for the
    company and the leaf teams. Any other is alone in its group."""
    found: dict[object, list[Task]] = {}
    for task in tasks:
        is_tied = has_to_tie(task.job, leaf_teams)
        found.setdefault((task.job.report, task.job.quarter) if is_tied else id(task), []).append(task)
    return list(found.values())


def has_to_tie(job: Job, leaf_teams: Sequence[str]) -> bool:
    """Whether a report is about the company or one of the leaf teams that add up to it."""
    return bool(leaf_teams) and _team(job) in {COMPANY, *leaf_teams}


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
    good = task.good.manifest if task.good is not None else None
    if good is not None and keys.own_key(good.key_parts) == keys.own_key(task.draft.key_parts):
        return good.headlines
    return None


def _published(like: Job, scope: str, past: Ledger, preparer: Preparer) -> gates.Headlines | None:
    job = replace(like, params={**like.params, "team": scope})
    good = past.last_good(job.address)
    if good is None:
        return None
    parts = keys.key_parts(job, preparer.key_parts(list(job.template.tables), dict(job.params)))
    return good.manifest.headlines if keys.own_key(parts) == keys.own_key(good.manifest.key_parts) else None


@dataclass(frozen=True)
class Before:
    """The report of the quarter before that one is compared with: the key of what it is made of, and its
    headlines by id. Both are empty where there is none that is a match."""

    key: str = ""
    headlines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def job_before(job: Job, fiscal: FiscalCalendar) -> Job | None:
    """The same report of the quarter before."""
    try:
        previous = fiscal.previous(fiscal.quarter(job.quarter))
    except ValueError:
        return None
    return replace(job, params={**job.params, "quarter": previous.label})


def key_before(job: Job, made: Mapping[Address, Mapping[str, str]], past: Ledger, preparer: Preparer) -> str:
    """The key of :class:`Before` as a run should find it that makes, or has made, reports of key parts
    ``made``."""
    fiscal = preparer.settings.fiscal
    earlier = job_before(job, fiscal)
    if earlier is None:
        return ""
    if earlier.address in made:
        parts, as_of = made[earlier.address], preparer.effective_as_of(dict(earlier.params))
    else:
        good = past.last_good(earlier.address)
        if good is None:
            return ""
        parts, as_of = good.manifest.key_parts, good.manifest.as_of
    is_match = _is_over(job, preparer.effective_as_of(dict(job.params)), fiscal) and _is_over(
        earlier, as_of, fiscal
    )
    return keys.own_key(parts) if is_match else ""


def quarter_before(task: Task, past: Ledger, fiscal: FiscalCalendar) -> Before:
    """What the report of the quarter before said: the one of this run, else what was published last.

    None unless both quarters were over on their reports' cut-off dates: half a quarter is no match for
    a whole one, and only the report itself can compare like with like (its ``prior``).
    """
    earlier = job_before(task.job, fiscal)
    if earlier is None or not _is_over(task.job, task.draft.as_of, fiscal):
        return Before()
    if task.before is not None and task.before.outcome is not None and task.before.outcome.status == GOOD:
        made, headlines = task.before.draft, task.before.outcome.headlines
    else:
        good = past.last_good(earlier.address)
        if good is None:
            return Before()
        made, headlines = good.manifest, tuple(good.manifest.headlines)
    if not _is_over(earlier, made.as_of, fiscal):
        return Before()
    return Before(keys.own_key(made.key_parts), {str(headline["id"]): headline for headline in headlines})


def _is_over(job: Job, as_of: str, fiscal: FiscalCalendar) -> bool:
    return _day(as_of) >= fiscal.quarter(job.quarter).last_day


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return dt.date.min
