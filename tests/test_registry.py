"""The registry reads each table's contract from its signature and types options without guessing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import ibis
import pytest

from salesops_kit import registry
from salesops_kit.errors import InputError
from salesops_kit.registry import Option, parse_options, table, table_spec


@table(needs={"bookings": "forecast.distribution"}, units={"rate": "rate"})
def example(
    opportunities: ibis.Table,
    accounts: ibis.Table | None,
    reps: ibis.Table = None,
    bookings: Any = None,
    *,
    as_of: Any,
    settings: Any,
    top: int = 10,
    share: float = 0.5,
    only_won: bool = False,
    by: str = "",
    variant: Literal["count", "value"] = "count",
) -> None:
    """How large deals are.

    More text.
    """


SPEC = table_spec(example, "deals.example")


def test_signature_is_the_contract() -> None:
    assert SPEC.title == "How large deals are"
    assert SPEC.tables == ("opportunities",)
    assert SPEC.optional_tables == ("accounts", "reps")
    assert SPEC.context == ("as_of", "settings")
    assert SPEC.needs == {"bookings": "forecast.distribution"}
    assert SPEC.units == {"rate": "rate"}
    assert SPEC.analysis == "deals"
    assert SPEC.options == {
        "top": Option("top", int, 10),
        "share": Option("share", float, 0.5),
        "only_won": Option("only_won", bool, False),
        "by": Option("by", str, ""),
        "variant": Option("variant", str, "count", ("count", "value")),
    }


def test_options_are_typed_and_unnamed_ones_keep_their_default() -> None:
    raw = {"top": " -3 ", "share": "1e-2", "only_won": "Yes", "by": "007", "variant": "value"}
    assert parse_options(SPEC, raw) == {
        "top": -3,
        "share": 0.01,
        "only_won": True,
        "by": "007",
        "variant": "value",
    }
    assert parse_options(SPEC, {}) == {}


def test_all_problems_at_once_with_the_nearest_name() -> None:
    raw = {"varient": "count", "top": "1.5", "share": "nan", "only_won": "maybe", "variant": "valeu"}
    with pytest.raises(InputError) as caught:
        parse_options(SPEC, raw)
    problems = caught.value.problems
    assert [p.column for p in problems] == [None, "top", "share", "only_won", None]
    assert (problems[0].next_step or "").startswith("Did you mean variant")
    assert problems[1].expected == "a whole number"
    assert problems[1].got == "1.5"
    assert (problems[4].next_step or "").startswith("Did you mean value")


@pytest.mark.parametrize("text", ["1_000", "٣", "0x10", "", "1.0"])
def test_an_int_is_digits(text: str) -> None:
    with pytest.raises(InputError, match="whole number"):
        parse_options(SPEC, {"top": text})


def test_signatures_that_break_the_rules_are_refused() -> None:
    @table()
    def no_default(deals: ibis.Table, *, top: int) -> None: ...

    @table()
    def wrong_type(deals: ibis.Table, *, top: list[str] = []) -> None: ...  # noqa: B006

    @table()
    def outside(deals: ibis.Table, *, pick: Literal["a", "b"] = "c") -> None: ...  # type: ignore[assignment]

    @table(needs={"x": "a.b"})
    def unknown_need(deals: ibis.Table) -> None: ...

    @table()
    def anything(deals: ibis.Table, **more: Any) -> None: ...

    for function, message in (
        (no_default, "no default"),
        (wrong_type, "must be str"),
        (outside, "none of its choices"),
        (unknown_need, "no parameter"),
        (anything, "name each parameter"),
    ):
        with pytest.raises(TypeError, match=message):
            table_spec(function, "deals.broken")


def test_every_table_found_is_named_after_its_module_and_has_a_title() -> None:
    found = registry.tables()
    assert "funnel.win_rate" in found
    for name, spec in found.items():
        module, _, function = name.partition(".")
        assert spec.function.__name__ == function
        assert spec.function.__module__.startswith(f"salesops_kit.analysis.{module}")
        assert spec.title
        assert registry.find_table(name) == spec


def test_references_are_keyed_by_analysis() -> None:
    found = registry.references()
    assert found["funnel"].tables == ("opportunity_states", "stages")


def test_unknown_table_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"Did you mean .*funnel\.win_rate"):
        registry.find_table("funnel.winrate")
    with pytest.raises(InputError, match="unknown table 'nothing'"):
        registry.find_table("nothing")


def test_importing_the_registry_imports_no_analysis_and_no_engine() -> None:
    code = (
        "import sys, salesops_kit.registry\n"
        "bad = [m for m in sys.modules if m.startswith(('salesops_kit.analysis', 'ibis', 'pandas'))]\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
