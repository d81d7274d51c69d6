"""Win rate, stage conversion, time in stage, sales cycle, bottlenecks and the pipeline waterfall."""

from salesops_kit.analysis.funnel._attribution import attribution
from salesops_kit.analysis.funnel._bookings import bookings
from salesops_kit.analysis.funnel._bottlenecks import bottlenecks
from salesops_kit.analysis.funnel._cohorts import cohorts
from salesops_kit.analysis.funnel._cycle import cycle
from salesops_kit.analysis.funnel._headlines import headlines
from salesops_kit.analysis.funnel._leads import leads
from salesops_kit.analysis.funnel._matrix import transitions
from salesops_kit.analysis.funnel._quarter_rhythm import quarter_rhythm
from salesops_kit.analysis.funnel._record_start import record_start
from salesops_kit.analysis.funnel._reference import company_reference
from salesops_kit.analysis.funnel._stages import conversion, time_in_stage
from salesops_kit.analysis.funnel._waterfall import waterfall
from salesops_kit.analysis.funnel._win_rate import win_rate

__all__ = [
    "attribution",
    "bookings",
    "bottlenecks",
    "cohorts",
    "company_reference",
    "conversion",
    "cycle",
    "headlines",
    "leads",
    "quarter_rhythm",
    "record_start",
    "time_in_stage",
    "transitions",
    "waterfall",
    "win_rate",
]
