"""The canonical tables as data: grain, key, column types, nulls, scope and references.

A column's type is one word, with ``!`` where a null is refused:

========= ==========================================================================
id        text that names a thing; kept literally ("007" stays "007")
text      free text, attacker-controlled
category  text from a short list that the data sets
bool      true or false
int       whole number
number    64-bit float
money     decimal(18,4) in the row's currency
rate      0 to 1
date      a business date
instant   a moment, stored in UTC
========= ==========================================================================

``scope`` says how rows are cut for one team: ``opportunity`` (through the deal), ``owner:<date>``
(the owner's team on that date), ``owner`` (any time in the team), ``account``, ``team``, ``lead``,
``shared`` (no row belongs to a team).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MONEY_TYPE = "decimal(18,4)"
EARLIEST_DATE, LATEST_DATE = "1970-01-01", "2199-12-31"
LINEAGE = ("source_file", "source_row")


@dataclass(frozen=True)
class Column:
    """One column of a canonical table."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    """The contract of one canonical table. ``business_dates`` names, for a date that an instant gives, the
    instant: where a row has no such date it is computed once, at import, in the business zone."""

    name: str
    grain: str
    columns: Mapping[str, Column]
    scope: str
    key: tuple[str, ...] = ()
    business_dates: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)


_TYPES = ("id", "text", "category", "bool", "int", "number", "money", "rate", "date", "instant")


def _table(
    name: str,
    grain: str,
    columns: str,
    *,
    key: str = "",
    scope: str,
    business_dates: Mapping[str, str] | None = None,
    choices: Mapping[str, str] | None = None,
    references: Mapping[str, str] | None = None,
) -> Table:
    parsed: dict[str, Column] = {}
    for word in columns.split():
        column, _, type_ = word.partition(":")
        bare = type_.removesuffix("!")
        if bare not in _TYPES:
            raise AssertionError(f"{name}.{column}: no such type {bare!r}")
        parsed[column] = Column(column, bare, nullable=not type_.endswith("!"))
    return Table(
        name=name,
        grain=grain,
        columns=MappingProxyType(parsed),
        scope=scope,
        key=tuple(key.split()),
        business_dates=MappingProxyType(dict(business_dates or {})),
        choices=MappingProxyType({k: tuple(v.split("/")) for k, v in (choices or {}).items()}),
        references=MappingProxyType(dict(references or {})),
    )


_ALL = (
    _table(
        "opportunities",
        "one deal, current state",
        """opportunity_id:id! account_id:id owner_id:id name:text type:category pipeline:category
        lead_source:category product_id:id partner:text created_at:instant created_date:date
        close_date:date stage:category! amount:money acv:money tcv:money term_months:int
        currency:category is_tax_included:bool probability:rate forecast_category:category
        next_step:text next_step_date:date last_activity_at:instant is_closed:bool is_won:bool
        is_deleted:bool loss_reason:category competitor:category""",
        key="opportunity_id",
        scope="opportunity",
        business_dates={"created_date": "created_at"},
        choices={"type": "new/expansion/renewal"},
        references={"account_id": "accounts", "product_id": "products", "owner_id": "reps"},
    ),
    _table(
        "opportunity_history",
        "one change of one deal, with the full state after it",
        """opportunity_id:id! changed_at:instant! observed_at:instant changed_date:date stage:category!
        amount:money currency:category close_date:date forecast_category:category owner_id:id
        is_deleted:bool source:category""",
        key="opportunity_id changed_at",
        scope="opportunity",
        business_dates={"changed_date": "changed_at"},
        references={"opportunity_id": "opportunities"},
    ),
    _table(
        "opportunity_lines",
        "one product line of one deal",
        "opportunity_id:id! product_id:id quantity:number list_price:money discount:rate amount:money",
        scope="opportunity",
        references={"opportunity_id": "opportunities", "product_id": "products"},
    ),
    _table(
        "products",
        "one product",
        "product_id:id! name:text family:category list_price:money currency:category",
        key="product_id",
        scope="shared",
    ),
    _table(
        "stages",
        "one stage of one pipeline",
        """pipeline:category stage:category! position:int! is_closed:bool is_won:bool
        default_probability:rate forecast_category:category""",
        key="pipeline stage",
        scope="shared",
    ),
    _table(
        "accounts",
        "one customer or prospect",
        """account_id:id! name:text segment:category industry:category region:category country:category
        employees:int parent_id:id created_at:instant business_model:category""",
        key="account_id",
        scope="account",
        choices={"business_model": "B2B/B2C"},
    ),
    _table(
        "leads",
        "one lead",
        """lead_id:id! name:text company:text email:text created_at:instant! source:category owner_id:id
        mql_at:instant sal_at:instant sql_at:instant converted_at:instant opportunity_id:id
        status:category""",
        key="lead_id",
        scope="owner:created_at",
        references={"opportunity_id": "opportunities", "owner_id": "reps"},
    ),
    _table(
        "touches",
        "one marketing touch of a lead or an account",
        "lead_id:id account_id:id occurred_at:instant! channel:category campaign:category",
        scope="lead",
        references={"lead_id": "leads", "account_id": "accounts"},
    ),
    _table(
        "activities",
        "one call, e-mail or meeting",
        """activity_id:id! event_uid:id owner_id:id type:category direction:category started_at:instant!
        ended_at:instant replied_at:instant opportunity_id:id account_id:id lead_id:id
        is_customer_facing:bool""",
        key="activity_id",
        scope="owner:started_at",
        references={"owner_id": "reps", "opportunity_id": "opportunities"},
    ),
    _table(
        "reps",
        "one person who sells",
        """owner_id:id! employee_id:id name:text role:category segment:category is_quota_carrying:bool
        hired_date:date left_date:date manager_id:id""",
        key="owner_id",
        scope="owner",
    ),
    _table(
        "team_memberships",
        "one stay of one rep in one team, half-open",
        "owner_id:id! team:category! valid_from_date:date valid_to_date:date",
        key="owner_id valid_from_date",
        scope="team",
        references={"owner_id": "reps"},
    ),
    _table(
        "teams",
        "one team",
        "team:category! parent_team:category region:category",
        key="team",
        scope="team",
    ),
    _table(
        "quotas",
        "one quota of one rep or team for one period, half-open",
        """owner_id:id team:category period_start_date:date! period_end_date:date! measure:category
        quota:money! currency:category""",
        scope="owner:period_start_date",
        references={"owner_id": "reps"},
    ),
    _table(
        "plan",
        "one budgeted amount of one team and period",
        "team:category period_start_date:date! measure:category amount:money! currency:category",
        scope="team",
    ),
    _table(
        "forecast_calls",
        "one submitted call for one period",
        """owner_id:id level:category! submitted_at:instant! period:category! category:category
        deal_type:category amount:money! currency:category""",
        scope="owner:submitted_at",
        choices={"level": "rep/manager/executive"},
        references={"owner_id": "reps"},
    ),
    _table(
        "splits",
        "one rep's share of one deal",
        "opportunity_id:id! owner_id:id! share:number! kind:category",
        scope="opportunity",
        choices={"kind": "revenue/overlay"},
        references={"opportunity_id": "opportunities", "owner_id": "reps"},
    ),
    _table(
        "subscriptions",
        "one stretch of recurring revenue at one rate, half-open",
        """subscription_id:id! account_id:id opportunity_id:id product_id:id start_date:date!
        term_end_date:date ended_date:date cancelled_at:instant mrr:money! currency:category""",
        key="subscription_id start_date",
        scope="opportunity",
        references={"account_id": "accounts", "opportunity_id": "opportunities"},
    ),
    _table(
        "account_health",
        "one account in one month",
        "account_id:id! month:date! seats:int active_users:int support_tickets:int satisfaction:number",
        key="account_id month",
        scope="account",
        references={"account_id": "accounts"},
    ),
    _table(
        "invoices",
        "one invoice",
        """invoice_id:id! account_id:id opportunity_id:id issued_date:date paid_date:date amount:money!
        currency:category""",
        key="invoice_id",
        scope="opportunity",
        references={"account_id": "accounts", "opportunity_id": "opportunities"},
    ),
    _table(
        "orders",
        "one repeat-purchase order",
        "order_id:id! account_id:id ordered_date:date! amount:money! currency:category",
        key="order_id",
        scope="account",
        references={"account_id": "accounts"},
    ),
    _table(
        "spend",
        "one kind of cost of one team in one month",
        "month:date! team:category kind:category! is_paid:bool amount:money! currency:category",
        scope="team",
        choices={"kind": "sales/marketing"},
    ),
    _table(
        "absences",
        "one stretch of leave of one rep, half-open",
        "owner_id:id! from_date:date! to_date:date! kind:category",
        scope="owner:from_date",
        references={"owner_id": "reps"},
    ),
    _table(
        "trainings",
        "one training of one rep",
        "owner_id:id! trained_date:date! kind:category score:number",
        scope="owner:trained_date",
        references={"owner_id": "reps"},
    ),
    _table(
        "territories",
        "one stay of one account in one rep's territory, half-open",
        "account_id:id! owner_id:id valid_from_date:date! valid_to_date:date kind:category",
        key="account_id valid_from_date",
        scope="owner:valid_from_date",
        references={"account_id": "accounts", "owner_id": "reps"},
    ),
    _table(
        "surveys",
        "one answered survey of one account",
        "account_id:id! surveyed_date:date! kind:category score:number!",
        scope="account",
        references={"account_id": "accounts"},
    ),
    _table(
        "control_totals",
        "one figure that another system shows",
        "source:category! period:category! measure:category! value:money!",
        key="source period measure",
        scope="company",
    ),
    _table(
        "control_deals",
        "one deal in the bookings that another system shows, in base currency",
        "source:category! period:category! opportunity_id:id! value:money!",
        key="source period opportunity_id",
        scope="company",
    ),
    _table(
        "fx_rates",
        "one month's rate of one currency pair: 1 base = rate quote",
        "base:category! quote:category! month:date! kind:category! rate:number!",
        key="base quote month kind",
        scope="shared",
        choices={"kind": "plan/actual"},
    ),
    _table(
        "comp_assignments",
        "one stay of one rep on one compensation plan, half-open",
        """owner_id:id! plan:category! valid_from_date:date! valid_to_date:date target_variable:money
        currency:category""",
        key="owner_id valid_from_date",
        scope="owner:valid_from_date",
        references={"owner_id": "reps"},
    ),
)

TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _ALL})
