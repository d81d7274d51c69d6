"""The pipeline as it stood: each deal's history as stretches of unchanged state in one team.

Nothing here reads a current-state column of a deal, so that rows about the future change no past
answer. A closed deal keeps the owner and the team that closed it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo

import ibis
import pandas as pd

from salesops_kit.settings import NO_TEAM

STATES = "opportunity_states"
STATE_COLUMNS = {
    "opportunity_id": "string",
    "state_no": "int64",
    "team": "string",
    "owner_id": "string",
    "pipeline": "string",
    "stage": "string",
    "stage_position": "int64",
    "is_closed": "boolean",
    "is_won": "boolean",
    "is_deleted": "boolean",
    "amount": "decimal(18, 4)",
    "currency": "string",
    "close_date": "date",
    "forecast_category": "string",
    "valid_from_at": "timestamp('UTC')",
    "valid_to_at": "timestamp('UTC')",
    "valid_from_date": "date",
    "valid_to_date": "date",
    "stage_since_date": "date",
    "reached_position": "int64",
    "entry": "string",
    "exit": "string",
    "next_stage": "string",
    "next_position": "int64",
    "next_is_closed": "boolean",
    "next_is_won": "boolean",
}
GAPLESS_SCHEMA = {
    "owner_id": "string",
    "team": "string",
    "from_date": "date",
    "to_date": "date",
    "from_at": "timestamp('UTC')",
    "to_at": "timestamp('UTC')",
}
CREATED, TRANSFERRED, CONTINUED = "created", "transferred", "continued"
_DIGITS = 9
_EVER, _NEVER = dt.date(1900, 1, 1), dt.date(2262, 1, 1)


def midnight(day: dt.date, zone: str) -> dt.datetime:
    """The instant at which a business date begins, in UTC."""
    return dt.datetime.combine(day, dt.time(), tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(dt.UTC)


def gapless_memberships(memberships: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Each rep's time cut into stays, with ``(no team)`` between them.

    Takes columns owner_id, team, valid_from_date, valid_to_date (half-open; null = open). Of
    overlapping stays the one that began later holds. Returns owner_id, team, from_date, to_date,
    from_at, to_at: for every owner a partition of all time.
    """
    rows: list[tuple[str, str, dt.date, dt.date]] = []
    ordered = memberships.sort_values(["owner_id", "valid_from_date"], na_position="first", kind="stable")
    for owner, stays in ordered.groupby("owner_id", sort=True):
        begun = [_date(value, _EVER) for value in stays["valid_from_date"]]
        ended = [_date(value, _NEVER) for value in stays["valid_to_date"]]
        cuts = sorted({_EVER, _NEVER, *begun, *ended})
        for start, end in itertools.pairwise(cuts):
            team = NO_TEAM
            for stay_start, stay_end, stay_team in zip(begun, ended, stays["team"], strict=True):
                if stay_start <= start < stay_end:
                    team = stay_team
            if rows and rows[-1][0] == owner and rows[-1][1] == team:
                start = rows.pop()[2]
            rows.append((str(owner), team, start, end))
    frame = pd.DataFrame(rows, columns=["owner_id", "team", "from_date", "to_date"])
    for name in ("from", "to"):
        moments = [midnight(day, zone) for day in frame[f"{name}_date"]]
        frame[f"{name}_at"] = pd.to_datetime(pd.Series(moments, dtype=object), utc=True).astype(
            "datetime64[us, UTC]"
        )
    return frame


def _date(value: object, default: dt.date) -> dt.date:
    return default if pd.isna(value) else pd.Timestamp(value).date()  # type: ignore[arg-type,call-overload]


def derive_states(
    history: ibis.Table, deals: ibis.Table | str, stages: ibis.Table, memberships: ibis.Table
) -> ibis.Table:
    """``opportunity_states`` (columns ``STATE_COLUMNS``) from events with the full state after each.

    ``history`` is the contract's opportunity_history; ``deals`` gives each deal's pipeline, or is the one
    pipeline that all are in; ``stages`` is complete; ``memberships`` comes from
    :func:`gapless_memberships`. Of events at one instant there is at most one per deal.
    """
    events = _closing_owner(_with_stage(history, deals, stages))
    stays = _in_teams(events, memberships)
    return _with_neighbours(stays)


def _with_stage(history: ibis.Table, deals: ibis.Table | str, stages: ibis.Table) -> ibis.Table:
    kinds = stages.select(
        "pipeline", "stage", stage_position="position", is_closed="is_closed", is_won="is_won"
    )
    if isinstance(deals, str):
        placed = history.mutate(pipeline=ibis.literal(deals))
    else:
        pipelines = deals.select("opportunity_id", pipeline=deals.pipeline.fill_null(""))
        placed = history.inner_join(pipelines, "opportunity_id")
    return placed.inner_join(kinds, ["pipeline", "stage"])


def _closing_owner(events: ibis.Table) -> ibis.Table:
    """Each event's end, and for closed states the owner and the instant of the closing."""
    ordered = ibis.window(group_by="opportunity_id", order_by="changed_at")
    so_far = ibis.cumulative_window(group_by="opportunity_id", order_by="changed_at")
    events = events.mutate(
        next_at=events.changed_at.lead().over(ordered),
        next_date=events.changed_date.lead().over(ordered),
        was_closed=events.is_closed.lag().over(ordered),
        event_no=ibis.row_number().over(ordered),
    )
    closes = events.is_closed & ~events.was_closed.fill_null(False)
    # The owner of the latest closing, as the largest of texts that begin with the event's number: one
    # window serves all of this, where "the value at the maximum" would need another.
    numbered = events.event_no.cast("string").lpad(_DIGITS, "0") + events.owner_id.fill_null("")
    latest = ibis.cases((closes, numbered)).max().over(so_far)
    closed_at = ibis.cases((closes, events.changed_at)).max().over(so_far)
    events = events.mutate(latest=latest, closed_at=closed_at)
    return events.mutate(
        owner_id=ibis.cases(
            (events.is_closed, events.latest.substr(_DIGITS).nullif("")), else_=events.owner_id
        ),
        team_at=ibis.cases((events.is_closed, events.closed_at)),
    )


def _in_teams(events: ibis.Table, memberships: ibis.Table) -> ibis.Table:
    """Events cut where their owner changes team; closed ones take the team of the closing moment."""
    m = memberships.select("team", "from_date", "from_at", "to_date", "to_at", member_id="owner_id")
    # The stretch for which a team is looked up: a closed state's is the closing moment alone.
    never = ibis.timestamp(dt.datetime.combine(_NEVER, dt.time(), dt.UTC))
    events = events.mutate(
        seek_from=ibis.coalesce(events.team_at, events.changed_at),
        seek_to=ibis.coalesce(events.team_at + ibis.interval(microseconds=1), events.next_at, never),
    )
    joined = events.left_join(
        m, [events.owner_id == m.member_id, m.from_at < events.seek_to, m.to_at > events.seek_from]
    )
    is_open = joined.team_at.isnull()
    starts_later = is_open & (joined.from_at > joined.changed_at)
    ends_sooner = is_open & (joined.to_at < joined.seek_to) & (joined.to_date < ibis.date(_NEVER))
    return joined.mutate(
        team=joined.team.fill_null(NO_TEAM),
        valid_from_at=ibis.cases((starts_later, joined.from_at), else_=joined.changed_at),
        valid_from_date=ibis.cases((starts_later, joined.from_date), else_=joined.changed_date),
        valid_to_at=ibis.cases((ends_sooner, joined.to_at), else_=joined.next_at),
        valid_to_date=ibis.cases((ends_sooner, joined.to_date), else_=joined.next_date),
    )


def _with_neighbours(stays: ibis.Table) -> ibis.Table:
    """What came before and what follows, without naming another team."""
    ordered = ibis.window(group_by="opportunity_id", order_by="valid_from_at")
    so_far = ibis.cumulative_window(group_by="opportunity_id", order_by="valid_from_at")
    t = stays.mutate(
        before_stage=stays.stage.lag().over(ordered),
        before_team=stays.team.lag().over(ordered),
        after_team=stays.team.lead().over(ordered),
        after_stage=stays.stage.lead().over(ordered),
        after_position=stays.stage_position.lead().over(ordered),
        after_is_closed=stays.is_closed.lead().over(ordered),
        after_is_won=stays.is_won.lead().over(ordered),
        after_is_deleted=stays.is_deleted.fill_null(False).lead().over(ordered),
        state_no=ibis.row_number().over(ordered),
    )
    begins_stage = t.before_stage.isnull() | (t.before_stage != t.stage)
    stays_here = t.after_team == t.team
    # What is deleted goes nowhere, whatever stage the deletion was recorded with.
    moves = stays_here & ~t.after_is_deleted
    t = t.mutate(
        stage_since_date=ibis.cases((begins_stage, t.valid_from_date)).max().over(so_far),
        reached_position=ibis.cases((~t.is_closed, t.stage_position)).max().over(so_far),
        entry=ibis.cases(
            (t.before_team.isnull(), CREATED), (t.before_team == t.team, CONTINUED), else_=TRANSFERRED
        ),
        exit=ibis.cases(
            (t.after_team.isnull(), ibis.null("string")), (stays_here, CONTINUED), else_=TRANSFERRED
        ),
        next_stage=ibis.cases((moves, t.after_stage)),
        next_position=ibis.cases((moves, t.after_position)),
        next_is_closed=ibis.cases((moves, t.after_is_closed)),
        next_is_won=ibis.cases((moves, t.after_is_won)),
        is_deleted=t.is_deleted.fill_null(False),
    )
    return t.select(*STATE_COLUMNS)


def pipeline_at(states: ibis.Table, moment: dt.date | dt.datetime) -> ibis.Table:
    """The states that held at a moment: at the end of a business date, or at an instant (UTC).

    At most one row per deal. Deleted deals are left out.
    """
    if isinstance(moment, dt.datetime):
        at = ibis.timestamp(moment.astimezone(dt.UTC))
        held = (states.valid_from_at <= at) & (states.valid_to_at.isnull() | (states.valid_to_at > at))
    else:
        day = ibis.date(moment)
        held = (states.valid_from_date <= day) & (
            states.valid_to_date.isnull() | (states.valid_to_date > day)
        )
    return states.filter(held & ~states.is_deleted)
