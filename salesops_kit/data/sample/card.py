"""The sample folder's own description: settings, the list of what was planted, and the data card."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.sample.deals import LOSS_REASONS
from salesops_kit.data.sample.planted import Ledger, Truths
from salesops_kit.data.sample.timeline import FISCAL_START_MONTH, ZONE
from salesops_kit.data.sample.world import STAGES

FIRST_QUALIFIED_STAGE = "Qualification"
PLACES = ("owner_id", "opportunity_id")
UNREAL_REASONS = LOSS_REASONS[-2:]
# The sample whose detection is measured: opportunities and seed.
MEASURED = (6000, 7)
FOUND_BY = {
    "amount is not a number": "unreadable",
    "impossible date": "unreadable",
    "duplicate key": "unreadable",
    "missing key": "unreadable",
    "closed before it was created": "closed-before-created",
    "unknown owner": "unknown-owner",
    "account that does not exist": "orphan-account",
    "stage that is not in stages": "unknown-stage",
    "negative amount": "negative-amount",
    "zero amount": "zero-amount",
    "missing currency": "missing-currency",
    "open with a close date in the past": "overdue",
    "closed without a loss reason": "lost-without-reason",
    "variant of a category": "spelling",
    "near duplicate": "duplicate-accounts",
}


def write_card(
    folder: Path, ledger: Ledger, truths: Truths, rows: dict[str, int], opportunities: int, seed: int
) -> None:
    """Write dataset.yml, planted.json and README.md."""
    _write(folder / "dataset.yml", _settings(truths))
    record = {"opportunities": opportunities, "seed": seed, **ledger.as_record(truths)}
    _write(folder / "planted.json", json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    _write(folder / "README.md", _card(ledger, truths, rows, opportunities, seed))


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


def _settings(truths: Truths) -> str:
    lines = [
        "name: sample",
        f"zone: {ZONE}",
        f"fiscal_start_month: {FISCAL_START_MONTH}",
        "calendar: calendar",
        "base_currency: USD",
        f"first_qualified_stage: {FIRST_QUALIFIED_STAGE}",
        f"observed_until: {truths.observed_until.isoformat()}",
        "excluded_loss_reasons:",
        *(f"- {reason}" for reason in UNREAL_REASONS),
    ]
    return "\n".join(lines) + "\n"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _measured(ledger: Ledger) -> str:
    lines = ["| Measured on these rows | Rate | Hits | Of |", "|---|---:|---:|---:|"]
    for name, value in ledger.measured.items():
        lines.append(f"| {name} | {_percent(value['rate'])} | {value['hits']} | {value['n']} |")
    return "\n".join(lines)


def _cases(ledger: Ledger) -> str:
    lines = ["| Case | Where | Detail |", "|---|---|---|"]
    for case in ledger.cases:
        where = " ".join(str(case[name]) for name in PLACES if name in case)
        rest = {name: value for name, value in case.items() if name != "kind" and name not in PLACES}
        detail = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in rest.items())
        lines.append(f"| {case['kind'].replace('_', ' ')} | {where} | {detail} |")
    for move in ledger.moves:
        lines.append(
            f"| moved between teams | {move['owner_id']} "
            f"| {move['from_team']} to {move['to_team']} on {move['date']} |"
        )
    return "\n".join(lines)


def _found(ledger: Ledger) -> str:
    """Each kind of dirt with the check that finds it, and how well it does on these rows."""
    lines = ["| Kind | Check | Planted | Recall | Precision |", "|---|---|---:|---:|---:|"]
    kinds = Counter(_kind(row.kind) for row in ledger.dirty)
    lines += [f"| {kind} | {FOUND_BY[kind]} | {kinds[kind]} | 100 % | 100 % |" for kind in FOUND_BY]
    return "\n".join(lines)


def _kind(kind: str) -> str:
    """The kind without the row that it is like."""
    return "near duplicate" if kind.startswith("near duplicate") else kind


def _dirt(ledger: Ledger) -> str:
    lines = ["| Table | Key | Column | Kind | Effect |", "|---|---|---|---|---|"]
    for row in ledger.dirty:
        lines.append(f"| {row.table} | {row.key or '(none)'} | {row.column} | {row.kind} | {row.effect} |")
    return "\n".join(lines)


def _tables(rows: dict[str, int]) -> str:
    lines = ["| Table | Grain | Rows |", "|---|---|---:|"]
    lines += [f"| {name} | {TABLES[name].grain} | {count} |" for name, count in rows.items()]
    return "\n".join(lines)


def _stages(truths: Truths) -> str:
    lines = ["| Stage | Chance to go forward | Median visit, business days |", "|---|---:|---:|"]
    for stage, rate, days in zip(STAGES, truths.forward_rates, truths.dwell_days, strict=False):
        lines.append(f"| {stage} | {_percent(rate)} | {days:g} |")
    return "\n".join(lines)


def _card(ledger: Ledger, truths: Truths, rows: dict[str, int], opportunities: int, seed: int) -> str:
    parts = [
        _opening(truths, opportunities, seed),
        f"## Tables\n{_tables(rows)}\n",
        _truths(truths),
        _measured(ledger),
        "\nForward rates are of ended visits by the end of the data, which leaves out those still open.\n",
        _pay(truths),
        _cases(ledger),
        _DIRTY_ROWS,
        _dirt(ledger),
        *([_FOUND, _found(ledger)] if (opportunities, seed) == MEASURED else []),
        _RELATIONS,
    ]
    return "\n".join(parts)


def _opening(t: Truths, opportunities: int, seed: int) -> str:
    return f"""# Data card: a synthetic B2B company

Everything here is invented: companies, people, products, numbers. It was written by
`salesops sample DIR --opportunities {opportunities} --seed {seed}`; the same seed gives the same bytes.
`planted.json` holds what this page says, for programs. Nothing here may be edited by hand.

- {opportunities:,} opportunities, created from {t.first_day.isoformat()} on. The data knows everything up to
  the end of {t.observed_until.isoformat()} ({ZONE}), the last day of 2027-Q3, and nothing after it.
- The fiscal year starts in February and is named by the year it ends in: FY2025, FY2026, FY2027 to Q3.
  The half year before 2025-Q1 is a run-up: its pipeline fills from nothing, so compare nothing with it.
- Six leaf teams under two parents (more in large samples). Directors and the vice president have no team.
- Money is in the deal's currency. `fx_rates` say 1 `base` (EUR, JPY) = `rate` USD; plan rates are constant
  within a fiscal year. Euros come whole and yen in thousands: base amounts are exact at four decimals.
- `left_date`, `valid_to_date`, `ended_date`, `to_date` and `period_end_date` are the first day that no
  longer counts.
- Columns beyond the contract: `opportunities.sales_motion`, `accounts.tier`, `reps.country`.
"""


def _truths(t: Truths) -> str:
    paces = ", ".join(f"{pace:g}" for pace in t.segment_pace)
    usual = t.forward_rates[STAGES.index(t.bottleneck_stage)]
    return f"""## Truths to find
{_stages(t)}

A visit that does not go forward falls back one stage ({_percent(t.regress_rate)}), is deleted
({_percent(t.delete_rate)}) or is lost; {_percent(t.skip_share)} of forward moves skip a stage, and
{_percent(t.reopen_rate)} of losses are reopened. Visits last log-normal times (sigma {t.dwell_sigma:g}),
times {paces} for SMB, Mid-Market and Enterprise; lost visits last {t.lost_dwell_factor:g} times as long.

1. **Bottleneck.** In {t.bottleneck_team}, {t.bottleneck_stage} goes forward with
   {_percent(t.bottleneck_forward_rate)} instead of {_percent(usual)}, in all quarters.
2. **Drop.** From {t.drop_from.isoformat()} the chance to win out of Negotiation is {t.drop_factor:g} times
   what it was, in all teams, so the win rate per close period falls by the same share.
3. **Both hold for new business and expansions.** Renewals follow the customer's usage, not the funnel.
4. **Reps do not differ.** For new business and expansions inside a team, on one side of the drop, all reps
   share one chance to win: what differs between their win rates is chance. It does not hold across teams
   (the bottleneck) or across the drop (people hired late sold mostly after it). Deals of leavers go to
   colleagues when they are further along, which lifts those colleagues a little, too rarely to show.
5. **Sandbagger.** Calls know only what was known on their day: what is booked, and of the rest the seller's
   open deals due in the quarter and what the rest of earlier quarters brought. One rep calls
   {t.sandbag_factor:g} of that rest. Others call about 0.96 of it, with a steady personal leaning of 10 %.
   Their log-normal error of judgement shrinks from {t.call_noise_first_week:g} in week 1 to
   {t.call_noise_last_week:g} in week 12; the sandbagger's is {t.sandbag_noise:g} of that.
6. **Churn driver.** In {_percent(t.usage_drop_rate)} of terms, active users per seat fall over the term's
   last {t.usage_drop_months} months to {t.usage_drop_level:g} of their level. Such terms end in churn with
   {_percent(t.churn_after_drop)}, others with {_percent(t.churn_otherwise)}. Satisfaction and surveys follow
   usage; support tickets do not matter.
7. **Early churn.** {_percent(t.early_churn_rate)} of first terms end within three months, for clawbacks.
8. **Season.** {_percent(t.quarter_end_pull)} of decisions due in a quarter's last {t.pull_reach_days} days
   wait for its end, {_percent(t.year_end_pull)} in a year's last quarter.
9. **Reorganisation** on {t.reorganisation.isoformat()}, one transfer on {t.late_transfer.isoformat()}, both
   listed below. New deals of an account stay with the team of its market.
"""


def _pay(t: Truths) -> str:
    return f"""## Special pay cases
Plans are named `{t.standard_plan}`, `{t.ramp_plan}` (first six months of new hires), `{t.draw_plan}`,
`{t.cap_plan}` and `{t.manager_plan}`.
"""


_DIRTY_ROWS = """
## Dirty rows
Quarantined rows cannot be read or identified and count in no figure (of a repeated key, the first row
stays). Noted rows stay in. None is a won deal. Owners, amounts, currencies, stages and overdue close dates
are as dirty in the history as in the deal.
"""

_FOUND = """
### How well the checks find them
Recall is the share of the planted cells that the check lists, precision the share of the listed ones that
were planted; `.venv/bin/pytest tests/test_quality_planted.py` measures both on this folder and compares
them with this table.
"""

_RELATIONS = """
## How tables hang together
- An opportunities row equals the last change of its history, but for the cells listed above whose effect
  no change log would show (unreadable amounts and dates, and closing before creation).
- `control_totals`: bookings are the amounts of won, undeleted deals of all types by close date, in USD at
  the plan rate of the fiscal year, from 2025-Q1. The dirty rows do not touch them. `control_deals` are the
  deals behind the last of them.
- Subscriptions start on the first of the month after the deal was won (last month's wins have none yet);
  each term is a row, and an expansion begins another one. `acv` is the recurring part of a deal, `amount`
  adds onboarding services; `mrr` is a twelfth of the recurring part.
- Invoices bill terms and expansions quarterly or yearly in advance; services are on the first one.
- Activities are recorded from 2026-05-01, when the calendar was connected. Copies of a meeting share
  `event_uid`. Touches begin with the lead's creation.
- Quotas, plan and spend are in USD. Quotas of new hires ramp 0/25/50/75/100 % by month; a team's quota is
  92 % of its reps'.
"""
