"""Win rate, stage conversion, time in stage, sales cycle, bottlenecks and the pipeline waterfall."""

from salesops_kit.analysis.funnel._bottlenecks import bottlenecks
from salesops_kit.analysis.funnel._cycle import cycle
from salesops_kit.analysis.funnel._headlines import headlines
from salesops_kit.analysis.funnel._reference import company_reference
from salesops_kit.analysis.funnel._stages import conversion, time_in_stage
from salesops_kit.analysis.funnel._waterfall import waterfall
from salesops_kit.analysis.funnel._win_rate import win_rate

__all__ = [
    "bottlenecks",
    "company_reference",
    "conversion",
    "cycle",
    "headlines",
    "time_in_stage",
    "waterfall",
    "win_rate",
]
