"""Charts: a computed frame in, a matplotlib Figure out, with no state shared between them.

Most charts are a column of labelled rows, read from top to bottom, so that they stay readable when a
phone shrinks them. Values are written beside their marks; an axis only gives the scale. The notation
(actual solid, prior lighter, plan outlined, forecast hatched) stands in one module.
"""

from salesops_kit.display.charts._ageing import ageing
from salesops_kit.display.charts._bridge import waterfall
from salesops_kit.display.charts._bullets import kpi_bullet
from salesops_kit.display.charts._calibration import calibration
from salesops_kit.display.charts._dots import dots
from salesops_kit.display.charts._fan import fan
from salesops_kit.display.charts._histogram import histogram
from salesops_kit.display.charts._pay import pay_curve
from salesops_kit.display.charts._stages import conversion_steps, stage_times
from salesops_kit.display.charts._survival import survival
from salesops_kit.display.charts._trends import trends

__all__ = [
    "ageing",
    "calibration",
    "conversion_steps",
    "dots",
    "fan",
    "histogram",
    "kpi_bullet",
    "pay_curve",
    "stage_times",
    "survival",
    "trends",
    "waterfall",
]
