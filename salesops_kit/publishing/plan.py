"""A plan expanded to jobs, with every parameter of every job checked before any kernel starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from salesops_kit.errors import Problem, Problems, unknown
from salesops_kit.publishing.contract import Value, canonical, unchecked_sets
from salesops_kit.publishing.paths import Address, collisions, quarter_folder, scope_folder
from salesops_kit.publishing.plan_file import LoadedPlan
from salesops_kit.publishing.templates import Template
from salesops_kit.settings import COMPANY

ALL = "all"
FROM_PLAN = ("team", "quarter", "data", "locale")


@dataclass(frozen=True)
class Job:
    """One report to run: a template with the typed value of each of its parameters."""

    template: Template
    params: Mapping[str, Value]
    locale: str

    @property
    def report(self) -> str:
        """The template's name."""
        return self.template.report

    @property
    def scope(self) -> str:
        """Whom the report is about: the person of a private report, else the team, else the company."""
        if self.template.audience == "private" and self.params.get("rep"):
            return str(self.params["rep"])
        return str(self.params.get("team", COMPANY))

    @property
    def quarter(self) -> str:
        """The quarter's label; empty when the template has no quarter."""
        return str(self.params.get("quarter", ""))

    @property
    def address(self) -> Address:
        """Where the report is published."""
        return Address(
            self.template.audience, quarter_folder(self.quarter), scope_folder(self.scope), self.report
        )

    @property
    def name(self) -> str:
        """The job in a line of progress."""
        return " / ".join(part for part in (self.report, self.scope, self.quarter) if part)

    @property
    def canonical_params(self) -> str:
        """The parameters as JSON that is equal when they are."""
        return json.dumps(dict(self.params), sort_keys=True, ensure_ascii=False)


def expand(
    loaded: LoadedPlan,
    templates: Mapping[str, Template],
    *,
    names: Mapping[str, Sequence[str]],
    leaf_teams: Sequence[str],
    only: Sequence[str] = (),
) -> list[Job]:
    """Every job of a plan, in the order report, quarter, team.

    ``names`` are the dataset's valid names by set (``teams`` with the company, ``quarters``);
    ``leaf_teams`` are the teams that ``all`` stands for, beside the company; ``only`` keeps these
    reports. Raises :class:`InputError` with every problem of every job. A report whose template has
    no team or no quarter is run once for all of them.
    """
    plan = loaded.plan
    problems = Problems(collisions(names.get("teams", ())))
    reports = _each(plan.reports, list(templates))
    for report in reports:
        if report not in templates:
            problems.append(_unknown_report(report, loaded, templates))
    for report in only:
        if report not in reports:
            problems.append(unknown("report", report, reports, file="command line", column="--only"))
    chosen = [templates[report] for report in reports if report in templates and (report in only or not only)]
    problems += _parameter_names(loaded, templates, chosen)
    teams = _each(plan.teams, [COMPANY, *leaf_teams], literal=names.get("teams", ()))
    jobs: dict[str, Job] = {}
    for template in chosen:
        for missing in unchecked_sets(template.parameters.values(), names):
            problems.append(Problem(f"{template.report}: the dataset gives no {missing}", file=loaded.file))
        for given in _given(loaded, template, teams):
            params, wrong = canonical(template.parameters, given, names=names, file=loaded.file)
            for problem in wrong:
                problems.append(placed(problem, loaded, template.report))
            if not wrong:
                job = Job(template, params, plan.locale)
                jobs.setdefault(str(job.address.stable), job)
    problems.refuse()
    return list(jobs.values())


def _each(given: Sequence[str], everything: Sequence[str], literal: Sequence[str] = ()) -> list[str]:
    chosen: list[str] = []
    for item in given:
        chosen += everything if item == ALL and ALL not in literal else [item]
    return list(dict.fromkeys(chosen))


def _unknown_report(report: str, loaded: LoadedPlan, templates: Mapping[str, Template]) -> Problem:
    return unknown("report", report, list(templates), file=loaded.file, row=loaded.line("reports"))


def _parameter_names(
    loaded: LoadedPlan, templates: Mapping[str, Template], chosen: Sequence[Template]
) -> list[Problem]:
    """Parameters that no contract knows, in the plan's ``params`` and on the command line."""
    problems = []
    for report, params in loaded.plan.params.items():
        row = loaded.line("params", report)
        if report not in templates:
            problems.append(unknown("report", report, list(templates), file=loaded.file, row=row))
            continue
        declared = [name for name in templates[report].parameters if name not in FROM_PLAN]
        for name in params:
            if name not in declared:
                row = loaded.line("params", report, name)
                place = {"file": loaded.file, "row": row, "column": report}
                problems.append(unknown("parameter", name, declared, **place))  # type: ignore[arg-type]
    known = list(dict.fromkeys(["team", *(name for template in chosen for name in template.parameters)]))
    for name in loaded.overrides:
        if name not in known and chosen:
            problems.append(unknown("parameter", name, known, **loaded.places[name]))
    return problems


def _given(loaded: LoadedPlan, template: Template, teams: Sequence[str]) -> Iterator[dict[str, object]]:
    declared = template.parameters
    extra = {
        name: value
        for source in (loaded.plan.params.get(template.report, {}), loaded.overrides)
        for name, value in source.items()
        if name in declared and name not in FROM_PLAN
    }
    fixed = {"data": loaded.plan.data, "locale": loaded.plan.locale}
    if loaded.plan.as_of:
        fixed["as_of"] = loaded.plan.as_of
    shared = {name: value for name, value in fixed.items() if name in declared}
    quarters: Sequence[str | None] = list(dict.fromkeys(loaded.plan.quarters)) or [None]
    for quarter in quarters if "quarter" in declared else [None]:
        for team in teams if "team" in declared else [None]:
            own = {"quarter": quarter, "team": team}
            yield {**shared, **{name: value for name, value in own.items() if value is not None}, **extra}


def placed(problem: Problem, loaded: LoadedPlan, report: str) -> Problem:
    """The problem with the line of the plan that gave the value, or with the place that replaced it."""
    name = problem.column or ""
    key = {"team": ("teams",), "quarter": ("quarters",)}.get(name, (name,))
    own = ("params", report, name)
    return replace(problem, **loaded.place(name, *(own if own in loaded.lines else key)))


def unplanned(jobs: Sequence[Job], leaf_teams: Sequence[str]) -> list[Problem]:
    """A note on the teams for which a plan of some teams runs nothing; none where it names no team."""
    named = {job.scope for job in jobs if "team" in job.params}
    missing = [team for team in leaf_teams if team not in named]
    if not named & set(leaf_teams) or not missing:
        return []
    return [Problem("teams that the plan does not name get no report", got=", ".join(missing))]


def matrix(jobs: Sequence[Job]) -> list[dict[str, object]]:
    """The jobs as rows: report, scope, quarter, page and the whole set of parameters."""
    return [
        {
            "report": job.report,
            "scope": job.scope,
            "quarter": job.quarter,
            "page": str(job.address.stable),
            "params": dict(job.params),
        }
        for job in jobs
    ]
