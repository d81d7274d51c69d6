"""Ids and names that stand in the rows of other teams alone, and so in no report of a team."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir

from salesops_kit.data import engine
from salesops_kit.data.as_of import STATES
from salesops_kit.data.dataset import Rows

MOST_DEALS = 100
MOST_TEXTS = 100
DEAL, ACCOUNT, OWNER = "opportunity_id", "account_id", "owner_id"
KINDS = {DEAL: "opportunity id", ACCOUNT: "account id", OWNER: "owner id"}
NAMES = {"accounts": (ACCOUNT, "account name"), "reps": (OWNER, "rep name")}
# What these tables hold is cut by the rule that is checked here, so that it is no proof.
CUT = (STATES, "opportunities", "opportunity_history", *NAMES)

Known = Mapping[str, Mapping[str, frozenset[str]]]


def known_texts(rows: Rows) -> dict[str, dict[str, frozenset[str]]]:
    """Sampled texts of a whole dataset by kind, each with the teams that ever had a deal with it.

    The sample is the largest deals, the newest, and others by the hash of their id, with their accounts
    and owners; the same rows give the same texts. An owner is known to every team that it was in.
    """
    ids = _sampled(rows)
    teams: dict[str, dict[str, set[str]]] = {kind: {} for kind in KINDS.values()}
    states, deals = rows.table(STATES), rows.table("opportunities")
    names = {name: _named(rows, name, key, ids[key]) for name, (key, _kind) in NAMES.items()}
    for name, (key, _kind) in NAMES.items():
        ids[key] = [*ids[key], *(found for found in names[name] if found not in set(ids[key]))]
    _learn(teams[KINDS[DEAL]], states.filter(states[DEAL].isin(ids[DEAL])), DEAL)
    _learn(teams[KINDS[OWNER]], states.filter(states[OWNER].isin(ids[OWNER])), OWNER)
    if "team_memberships" in rows.tables:
        members = rows.table("team_memberships")
        _learn(teams[KINDS[OWNER]], members.filter(members[OWNER].isin(ids[OWNER])), OWNER)
    if ACCOUNT in deals.columns:
        held = deals.filter(deals[ACCOUNT].isin(ids[ACCOUNT])).select(DEAL, ACCOUNT)
        _learn(teams[KINDS[ACCOUNT]], states.select(DEAL, "team").inner_join(held, DEAL), ACCOUNT)
    for name, (key, kind) in NAMES.items():
        own: dict[str, set[str]] = {}
        for identifier, text in names[name].items():
            own.setdefault(text, set()).update(teams[KINDS[key]].get(identifier, ()))
        teams[kind] = own
    return {kind: {text: frozenset(known) for text, known in found.items()} for kind, found in teams.items()}


def _sampled(rows: Rows) -> dict[str, list[str]]:
    deals = rows.table("opportunities")
    columns = [name for name in KINDS if name in deals.columns]
    orders = [deals[name].desc() for name in ("amount", "created_date") if name in deals.columns]
    found: dict[str, dict[str, None]] = {name: {} for name in KINDS}
    for order in (*orders, deals[DEAL].hash()):
        frame = engine.collect(deals.order_by([order, deals[DEAL]]).limit(MOST_DEALS).select(*columns))
        for name in columns:
            found[name].update(dict.fromkeys(frame[name].dropna()))
    return {name: list(texts) for name, texts in found.items()}


def _named(rows: Rows, name: str, key: str, ids: Sequence[str]) -> dict[str, str]:
    """The names of sampled ids, and of every other id with such a name."""
    if name not in rows.tables or not {key, "name"} <= set(rows.table(name).columns):
        return {}
    table = rows.table(name).select(key, "name").filter(ibis._.name.notnull())
    mine = table.filter(table[key].isin(list(ids))).select("name").distinct()
    frame = engine.collect(table.semi_join(mine, "name").order_by(key))
    return dict(zip(frame[key], frame["name"], strict=True))


def _learn(teams: dict[str, set[str]], table: ir.Table, column: str) -> None:
    frame = engine.collect(table.select(column, "team").distinct().order_by(column, "team"))
    for text, team in zip(frame[column], frame["team"], strict=True):
        teams.setdefault(text, set()).add(team)


def foreign_texts(known: Known, teams: Collection[str]) -> dict[str, list[str]]:
    """The known texts, at most 100 of a kind, that none of ``teams`` ever had to do with.

    >>> known = {"owner id": {"ann": frozenset({"East"}), "bob": frozenset({"East", "West"})}}
    >>> foreign_texts(known, ["West"])
    {'owner id': ['ann']}
    """
    own = frozenset(teams)
    return {
        kind: [text for text, of in texts.items() if of and not of & own][:MOST_TEXTS]
        for kind, texts in known.items()
    }


def mentions(own: Rows, text: str) -> bool:
    """Whether a slice mentions ``text`` in a table that is not cut by deal, account or owner, or in a
    free text of a deal: a note or an activity of a team may well name a deal of another. Reads all."""
    for name, table in own.tables.items():
        columns = [
            table[column]
            for column, kind in table.schema().items()
            if kind.is_string()
            and not (name in CUT and column in KINDS)
            and not (name in NAMES and column == "name")
        ]
        if columns:
            holds = reduce(or_, (column.contains(text).fill_null(False) for column in columns))
            if engine.collect(table.filter(holds).aggregate(n=ibis._.count()))["n"].iloc[0]:
                return True
    return False
