"""The settings that travel with a dataset: zone, fiscal year, base currency, stages, targets."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from salesops_kit.errors import InputError, did_you_mean
from salesops_kit.model_problems import problem_of
from salesops_kit.periods import FiscalCalendar, Weekday

COMPANY = "company"
NO_TEAM = "(no team)"


class Stage(BaseModel):
    """One stage of the deal process, in order, when the dataset has no ``stages`` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    is_closed: bool = False
    is_won: bool = False


class Settings(BaseModel):
    """What a dataset says about itself. Every field has a default, so that a bare folder works.

    ``observed_until`` is the last business date that the data knows about; empty means the latest
    date on which anything is known to have happened. ``base_currency``, where it is not set, is the
    one currency that all deals are in. ``weekend`` and ``holidays`` are the days on which nobody works.
    ``excluded_loss_reasons`` are the reasons of
    deals that were never real (duplicates, entered in error): they are shown apart from losses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    zone: str = "UTC"
    fiscal_start_month: Annotated[int, Field(ge=1, le=12)] = 1
    calendar: Literal["calendar", "4-4-5"] = "calendar"
    week_ends_on: Literal["saturday", "sunday", "friday"] = "saturday"
    weekend: tuple[Weekday, ...] = ("saturday", "sunday")
    holidays: tuple[dt.date, ...] = ()
    year_end: Literal["last", "nearest"] = "last"
    base_currency: str = "USD"
    observed_until: dt.date | None = None
    stages: tuple[Stage, ...] = ()
    first_qualified_stage: str = ""
    excluded_loss_reasons: tuple[str, ...] = ("duplicate", "entered in error")
    record_link: str = ""
    notes: tuple[str, ...] = ()

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            known = sorted(zoneinfo.available_timezones())
            raise ValueError(f"unknown time zone {value!r}. {did_you_mean(value, known)}") from error
        return value

    @field_validator("base_currency")
    @classmethod
    def _currency_code(cls, value: str) -> str:
        if not (len(value) == 3 and value.isascii() and value.isupper()):
            raise ValueError(f"expected a three-letter currency code such as USD, got {value!r}")
        return value

    @property
    def fiscal(self) -> FiscalCalendar:
        """The fiscal calendar of the dataset."""
        return FiscalCalendar(
            start_month=self.fiscal_start_month,
            pattern=self.calendar,
            week_ends_on=self.week_ends_on,
            year_end=self.year_end,
        )


def parse_settings(values: Any, *, file: str = "settings") -> Settings:
    """Settings from plain values; raises :class:`InputError` naming every wrong field at once."""
    try:
        return Settings.model_validate(values or {})
    except ValidationError as error:
        raise InputError(
            problem_of(item, Settings, kind="setting", file=file, column=".".join(map(str, item["loc"])))
            for item in error.errors()
        ) from None
