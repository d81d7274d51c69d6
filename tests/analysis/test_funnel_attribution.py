"""Attribution: first, last and linear touch by hand, against a slow count, and totals to the cent."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import attribution, headlines
from salesops_kit.analysis.funnel._attribution import MODELS, in_cents
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
MADE = dt.date(2026, 2, 10)
DEALS = {
    "opportunity_id": "string", "account_id": "string", "created_at": "timestamp('UTC')",
    "created_date": "date", "loss_reason": "string",
}  # fmt: skip
TOUCHES = {
    "lead_id": "string", "account_id": "string", "occurred_at": "timestamp('UTC')", "channel": "string",
    "campaign": "string",
}  # fmt: skip
LEADS = {
    "lead_id": "string", "source": "string", "created_at": "timestamp('UTC')",
    "converted_at": "timestamp('UTC')", "opportunity_id": "string",
}  # fmt: skip
NOON = dt.datetime(2026, 2, 10, 12, tzinfo=dt.UTC)


def before(hours: float) -> dt.datetime:
    return NOON - dt.timedelta(hours=hours)


def won(name: str, amount: float | None = 100, **more: Any) -> list[dict[str, Any]]:
    day = dt.date(2026, 3, 1)
    first = Change(MADE, amount=amount, close_date=day, **more)
    return deal(name, [first, first.then(day, stage="Closed Won")])


def run(
    walks: list[list[dict[str, Any]]],
    touches: list[tuple[Any, ...]],
    leads: list[tuple[Any, ...]] | None = None,
    **more: Any,
) -> pd.DataFrame:
    rows = [
        (states[0]["opportunity_id"], "ACC", NOON, states[0]["valid_from_date"], None) for states in walks
    ]
    options: dict[str, Any] = {
        "as_of": dt.date(2026, 3, 31), "period": Q1, "settings": Settings(), **more
    }  # fmt: skip
    return attribution(
        states_table(walks),
        table_of(TOUCHES, touches),
        table_of(DEALS, rows),
        None if leads is None else table_of(LEADS, leads),
        **options,
    )


def converted(name: str, deal_id: str | None, source: str | None = "Web") -> tuple[Any, ...]:
    return (name, source, before(1000), NOON, deal_id)


def by_channel(frame: pd.DataFrame, measure: str) -> dict[str, list[float]]:
    return {row.iloc[0]: [row[f"{measure}_{model}"] for model in MODELS] for _place, row in frame.iterrows()}


def test_three_models_by_hand() -> None:
    touches = [
        ("L1", None, before(50), "Event", "c1"),
        ("L1", None, before(30), "Email", "c1"),
        ("L1", None, before(20), "Email", "c2"),
        ("L2", None, before(10), None, "c2"),
        # The instant of the creation counts, a second later does not.
        ("L1", None, NOON, "Social", "c3"),
        ("L1", None, before(-1 / 3600), "Late", "c3"),
        (None, "ACC", before(70), "Webinar", None),
        ("L9", "ACC", before(60), "Of another lead", None),
    ]
    leads = [converted("L1", "A"), converted("L2", "A", None), ("L9", "Web", before(900), None, None)]
    frame = run([won("A", 60)], touches, leads)
    assert by_channel(frame, "won") == {
        "Email": [0, 0, 20], "Webinar": [60, 0, 10], "Event": [0, 0, 10], "Social": [0, 60, 10],
        "(none)": [0, 0, 10],
    }  # fmt: skip
    assert by_channel(frame, "pipeline") == by_channel(frame, "won")
    assert by_channel(frame, "deals")["Email"] == pytest.approx([0, 0, 2 / 6])
    # A lead is brought by its own touches: L1 by four, L2 by one.
    assert by_channel(frame, "leads") == {
        "Email": [0, 0, 0.5], "Webinar": [0, 0, 0], "Event": [1, 0, 0.25], "Social": [0, 1, 0.25],
        "(none)": [1, 1, 1],
    }  # fmt: skip
    by_source = by_channel(run([won("A", 60)], touches, leads, by="source"), "won")
    assert by_source == {"Web": [0, 60, 40], "(none)": [60, 0, 20]}
    by_campaign = by_channel(run([won("A", 60)], touches, leads, by="campaign"), "won")
    assert by_campaign == {"c1": [0, 0, 20], "c2": [0, 0, 20], "c3": [0, 60, 10], "(none)": [60, 0, 10]}


def test_what_no_touch_brought_is_its_own_row_and_the_last() -> None:
    frame = run([won("A"), won("B", 1_000)], [("L1", None, before(1), "Event", None)], [converted("L1", "A")])
    assert frame["channel"].tolist() == ["Event", "(unattributed)"]
    assert by_channel(frame, "deals") == {"Event": [1, 1, 1], "(unattributed)": [1, 1, 1]}
    assert by_channel(run([won("A")], [], []), "won") == {"(unattributed)": [100, 100, 100]}
    assert run([], [], []).empty


def test_touches_at_one_instant_have_an_order_of_their_own() -> None:
    same = [("L1", None, before(5), channel, "x") for channel in ("Web", "Email", "Event")]
    for rows in (same, same[::-1], same[1:] + same[:1]):
        assert by_channel(run([won("A")], rows, [converted("L1", "A")]), "won") == {
            "Email": [100, 0, 33.34], "Event": [0, 0, 33.33], "Web": [0, 100, 33.33],
        }  # fmt: skip


def test_cents_add_up_whatever_the_shares() -> None:
    assert in_cents(pd.Series([33.335, 33.335, 33.33]), Decimal("100.00")).sum() == pytest.approx(100)
    rng = np.random.default_rng(2)
    for _turn in range(200):
        parts = pd.Series(rng.uniform(0, 50, int(rng.integers(1, 9))))
        total = Decimal(str(parts.sum()))
        cents = (in_cents(parts, total) * 100).round().astype(int)
        assert cents.sum() == round(float(total) * 100)
        assert (abs(cents / 100 - parts) < 0.01 + 1e-9).all()


def test_the_won_amount_is_the_bookings_headline_and_the_period_cuts_each_measure() -> None:
    early = Change(dt.date(2025, 12, 1), close_date=dt.date(2026, 1, 5))
    walks = [
        won("A"), won("N", None), deal("O", [Change(MADE, amount=7)]),
        deal("P", [early, early.then(dt.date(2026, 1, 5), stage="Closed Won", amount=50.5)]),
    ]  # fmt: skip
    frame = run(
        walks, [], [converted("L1", "A"), ("L2", "Web", before(9), NOON + dt.timedelta(days=90), "P")]
    )
    row = frame.iloc[0]
    assert (row["deals_first"], row["pipeline_first"], row["won_first"], row["leads_first"]) == (
        3,
        107,
        150.5,
        1,
    )
    assert frame.attrs["notes"] == ["1 deal has no amount and adds nothing to the money."]
    shown = headlines(
        states_table(walks), stages_table(), as_of=dt.date(2026, 3, 31), period=Q1, settings=Settings()
    ).set_index("id")
    assert shown.loc["bookings_won", "value"] == row["won_first"]
    all_time = run(walks, [], [], period=None).iloc[0]
    assert (all_time["deals_first"], all_time["pipeline_first"]) == (4, 157.5)


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_slow_count_and_each_column_has_one_total(seed: int) -> None:
    rng = np.random.default_rng(seed)
    walks = [won(f"D{n:02}", round(float(rng.uniform(1, 9999)), 2)) for n in range(25)]
    leads = [
        converted(f"L{n:02}", f"D{int(rng.integers(25)):02}" if rng.random() < 0.8 else None)
        for n in range(30)
    ]
    names = ["Web", "Email", "Event", None]
    touches = [
        (f"L{lead:02}", None, before(float(hours)), names[name], "c")
        for lead, hours, name in zip(
            rng.integers(30, size=90), rng.integers(-40, 40, size=90), rng.integers(4, size=90), strict=True
        )
    ]
    frame = run(walks, touches, leads)
    expected: dict[str, dict[Any, float]] = {model: defaultdict(float) for model in MODELS}
    for states in walks:
        name, amount = states[0]["opportunity_id"], float(states[-1]["amount"])
        own = {lead[0] for lead in leads if lead[4] == name}
        mine = sorted(
            (t for t in touches if t[0] in own and t[2] <= NOON), key=lambda t: (t[2], t[0], t[3] or "")
        )
        if not mine:
            mine = [(None, None, None, "(unattributed)", None)]
        expected["first"][mine[0][3]] += amount
        expected["last"][mine[-1][3]] += amount
        for touch in mine:
            expected["linear"][touch[3]] += amount / len(mine)
    total = sum(states[-1]["amount"] for states in walks)
    for model in MODELS:
        column = frame.set_index("channel")[f"won_{model}"]
        assert round(column.sum(), 2) == float(total)
        for value, amount in expected[model].items():
            assert column["(none)" if value is None else value] == pytest.approx(amount, abs=0.0101)
        assert frame[f"deals_{model}"].sum() == pytest.approx(25)
        assert frame[f"leads_{model}"].sum() == pytest.approx(30)


def test_keys_that_occur_twice_and_data_that_lacks_what_is_needed() -> None:
    with pytest.raises(InputError, match="lead_id"):
        run([won("A")], [], [converted("L1", "A"), converted("L1", "A")])
    without = run([won("A")], [(None, "ACC", before(2), "Event", None)])
    assert without[["leads_first", "leads_linear"]].isna().all(axis=None)
    assert by_channel(without, "won") == {"Event": [100, 100, 100]}
    assert "no leads" in without.attrs["notes"][-1]
    with pytest.raises(NotAvailableError, match="needs the leads"):
        run([won("A")], [], by="source")
    with pytest.raises(NotAvailableError, match="instant"):
        attribution(
            states_table([won("A")]), table_of(TOUCHES, []), None,
            as_of=MADE, period=None, settings=Settings(),
        )  # fmt: skip
