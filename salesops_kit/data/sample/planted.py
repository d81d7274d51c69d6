"""What the sample plants on purpose: the parameters of every truth that an analysis must find."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Truths:
    """The parameters behind the sample. Rates are 0-1, dwell times are business days.

    ``forward_rates`` are, per open stage, the chance that a visit ends in a later stage (the next
    one, a skipped-to one, or won), before the drop; ``regress_rate`` is the chance that it falls back
    one stage; the rest is lost (or, rarely, deleted). They hold for new business and expansions.
    """

    first_day: dt.date = dt.date(2023, 8, 1)
    observed_until: dt.date = dt.date(2026, 10, 31)

    forward_rates: tuple[float, ...] = (0.80, 0.74, 0.70, 0.62, 0.74)
    regress_rate: float = 0.03
    skip_share: float = 0.06
    delete_rate: float = 0.003
    reopen_rate: float = 0.02
    dwell_days: tuple[float, ...] = (6.0, 8.0, 10.0, 10.0, 8.0)
    dwell_sigma: float = 0.7
    lost_dwell_factor: float = 1.4
    segment_pace: tuple[float, ...] = (0.55, 1.0, 1.55)

    bottleneck_team: str = "EMEA South"
    bottleneck_stage: str = "Proposal"
    bottleneck_forward_rate: float = 0.35

    drop_from: dt.date = dt.date(2026, 5, 1)
    drop_factor: float = 0.70

    quarter_end_pull: float = 0.55
    year_end_pull: float = 0.75
    pull_reach_days: int = 38

    sandbag_factor: float = 0.45
    sandbag_noise: float = 0.4
    call_noise_first_week: float = 0.25
    call_noise_last_week: float = 0.08

    usage_drop_rate: float = 0.24
    usage_drop_months: int = 5
    usage_drop_level: float = 0.35
    churn_after_drop: float = 0.50
    churn_otherwise: float = 0.05
    early_churn_rate: float = 0.012

    reorganisation: dt.date = dt.date(2025, 8, 1)
    reorganisation_moves: tuple[tuple[str, str], ...] = (
        ("US West", "US East"),
        ("US West", "US East"),
        ("EMEA North", "EMEA South"),
        ("APAC", "Canada"),
    )
    late_transfer: dt.date = dt.date(2026, 9, 15)
    late_transfer_move: tuple[str, str] = ("US East", "US West")

    cap_plan: str = "ae-capped"
    draw_plan: str = "ae-draw"
    ramp_plan: str = "ae-ramp"
    standard_plan: str = "ae-standard"
    manager_plan: str = "manager"

    def as_record(self) -> dict[str, Any]:
        """The parameters as plain JSON values, in the order of the fields."""
        return {
            name: value.isoformat() if isinstance(value, dt.date) else value
            for name, value in asdict(self).items()
        }


TRUTHS = Truths()


@dataclass(frozen=True)
class DirtyRow:
    """One row that was made wrong on purpose, and where to find it.

    ``effect`` is ``quarantined`` where the row cannot be read or placed and is left out of every
    figure, ``noted`` where it stays in and is counted on the report's face.
    """

    table: str
    key: str | None
    column: str
    kind: str
    effect: str
    value: str | None = None


@dataclass
class Ledger:
    """What was planted while the sample was generated, collected for planted.json and the card."""

    dirty: list[DirtyRow] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)

    def as_record(self, truths: Truths) -> dict[str, Any]:
        """The content of planted.json."""
        return {
            "truths": truths.as_record(),
            "special_pay_cases": self.cases,
            "team_moves": self.moves,
            "measured": self.measured,
            "dirty_rows": [asdict(row) for row in self.dirty],
        }
