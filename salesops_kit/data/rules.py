"""The words of a mapping: how one column, one table or one derived source is made."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salesops_kit.data.file_format import DateFormats, Zone


class Strict(BaseModel):
    """A part of a mapping: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Lookup(Strict):
    """A value found in another file: where ``key`` equals the rule's column, take ``value``.

    ``where`` keeps the other file's rows whose column has one of the values; ``recode`` replaces what
    was found. A key that occurs twice is a refusal, or with ``repeated: blank`` gives nothing where its
    values differ. With ``until`` the file's rows are periods, from the day ``value`` to the last day
    ``until``: what is given is the label of the fiscal quarter that the period lies in. A key that the
    file lacks and a period that lies in no one quarter are refusals then.
    """

    file: str
    key: str
    value: str
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    recode: dict[str, str] = Field(default_factory=dict)
    repeated: Literal["refuse", "blank"] = "refuse"
    until: str | None = None

    def columns(self) -> tuple[str, ...]:
        """Every column of the other file that the lookup reads."""
        return (self.key, self.value, *((self.until,) if self.until else ()), *self.where)


class Rule(Strict):
    """How one canonical column is filled. Exactly one of column, value, row, setting, first and join;
    then, in order: when, null_when, like, recode, lookup, true_when, scale, add_days, default.

    ``first`` takes the first rule that gives a value; ``join`` puts together those that do, with
    ``separator`` between them; ``row`` is the number of the row in its file, for exports without ids;
    ``setting`` is a setting of the dataset. ``when`` gives a value only
    where other columns have one of the listed values; ``null_when`` lists values that mean nothing was
    recorded; ``like`` are patterns (``006*``), and what fits none means nothing; ``recode`` replaces
    whole values (others stay); ``true_when`` is true for the listed values; ``scale`` multiplies a
    number; ``add_days`` moves a date; ``dates`` and ``zone`` override the file's format for this
    column. Outer spaces do not count where values are compared. ``optional``: where the file lacks
    the column (or the lookup's file or one of its columns is absent), the rule is left out, down to its
    default.
    """

    column: str | None = None
    value: str | None = None
    row: bool = False
    setting: Literal["base_currency", "name", "zone"] | None = None
    first: tuple[Rule, ...] = ()
    join: tuple[Rule, ...] = ()
    separator: str = " "
    when: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    null_when: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    recode: dict[str, str] = Field(default_factory=dict)
    lookup: Lookup | None = None
    true_when: tuple[str, ...] = ()
    scale: Decimal | None = None
    add_days: int = 0
    default: str | None = None
    dates: DateFormats | None = None
    zone: Zone | None = None
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Rule:
        origins = [
            self.column is not None, self.value is not None, self.setting is not None,
            bool(self.first), bool(self.join), self.row,
        ]  # fmt: skip
        if sum(origins) != 1:
            raise ValueError("give exactly one of column, value and first (or row, setting, join)")
        # The alternatives are texts until one is chosen; how to read it is said once.
        if any(one.scale is not None or one.dates or one.zone or one.add_days for one in self.parts):
            raise ValueError("scale, add_days, dates and zone stand beside first and join, not inside")
        if self.lookup and self.lookup.until and self.column is None:
            raise ValueError("a lookup with until stands beside column")
        return self

    @property
    def parts(self) -> tuple[Rule, ...]:
        """The rules inside: alternatives or pieces."""
        return self.first or self.join

    def columns(self) -> set[str]:
        """Every source column that the rule reads."""
        own = ({self.column} if self.column else set()) | set(self.when)
        return own.union(*(rule.columns() for rule in self.parts))

    def lookups(self) -> list[Lookup]:
        """Every lookup that the rule makes."""
        own = [self.lookup] if self.lookup else []
        return own + [lookup for rule in self.parts for lookup in rule.lookups()]


class TableRule(Strict):
    """How one canonical table is filled from one file.

    ``from`` is a file's name, with or without its ending. ``keep`` says which other columns pass
    through: all, none, or a list; ``drop`` are patterns of those that do not. ``where`` keeps the rows
    whose column has one of the values, ``needs`` those that have something in these columns.
    ``distinct`` drops repeated rows. ``add_up`` is a canonical column of amounts: rows that share all
    other canonical columns but moments become one, with the sum and the latest moment; where one of the
    amounts is missing there is no sum. ``single`` are columns of the file that must hold one value, since
    rows of several would count the same thing more than once. A file that is not there is a refusal unless
    ``optional``.
    """

    source: str = Field(alias="from")
    columns: dict[str, Rule] = Field(default_factory=dict)
    keep: Literal["all", "none"] | tuple[str, ...] = "all"
    drop: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    distinct: bool = False
    add_up: str | None = None
    single: tuple[str, ...] = ()
    optional: bool = False

    @model_validator(mode="after")
    def _adds_what_it_fills(self) -> TableRule:
        if self.add_up and (self.keep != "none" or self.add_up not in self.columns):
            raise ValueError("add_up names one of columns, and stands beside keep: none")
        return self


class Unpivot(Strict):
    """Columns of one file as rows: one per row and column that holds something.

    ``columns`` are patterns with one ``*``; what stands for it becomes the column ``name``, the
    column's value the column ``value``; of two columns for one name that of the earlier pattern counts.
    The other columns stay.
    """

    source: str = Field(alias="from")
    columns: tuple[str, ...] = Field(min_length=1)
    name: str = "name"
    value: str = "value"

    @model_validator(mode="after")
    def _one_star(self) -> Unpivot:
        if any(pattern.count("*") != 1 for pattern in self.columns):
            raise ValueError("each of columns is a name with one * in it, such as entered_*")
        return self


class Stream(Strict):
    """Changes recorded by one file. Each row belongs to ``key`` and holds from the moment ``at`` on.

    Without ``field`` a row gives the state of every field of ``values`` (field: column). With ``field``
    it gives one: the field whose name in the file, listed in ``values`` (field: its name or names),
    stands in that column; ``new`` is what it became, ``old`` what it was. ``like`` ignores new values
    that fit none of a field's patterns. With ``is_end`` a row only says that something ended at that
    moment: what holds now began at the last of them, where no other change is that late.
    """

    source: str = Field(alias="from")
    key: str
    at: str
    values: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    field: str | None = None
    new: str | None = None
    old: str | None = None
    like: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    is_end: bool = False

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return _with_lists(value)

    @model_validator(mode="after")
    def _whole(self) -> Stream:
        if bool(self.field) != bool(self.new):
            raise ValueError("give both field and new, or neither")
        return self


class Present(Strict):
    """The current state: what a field is that never changed, and when each key began (``created``)."""

    source: str = Field(alias="from")
    key: str
    created: str | None = None
    values: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return _with_lists(value)


class Timeline(Strict):
    """Changes of several files put together: one row per key and moment with every field's state then.

    The rows have the columns ``key``, ``at`` and the fields. A field is what the last change before or
    at the moment made it; before its first change, what that change says it was; without any change,
    what it is now, where a stream that knows old values would have seen one. A moment at which
    ``needs`` is not known is left out, and so is a field that no file records.
    """

    streams: tuple[Stream, ...] = Field(min_length=1)
    now: Present | None = None
    needs: str

    @property
    def fields(self) -> list[str]:
        """Every field in the order of the streams."""
        return list(dict.fromkeys(name for stream in self.streams for name in stream.values))


class Derived(Strict):
    """A source made from others, which tables read by its name. Exactly one of unpivot and timeline."""

    unpivot: Unpivot | None = None
    timeline: Timeline | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Derived:
        if (self.unpivot is None) == (self.timeline is None):
            raise ValueError("give exactly one of unpivot and timeline")
        return self

    @property
    def reads(self) -> list[str]:
        """The sources that it is made from."""
        if self.unpivot:
            return [self.unpivot.source]
        assert self.timeline is not None
        now = [self.timeline.now.source] if self.timeline.now else []
        return [*(stream.source for stream in self.timeline.streams), *now]

    def columns_of(self, source: str, columns: Sequence[str]) -> list[str]:
        """Those of a source's columns that are read here."""
        if self.unpivot:
            return _match(columns, self.unpivot.columns) if self.unpivot.source == source else []
        assert self.timeline is not None
        wanted: set[str | None] = set()
        for stream in self.timeline.streams:
            if stream.source == source:
                wanted |= {stream.key, stream.at, stream.field, stream.new, stream.old}
                wanted |= set() if stream.field else {one for many in stream.values.values() for one in many}
        now = self.timeline.now
        if now is not None and now.source == source:
            wanted |= {now.key, now.created, *(one for many in now.values.values() for one in many)}
        return [column for column in columns if column in wanted]


def _match(columns: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [column for column in columns if any(fnmatchcase(column, pattern) for pattern in patterns)]


def _with_lists(value: Any) -> Any:
    """One name where a list of names may stand."""
    if isinstance(value, dict) and isinstance(value.get("values"), dict):
        lists = {name: [v] if isinstance(v, str) else v for name, v in value["values"].items()}
        return {**value, "values": lists}
    return value
