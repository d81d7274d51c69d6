"""How far the numbers can be trusted: checks, what to fix, totals that tie, figures that were restated."""

from salesops_kit.analysis.quality._burn_down import burn_down
from salesops_kit.analysis.quality._checks import checks
from salesops_kit.analysis.quality._duplicates import duplicates
from salesops_kit.analysis.quality._effect import effect
from salesops_kit.analysis.quality._fix_list import fix_list
from salesops_kit.analysis.quality._flags import flags
from salesops_kit.analysis.quality._headlines import headlines
from salesops_kit.analysis.quality._process import process, service_levels
from salesops_kit.analysis.quality._raised import raised, raised_for
from salesops_kit.analysis.quality._reference import company_reference
from salesops_kit.analysis.quality._restatements import restatements
from salesops_kit.analysis.quality._scores import scores
from salesops_kit.analysis.quality._segments import segments
from salesops_kit.analysis.quality._tie_out import tie_out
from salesops_kit.analysis.quality._tie_out_deals import tie_out_deals

__all__ = [
    "burn_down",
    "checks",
    "company_reference",
    "duplicates",
    "effect",
    "fix_list",
    "flags",
    "headlines",
    "process",
    "raised",
    "raised_for",
    "restatements",
    "scores",
    "segments",
    "service_levels",
    "tie_out",
    "tie_out_deals",
]
