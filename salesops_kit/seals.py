"""The command that puts down, under a seal, what everybody forecasts of a quarter today."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from salesops_kit.arguments import given
from salesops_kit.errors import InputError, Problem, unknown

_TAKEN = {"data": "sample", "quarter": ""}
_TABLE = "forecast.standing"


def seal(
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME VALUE", help="data and quarter; repeat it for more."),
    ] = None,
    as_of: Annotated[
        str,
        typer.Option("--as-of", metavar="DATE", help="Default: the data's last day."),
    ] = "",
) -> None:
    """Seal the calls and the forecast of a quarter before it ends, to be scored afterwards."""
    from salesops_kit.compute import Calculator, resolve_choice
    from salesops_kit.data import sealing
    from salesops_kit.data.dataset import archive_root, open_rows, open_snapshot
    from salesops_kit.settings import COMPANY

    pairs = given(parameter, None, None).texts()
    wrong = [unknown("parameter of seal", name, list(_TAKEN)) for name in pairs if name not in _TAKEN]
    if wrong:
        raise InputError(wrong)
    chosen = {**_TAKEN, **pairs}
    opened = open_snapshot(chosen["data"])
    rows = open_rows(opened)
    folder = sealing.seal_folder(archive_root(), rows.settings)
    choice = resolve_choice(rows, team=COMPANY, quarter=chosen["quarter"], as_of=as_of)
    period = choice.period or rows.settings.fiscal.quarter_of(choice.as_of)
    if choice.as_of >= period.last_day:
        raise _over(period.label, period.last_day, choice.as_of)
    company = Calculator(rows, choice.as_of, period)
    company.reference = company.references("forecast")
    frame = company.table(_TABLE)
    told = [
        {**{name: None if value != value else value for name, value in row.items()},
         "known_until": rows.observed_until.isoformat()}
        for row in frame.to_dict("records")
    ]  # fmt: skip
    made = sealing.seal(
        folder,
        as_of=choice.as_of,
        period=period.label,
        period_end=period.end,
        snapshot=opened.digest,
        rows=told,
    )
    typer.echo(
        f"Sealed {len(told)} forecasts of {period.label} as of {choice.as_of}"
        f" (seal {made.seq}, {made.sha256[:12]})"
    )


def _over(label: str, last: dt.date, got: dt.date) -> InputError:
    return InputError(
        Problem(
            f"{label} is over, so that nothing of it can be forecast",
            column="as_of", expected=f"a day before {last}", got=got.isoformat(),
        )
    )  # fmt: skip
