"""How far the numbers can be trusted: declared totals against computed ones, and money under flags."""

from salesops_kit.analysis.quality._flags import flags
from salesops_kit.analysis.quality._reference import company_reference
from salesops_kit.analysis.quality._tie_out import tie_out

__all__ = ["company_reference", "flags", "tie_out"]
