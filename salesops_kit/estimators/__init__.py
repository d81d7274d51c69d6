"""Statistical estimators that more than one analysis uses."""
