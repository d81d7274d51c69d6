"""Charts: a computed frame in, a matplotlib Figure out, with no state shared between them.

Every chart is a column of labelled rows, read from top to bottom, so that it stays readable when a
phone shrinks it. Values are written beside their marks; an axis only gives the scale.
"""

from salesops_kit.display.charts._bridge import waterfall
from salesops_kit.display.charts._dots import dots
from salesops_kit.display.charts._stages import conversion_steps, stage_times

__all__ = ["conversion_steps", "dots", "stage_times", "waterfall"]
