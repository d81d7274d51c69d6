"""How a stage is called where pipelines share names."""

from __future__ import annotations

import pandas as pd

from salesops_kit import formats
from salesops_kit.language import _


def told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its pipeline behind each ``stage`` that stands in several of its pipelines.

    A stage of one pipeline alone keeps its name, as does one of the pipeline without a name. Without a
    column ``pipeline`` nothing changes. Attributes are kept.

    >>> rows = [("Demand", "Direct"), ("Demand", "Renewal"), ("Close", "Direct")]
    >>> told_apart(pd.DataFrame(rows, columns=["stage", "pipeline"]))["stage"].tolist()
    ['Demand (Direct)', 'Demand (Renewal)', 'Close']
    """
    if "pipeline" not in frame or "stage" not in frame:
        return frame
    shared = frame.groupby("stage")["pipeline"].nunique(dropna=False)
    names = [
        _("{stage} ({pipeline})").format(stage=stage, pipeline=pipeline)
        if shared.get(stage, 0) > 1 and not formats.is_missing(pipeline) and pipeline
        else stage
        for stage, pipeline in zip(frame["stage"], frame["pipeline"], strict=True)
    ]
    told = frame.assign(stage=pd.Series(names, index=frame.index, dtype=object))
    told.attrs = dict(frame.attrs)
    return told
