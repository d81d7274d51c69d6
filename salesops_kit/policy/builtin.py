"""The checks that need more than conditions: their thresholds, and the records that they judge."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Builtin(NamedTuple):
    """A built-in check: default thresholds, the table it looks at (empty: what the import flags), and whether
    it looks at what the import flags besides, which is not known of an earlier snapshot."""

    thresholds: Mapping[str, float]
    table: str = "opportunities"
    reads_flags: bool = False


BUILTINS: Mapping[str, Builtin] = MappingProxyType(
    {
        "required_fields": Builtin({}),
        "over_stage_days": Builtin({}),
        "stage_regression": Builtin({}),
        "stale": Builtin({"fewest": 20, "share": 0.9}),
        "pushes": Builtin({"at_least": 3}),
        "missing_currency": Builtin({}, reads_flags=True),
        "outlier_amount": Builtin({"spread": 3.0, "fewest": 20}),
        "inactive_owner": Builtin({}),
        "orphan_account": Builtin({}),
        "unknown_stage": Builtin({}),
        "month_end_default": Builtin({"least_share": 0.5, "fewest": 20}),
        "back_dated": Builtin({"days": 7}),
        "import_spike": Builtin({"times": 10.0, "fewest": 100}),
        "duplicate_accounts": Builtin({"similarity": 0.92, "most_records": 200_000}, "accounts"),
        "duplicate_leads": Builtin(
            {"similarity": 0.92, "most_records": 200_000, "email_decides": 1}, "leads"
        ),
        "import_flag": Builtin({}, ""),
        "set_aside": Builtin({}, ""),
    }
)
