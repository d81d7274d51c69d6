"""What the company learnt at one origin, as plain numbers that a team's models are pulled to."""

from __future__ import annotations

from typing import Any

from salesops_kit.analysis.forecast._ladder import Models

# Levels of the conversion's groups that teams share: type, due, stage.
_SHARED_LEVELS = 3


def coefficients(models: Models) -> dict[str, Any]:
    """The chances of groups down to the stage, and the weekly chances' coefficients."""
    shared = {
        key: round(rate, 6)
        for key, rate in models.conversion.rates.items()
        if key.count("|") <= _SHARED_LEVELS
    }
    hazard = models.hazard_model
    weekly: dict[str, Any] = {}
    if hazard is not None:
        weekly = {**hazard.figures(), "sizes": [float(value) for value in hazard.design.amounts]}
    return {"conversion": shared, "hazard": weekly}
