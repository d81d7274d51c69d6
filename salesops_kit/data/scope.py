"""Rows cut for one team: each row belongs to its owner's team at the row's time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import ibis
from ibis import _

from salesops_kit.data import engine
from salesops_kit.data.as_of import GAPLESS_SCHEMA, STATES, gapless_memberships
from salesops_kit.data.cleaning import EXCLUSIONS, SET_ASIDE
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.dataset import Rows
from salesops_kit.data.earlier import EARLIER
from salesops_kit.data.sealing import SEALED
from salesops_kit.settings import NO_TEAM

# Columns of a deal that do not change after it is created; all others are known to a former team
# only as they stood when it last had the deal.
_LASTING = (
    "opportunity_id", "account_id", "name", "type", "pipeline", "lead_source", "product_id", "partner",
    "created_at", "created_date",
)  # fmt: skip
_FROM_STATE = (
    "owner_id",
    "stage",
    "amount",
    "currency",
    "close_date",
    "forecast_category",
    "is_closed",
    "is_won",
)


def cut(rows: Rows, teams: tuple[str, ...]) -> Rows:
    """The slice of some leaf teams; every table is cut by its contract's ``scope``.

    Nothing in the slice tells of another team: a deal that moved on stands as it was when the team
    last had it, and company-wide tables are left out.
    """
    return replace(rows, tables=_Cut(rows, teams), policy=rows.policy.without_accounts(), derived={})


class _Cut(Mapping[str, ibis.Table]):
    """The tables of a slice, each cut when it is first asked for."""

    def __init__(self, rows: Rows, teams: tuple[str, ...]) -> None:
        self._rows, self._teams = rows, teams
        self._names = sorted(name for name in {*rows.tables, STATES, EXCLUSIONS} if _may_be_cut(name, rows))
        self._made: dict[str, ibis.Table] = {}

    def __getitem__(self, name: str) -> ibis.Table:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._cut(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _cut(self, name: str) -> ibis.Table:
        if name in (STATES, EARLIER, SEALED):
            return self._rows.table(name).filter(_.team.isin(self._teams))
        if name == "opportunities":
            return _deals(self._rows.table("opportunities"), self[STATES])
        if name == EXCLUSIONS:
            return _exclusions(self._rows, self, self._teams)
        return _cut_table(name, self._rows, self, self._teams)


def _contract_scope(name: str) -> tuple[str, str]:
    """How a table is cut, and by which of its columns where the contract names one."""
    scope, _colon, column = TABLES[name].scope.partition(":") if name in TABLES else ("company", "", "")
    return scope, column


def _may_be_cut(name: str, rows: Rows) -> bool:
    """Whether a slice may hold a part of the table; of others nobody can say whose the rows are."""
    if name in (STATES, EARLIER, SEALED, "opportunities", EXCLUSIONS):
        return True
    scope, _column = _contract_scope(name)
    return scope != "company" and (scope != "lead" or "leads" in rows.tables)


def _deals(deals: ibis.Table, states: ibis.Table) -> ibis.Table:
    """One row per deal that the slice ever held, as it stood when the slice last held it."""
    last = states.group_by("opportunity_id").aggregate(state_no=states.state_no.max())
    held = states.inner_join(last, ["opportunity_id", "state_no"])
    seen = held.select(
        "opportunity_id",
        is_here=held.exit.isnull(),
        is_gone=held.is_deleted,
        **{f"state_{name}": held[name] for name in _FROM_STATE},
    )
    joined = deals.inner_join(seen, "opportunity_id")
    columns = {}
    for name in deals.columns:
        if name in _LASTING:
            columns[name] = joined[name]
        elif name in _FROM_STATE:
            columns[name] = joined[f"state_{name}"]
        elif name == "is_deleted":
            columns[name] = joined.is_gone
        else:
            columns[name] = ibis.cases((joined.is_here, joined[name]))
    return joined.select(**columns)


def _cut_table(name: str, rows: Rows, tables: Mapping[str, ibis.Table], teams: tuple[str, ...]) -> ibis.Table:
    table = rows.table(name)
    scope, column = _contract_scope(name)
    if scope == "opportunity":
        if name == "opportunity_history":
            return _history(table, tables[STATES])
        return table.semi_join(tables["opportunities"], "opportunity_id")
    if scope == "account":
        deals = tables["opportunities"]
        return table.semi_join(deals.filter(deals.account_id.notnull()), "account_id")
    if scope == "team":
        return table.filter(table.team.isin(teams))
    if scope == "lead":
        return table.semi_join(tables["leads"], "lead_id")
    if scope == "owner":
        return _members(table, rows, teams) if column == "" else _owned(table, column, rows, teams)
    return table


def _history(history: ibis.Table, states: ibis.Table) -> ibis.Table:
    """Events that happened while the slice had the deal, under the owner that the slice knew (a stay
    that a reorganisation begins has no event of its own)."""
    moments = states.select("opportunity_id", changed_at="valid_from_at", known_owner="owner_id")
    joined = history.inner_join(moments, ["opportunity_id", "changed_at"])
    return joined.mutate(owner_id=joined.known_owner).select(*history.columns)


def _members(table: ibis.Table, rows: Rows, teams: tuple[str, ...]) -> ibis.Table:
    if "team_memberships" not in rows.tables:
        return table if NO_TEAM in teams else table.limit(0)
    members = rows.table("team_memberships")
    mine = members.filter(members.team.isin(teams)).select("owner_id").distinct()
    if NO_TEAM in teams:
        states = rows.table(STATES)
        # Who has left the last team may still have deals, which no team has.
        theirs = states.filter(states.team == NO_TEAM).select("owner_id").distinct()
        return table.filter(
            table.owner_id.notin(members.owner_id)
            | table.owner_id.isin(mine.owner_id)
            | table.owner_id.isin(theirs.owner_id)
        )
    return table.semi_join(mine, "owner_id")


def _owned(table: ibis.Table, column: str, rows: Rows, teams: tuple[str, ...]) -> ibis.Table:
    """Rows whose owner was in the teams at the row's time; a row that names a team belongs to it."""
    kind = "at" if table[column].type().is_timestamp() else "date"
    stays = _stays(rows).select(
        owner_team="team", member_id="owner_id", start=f"from_{kind}", end=f"to_{kind}"
    )
    joined = table.left_join(
        stays,
        [table.owner_id == stays.member_id, table[column] >= stays.start, table[column] < stays.end],
    )
    owner_team = joined.owner_team.fill_null(NO_TEAM)
    if "team" in table.columns:
        owner_team = ibis.coalesce(joined.team, owner_team)
    return joined.filter(owner_team.isin(teams)).select(*table.columns)


def _stays(rows: Rows) -> ibis.Table:
    return _gapless(rows.tables.get("team_memberships"), rows.settings.zone)


@functools.lru_cache(maxsize=4)
def _gapless(memberships: ibis.Table | None, zone: str) -> ibis.Table:
    """Everybody's stays in teams without gaps, the same for all slices of a dataset."""
    columns = ("owner_id", "team", "valid_from_date", "valid_to_date")
    if memberships is not None:
        members = engine.collect(memberships.select(*columns))
    else:
        members = ibis.memtable([], schema=dict.fromkeys(columns, "string")).to_pyarrow().to_pandas()
    return ibis.memtable(gapless_memberships(members, zone), schema=GAPLESS_SCHEMA)


def _exclusions(rows: Rows, tables: Mapping[str, ibis.Table], teams: tuple[str, ...]) -> ibis.Table:
    """What was set aside or flagged of the slice: kept deals through the deal, lost rows through the
    owner's team on the last known day."""
    table = rows.table(EXCLUSIONS)
    kept = table.filter(table.action != SET_ASIDE).semi_join(tables["opportunities"], "opportunity_id")
    aside = table.filter((table.action == SET_ASIDE) & (table.table_name == "opportunities"))
    dated = aside.mutate(on_date=ibis.date(rows.observed_until))
    lost = _owned(dated, "on_date", rows, teams).select(*table.columns)
    return kept.union(lost)
