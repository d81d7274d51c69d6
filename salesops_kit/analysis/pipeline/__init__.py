"""The open pipeline of a period: what it holds, what moved it, where it lands."""

from salesops_kit.analysis.pipeline._ageing import aged_deals, ageing
from salesops_kit.analysis.pipeline._bridge import bridge
from salesops_kit.analysis.pipeline._changes import changes
from salesops_kit.analysis.pipeline._commit_risks import commit_risks
from salesops_kit.analysis.pipeline._composition import by_week, composition
from salesops_kit.analysis.pipeline._coverage import coverage
from salesops_kit.analysis.pipeline._create_and_close import create_and_close, create_and_close_by_week
from salesops_kit.analysis.pipeline._headlines import headlines
from salesops_kit.analysis.pipeline._landing import landing
from salesops_kit.analysis.pipeline._linearity import linearity, linearity_curve
from salesops_kit.analysis.pipeline._pace import pace, pace_by_quarter
from salesops_kit.analysis.pipeline._pushes import pushed_deals, pushes
from salesops_kit.analysis.pipeline._questions import questions
from salesops_kit.analysis.pipeline._reference import company_reference
from salesops_kit.analysis.pipeline._slippage import slippage
from salesops_kit.analysis.pipeline._velocity import velocity
from salesops_kit.analysis.pipeline._waterfall import waterfall

__all__ = [
    "aged_deals",
    "ageing",
    "bridge",
    "by_week",
    "changes",
    "commit_risks",
    "company_reference",
    "composition",
    "coverage",
    "create_and_close",
    "create_and_close_by_week",
    "headlines",
    "landing",
    "linearity",
    "linearity_curve",
    "pace",
    "pace_by_quarter",
    "pushed_deals",
    "pushes",
    "questions",
    "slippage",
    "velocity",
    "waterfall",
]
