"""Bookings of this and the next quarter, with their past error beside them."""

from salesops_kit.analysis.forecast._backtest import accuracy, backtest
from salesops_kit.analysis.forecast._call_scores import calls
from salesops_kit.analysis.forecast._changes import changes
from salesops_kit.analysis.forecast._commit_bias import commit_bias
from salesops_kit.analysis.forecast._deals import deals
from salesops_kit.analysis.forecast._outlook import outlook
from salesops_kit.analysis.forecast._reference import company_reference
from salesops_kit.analysis.forecast._scenario import scenario

__all__ = [
    "accuracy",
    "backtest",
    "calls",
    "changes",
    "commit_bias",
    "company_reference",
    "deals",
    "outlook",
    "scenario",
]
