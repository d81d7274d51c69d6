"""Values that exports really hold: kept to the letter, read as declared, or set aside with their place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salesops_kit.data import engine
from salesops_kit.data.dataset import team_tree
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.values import EXPECTED, expected
from salesops_kit.errors import InputError

HEADER = "opportunity_id,stage,amount\n"
MAPPED = "tables: {opportunities: {from: opportunities.csv}}\n"
MONEY = "an amount such as 1234.56"


def amounts(*texts: str) -> str:
    """One won deal per text, quoted: d0, d1, ..."""
    rows = [f'd{number},Won,"{text}"' for number, text in enumerate(texts)]
    return HEADER + "\n".join(rows) + "\n"


GERMAN = (
    "files: {'*': {decimal: ',', thousands: '.', dates: '%d.%m.%Y', instants: ['%d.%m.%Y %H:%M', '%Y']}}\n"
    "tables: {opportunities: {from: opportunities.csv, columns: {close_date: {column: close_date, "
    "dates: epoch_ms}}}}\n"
)


def test_what_is_expected_is_an_example_as_the_file_writes_it(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,amount,created_date,created_at,close_date,probability\n"
        'a,Won,"640,000.00",2026-01-05,5 May,2026-02-01,x\n'
        'b,Won,"1.640,50",05.01.2026,05.01.2026 10:00,,"0,5"\n',
        mapping=GERMAN,
    )
    assert made.column("opportunity_id") == ["b"]
    assert {row[2]: row[3] for row in made.found("set aside")} == {
        "amount": "an amount such as 1.234,56",
        "created_date": "a date such as 31.07.2026, from 1970-01-01 to 2199-12-31",
        "created_at": "a moment such as 31.07.2026 18:00",
        "close_date": "a date such as 1785520800000, in milliseconds since 1970",
        "probability": "a share between 0 and 1",
    }
    rows = "".join(f'd{n},Won,"1,234.5",\n' for n in range(20))
    header = HEADER.replace("amount", "amount,close_date")
    assert desk.refused_once(header + rows, mapping=GERMAN).expected == "an amount such as 1.234,56"


@pytest.mark.parametrize(
    ("type_", "written", "example"),
    [
        ("date", {"dates": ("%m/%d/%y", "%Y")}, "a date such as 07/31/26, from 1970-01-01 to 2199-12-31"),
        (
            "date",
            {"dates": "iso_or_epoch_ms"},
            f"{EXPECTED['date']}, or 1785520800000, in milliseconds since 1970",
        ),
        ("instant", {"instants": "%H:%M:%S.%g %z %Y"}, "a moment such as 18:00:00.000 +0000 2026"),
        ("money", {"decimal": ","}, "an amount such as 1234,56"),
        *((type_, {}, text) for type_, text in EXPECTED.items()),
    ],
)
def test_an_example_of_each_way_of_writing(type_: str, written: dict[str, Any], example: str) -> None:
    assert expected(type_, FileFormat(**written)) == example


def test_18_words_that_look_like_nulls_are_kept(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,owner_id,stage,lead_source,created_date\n"
        "NA,r1,Won,None,2026-01-01\nnull,r1,NULL,nan,2026-01-01\n",
        team_memberships="owner_id,team,valid_from_date\nr1,NA,2020-01-01\n",
        teams="team\nNA\nNone\nnull\n",
    )
    assert made.column("opportunity_id") == ["NA", "null"]
    assert made.column("lead_source") == ["None", "nan"]
    assert sorted(made.table("stages")["stage"]) == ["(open)", "NULL", "Won"]
    assert team_tree(made.rows).leaves == ("NA", "None", "null")
    assert made.exclusions("set aside") == []


def test_18_declared_null_words_are_null(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,amount,lead_source\na1,Won,n/a,NA\n",
        mapping="files: {'*': {null_values: [n/a, NA]}}\n" + MAPPED,
    )
    assert (made.column("amount"), made.column("lead_source")) == ([None], [None])
    assert made.exclusions("set aside") == []


def test_19_20_ids_are_text(desk: Any) -> None:
    ids = ["0070Z1", "0070z1", "007", "9007199254740993", "9007199254740992", "1e5", "TRUE", "2026-01-01"]
    made = desk.load("opportunity_id,account_id,stage\n" + "".join(f"{i},{i},Won\n" for i in ids))
    assert made.column("opportunity_id") == sorted(ids)
    assert made.column("account_id") == sorted(ids)


def test_21_to_26_other_ways_of_writing_numbers_are_set_aside_undeclared(desk: Any) -> None:
    odd = ["1.234,56", "1,234", "(100)", "$100", "\u2212100", "１２３", "1 234", "12%", "0x1F", "1_000"]
    made = desk.load(amounts(*odd, "5"))
    assert made.column("amount") == [Decimal(5)]
    assert made.found("set aside") == [
        ("opportunities.csv", row, "amount", MONEY, text) for row, text in enumerate(odd, 2)
    ]


@pytest.mark.parametrize(
    ("declared", "texts", "expected"),
    [
        (
            "decimal: ',', thousands: '.'",
            ["1.234,56", "-1.234.567,8", "12,5", "7"],
            "1234.56 -1234567.8 12.5 7",
        ),
        ("thousands: ','", ["1,234", "1,234,567.89", "1234.5", ".5"], "1234 1234567.89 1234.5 0.5"),
        (
            "parentheses_are_negative: true, currency_symbols: [$, US$, €]",
            ["(100)", "$100", "($1.50)", "-$2", "$-3", "€ 4", "5 €", "US$6", "$(7)"],
            "-100 100 -1.5 -2 -3 4 5 6 -7",
        ),
        ("full_width: true", ["\u2212100", "１２３", "－４．５"], "-100 123 -4.5"),
        ("thousands: '\u00a0', decimal: ','", ["1\u00a0234,5"], "1234.5"),
    ],
)
def test_21_to_26_declared_ways_are_read(desk: Any, declared: str, texts: list[str], expected: str) -> None:
    made = desk.load(amounts(*texts), mapping=f"files: {{'*': {{{declared}}}}}\n{MAPPED}")
    assert made.column("amount") == [Decimal(text) for text in expected.split()]
    assert made.exclusions("set aside") == []


def test_21_a_declared_way_is_not_stretched(desk: Any) -> None:
    wrong = ["1.23,4", "1,2,3", "12.34.567", "1.2345,6"]
    made = desk.load(amounts(*wrong), mapping="files: {'*': {decimal: ',', thousands: '.'}}\n" + MAPPED)
    assert [row["got"] for row in made.exclusions("set aside")] == wrong


def test_27_what_is_no_finite_number_is_set_aside(desk: Any) -> None:
    made = desk.load(amounts("NaN", "inf", "-Infinity", "1e400", "1e15", "99999999999999.99", "1e3"))
    assert made.column("amount") == [Decimal("99999999999999.99"), Decimal(1000)]
    assert [row["source_row"] for row in made.exclusions("set aside")] == [2, 3, 4, 5, 6]
    scores = "account_id,surveyed_date,score\n" + "".join(
        f"a,2026-01-01,{text}\n" for text in ["nan", "inf", "1e400", "9" * 400, "4.5"]
    )
    made = desk.load(amounts("1"), surveys=scores)
    assert made.column("score", "surveys") == [4.5]


def test_28_a_negative_amount_is_kept_and_flagged(desk: Any) -> None:
    made = desk.load(amounts("-5", "5"))
    assert made.column("amount") == [Decimal(-5), Decimal(5)]
    assert made.found("kept") == [("opportunities.csv", 2, "amount", "0 or more", "-5.0000")]


def test_29_mixed_currencies_are_refused_without_rates(desk: Any) -> None:
    deals = "opportunity_id,stage,amount,currency\na1,Won,1,USD\na2,Won,2,EUR\na3,Won,2,eur \na4,Won,,JPY\n"
    problem = desk.refused_once(deals)
    assert (problem.file, problem.column, problem.got) == ("opportunities", "currency", "EUR")
    assert problem.count == 2
    rates = "base,quote,month,kind,rate\nEUR,USD,2026-01-01,plan,1.10\n"
    made = desk.load(deals, fx_rates=rates)
    assert made.column("currency") == ["USD", "EUR", "EUR", "JPY"]
    assert "EUR are converted to USD" in made.notes
    states = made.rows.in_base("opportunity_states", 2026)
    frame = engine.collect(states).groupby("opportunity_id")["amount"].last()
    assert list(frame) == [Decimal(1), Decimal("2.2"), Decimal("2.2"), None]


def test_29_other_tables_need_rates_too(desk: Any) -> None:
    problems = desk.refused(
        amounts("1"),
        quotas="owner_id,period_start_date,period_end_date,quota,currency\nr1,2026-01-01,2026-04-01,9,GBP\n",
        invoices="invoice_id,amount,currency\ni1,5,CHF\n",
    )
    assert [(p.file, p.got) for p in problems] == [("invoices", "CHF"), ("quotas", "GBP")]


def test_29_a_rate_of_nothing_is_set_aside(desk: Any) -> None:
    made = desk.load(amounts("1"), fx_rates="base,quote,month,kind,rate\nEUR,USD,2026-01-01,plan,0\n")
    assert [(row["source_file"], row["column_name"]) for row in made.exclusions("set aside")] == [
        ("fx_rates.csv", "rate")
    ]


def test_30_31_money_is_exact(desk: Any) -> None:
    texts = ["1234567", "0.125", "0.005", "1.005", "2.675", "0.0001", "-0.005"]
    made = desk.load(amounts(*texts))
    assert made.column("amount") == [Decimal(text) for text in texts]
    cents = desk.load(amounts(*["0.005"] * 2000, *["-0.005"] * 1000, *["0.1"] * 1000))
    assert sum(cents.column("amount")) == Decimal("105.000")


def test_32_a_repeated_key_is_set_aside_after_its_first_row(desk: Any) -> None:
    made = desk.load(HEADER + "a1,Won,1\na2,Won,2\na1,Lost,3\n\na1,Open,4\n")
    assert made.column("amount") == [Decimal(1), Decimal(2)]
    assert made.found("set aside") == [
        ("opportunities.csv", 4, "opportunity_id", "a key that occurs once", "a1"),
        ("opportunities.csv", 6, "opportunity_id", "a key that occurs once", "a1"),
    ]


def test_32_a_key_with_an_empty_part_repeats_too(desk: Any) -> None:
    made = desk.load(amounts("1"), stages="pipeline,stage,position\n,Open,1\n,Open,2\n,Won,3\n")
    assert [(row["table_name"], row["source_row"]) for row in made.exclusions("set aside")] == [("stages", 3)]


def test_32_a_lookup_that_would_multiply_rows_is_refused(desk: Any) -> None:
    mapping = (
        "tables:\n  opportunities:\n    from: opportunities.csv\n    columns:\n      amount:\n"
        "        {column: sku, lookup: {file: prices.csv, key: sku, value: price}}\n"
    )
    deals = "opportunity_id,stage,sku\na1,Won,x \na2,Won,z\n"
    problem = desk.refused_once(deals, mapping=mapping, prices="sku,price\nx,1\ny,2\nx,3\n,4\n,5\n")
    assert (problem.file, problem.row, problem.column, problem.got, problem.count) == (
        "prices.csv", 2, "sku", "x", 2,
    )  # fmt: skip
    made = desk.load(deals, mapping=mapping, prices="sku,price\nx,1\ny,2\n,4\n,5\n")
    assert made.column("amount") == [Decimal(1), None]


def test_33_null_keys(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,account_id,owner_id,stage\n,a,r1,Won\nd2,,,Won\nd3,zz,r1,Won\n",
        accounts="account_id\na\n",
        reps="owner_id\nr1\n",
    )
    assert made.column("opportunity_id") == ["d2", "d3"]
    assert made.found("set aside") == [("opportunities.csv", 2, "opportunity_id", "a value", None)]
    assert made.found("kept") == [
        ("opportunities.csv", 3, "account_id", "a value", None),
        ("opportunities.csv", 3, "owner_id", "a value", None),
        ("opportunities.csv", 4, "account_id", "a value that accounts holds", "zz"),
    ]
    assert set(made.table("opportunity_states").query("opportunity_id == 'd2'")["team"]) == {"(no team)"}


def test_34_a_zero_quota_is_kept(desk: Any) -> None:
    made = desk.load(
        amounts("1"), quotas="owner_id,period_start_date,period_end_date,quota\nr1,2026-01-01,2026-04-01,0\n"
    )
    assert made.column("quota", "quotas") == [Decimal(0)]
    assert made.exclusions() == []


def test_35_spellings_that_differ_by_case_or_spaces_are_one(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,owner_id,created_date,stage,lead_source\na1,r1,2026-01-01,Won,Web\n"
        "a2,r1,2026-01-01,won,Web\na3,r1,2026-01-01,Won,web \na4,r1,2026-01-01,Won,Event\n",
        team_memberships="owner_id,team,valid_from_date\n"
        "r1,EMEA,2020-01-01\nr2,EMEA ,2020-01-01\nr3,emea,2020-01-01\n",
        quotas="team,period_start_date,period_end_date,quota\nEmea,2026-01-01,2026-04-01,5\n",
    )
    assert team_tree(made.rows).leaves == ("EMEA",)
    assert made.column("team", "quotas") == ["EMEA"]
    assert made.column("lead_source") == ["Web", "Web", "Web", "Event"]
    assert made.column("stage") == ["Won"] * 4
    assert made.found("kept") == [
        ("opportunities.csv", 3, "stage", "Won", "won"),
        ("opportunities.csv", 4, "lead_source", "Web", "web "),
        ("quotas.csv", 2, "team", "EMEA", "Emea"),
        ("team_memberships.csv", 3, "team", "EMEA", "EMEA "),
        ("team_memberships.csv", 4, "team", "EMEA", "emea"),
    ]


def test_35_a_declared_spelling_wins_over_a_frequent_one(desk: Any) -> None:
    settings = "stages: [{stage: Open}, {stage: Closed Won, is_closed: true, is_won: true}]\n"
    made = desk.load(
        "opportunity_id,stage,type\na1,CLOSED WON,New\na2,CLOSED WON,New\na3,open,new\n", settings=settings
    )
    assert made.column("stage") == ["Closed Won", "Closed Won", "Open"]
    assert made.column("type") == ["new"] * 3
    assert sorted(made.table("stages")["stage"]) == ["(open)", "Closed Won", "Open"]


def test_35_values_that_are_all_padded_alike_are_trimmed_without_a_word(desk: Any) -> None:
    made = desk.load("opportunity_id,stage,lead_source\na1,Won\u00a0,  Web\na2,Won\u00a0,   \n")
    assert (made.column("stage"), made.column("lead_source")) == (["Won", "Won"], ["Web", None])
    assert made.exclusions() == []


def test_35_a_stage_of_spaces_is_a_missing_stage(desk: Any) -> None:
    made = desk.load("opportunity_id,stage\na1, \u3000\na2,Won\n")
    assert made.found("set aside") == [("opportunities.csv", 2, "stage", "a value", None)]


def test_36_composed_and_decomposed_letters_are_one(desk: Any) -> None:
    nfc, nfd = "Zo\u00eb", "Zoe\u0308"
    made = desk.load(
        f"opportunity_id,owner_id,created_date,stage,lead_source\n"
        f"a1,{nfc},2026-01-01,Won,{nfc}\na2,{nfd},2026-01-01,Won,{nfd}\n",
        reps=f"owner_id,name\n{nfd},{nfd}\n",
        team_memberships=f"owner_id,team,valid_from_date\n{nfc},T,2020-01-01\n",
    )
    assert made.column("lead_source") == made.column("owner_id") == [nfc, nfc]
    assert set(made.table("opportunity_states")["team"]) == {"T"}
    assert made.exclusions() == []


def test_37_38_39_61_62_texts_are_kept_to_the_letter(desk: Any) -> None:
    texts = [
        "zero\u200bwidth \u202ertl", "n" * 10_000, "🎉 大口 고객", "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0", "@SUM(1)", "-1+1", "' OR 1=1 --", "{x.__class__}", "$(rm -rf)", "\\N", "a;b\tc",
    ]  # fmt: skip
    rows = "".join(f'd{i:02d},"{text}","{text}","{text}"\n' for i, text in enumerate(texts))
    made = desk.load("opportunity_id,stage,name,partner\n" + rows)
    assert made.column("stage") == made.column("name") == made.column("partner") == texts
    assert sorted(set(made.table("stages")["stage"]) - {"(open)"}) == sorted(texts)
    assert made.exclusions() == []


def test_63_a_hostile_team_or_filter_matches_no_row(desk: Any) -> None:
    hostile = "' OR 1=1 --"
    made = desk.load(amounts("1"))
    with pytest.raises(InputError, match="unknown team"):
        team_tree(made.rows).members(hostile)
    mapping = f'tables: {{opportunities: {{from: opportunities.csv, where: {{stage: ["{hostile}"]}}}}}}\n'
    assert desk.load(amounts("1"), mapping=mapping).column("opportunity_id") == []


def test_hostile_column_names_pass_through(desk: Any) -> None:
    names = ['x"; DROP TABLE y', "it's", "s", "_bad", "source_row", "Source_File", "(SELECT 1)", "列", "a.b"]
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    values = ",".join(f"v{i}" for i in range(len(names)))
    made = desk.load(f"opportunity_id,stage,{quoted}\na1,Won,{values}\na2,,{values}\n")
    row = made.rows.table("opportunities").to_pyarrow().to_pylist()[0]
    kept = {
        name: f"v{i}" for i, name in enumerate(names) if name not in ("_bad", "source_row", "Source_File")
    }
    assert {name: row[name] for name in kept} == kept
    assert row["_bad (source)"] == "v3"
    assert made.found("set aside") == [("opportunities.csv", 3, "stage", "a value", None)]


def test_a_column_of_which_nothing_can_be_read_is_refused(desk: Any) -> None:
    problem = desk.refused_once(amounts(*[f"{i},5" for i in range(1, 31)]))
    assert (problem.file, problem.row, problem.column, problem.got, problem.count) == (
        "opportunities.csv", 2, "amount", "1,5", 30,
    )  # fmt: skip


def test_a_share_outside_its_range_is_dropped_and_flagged(desk: Any) -> None:
    made = desk.load("opportunity_id,stage,probability\na1,Won,100\na2,Won,0.4\n")
    assert made.column("probability") == [None, 0.4]
    assert made.found("kept") == [("opportunities.csv", 2, "probability", "0 to 1", "100.0")]
