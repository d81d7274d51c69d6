"""Bookings of this and the next quarter, with their past error beside them."""

from salesops_kit.analysis.forecast._backtest import accuracy, backtest
from salesops_kit.analysis.forecast._basis import basis
from salesops_kit.analysis.forecast._calibration import calibration
from salesops_kit.analysis.forecast._call_scores import calls
from salesops_kit.analysis.forecast._changes import changes
from salesops_kit.analysis.forecast._commit_bias import commit_bias
from salesops_kit.analysis.forecast._deals import chances, deals
from salesops_kit.analysis.forecast._headlines import headlines
from salesops_kit.analysis.forecast._landing import landing
from salesops_kit.analysis.forecast._outlook import outlook
from salesops_kit.analysis.forecast._quarters import quarters, weeks
from salesops_kit.analysis.forecast._reference import company_reference
from salesops_kit.analysis.forecast._scenario import scenario
from salesops_kit.analysis.forecast._scoreboard import scoreboard
from salesops_kit.analysis.forecast._standing import standing

__all__ = [
    "accuracy",
    "backtest",
    "basis",
    "calibration",
    "calls",
    "chances",
    "changes",
    "commit_bias",
    "company_reference",
    "deals",
    "headlines",
    "landing",
    "outlook",
    "quarters",
    "scenario",
    "scoreboard",
    "standing",
    "weeks",
]
