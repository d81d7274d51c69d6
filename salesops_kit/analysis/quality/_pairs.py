"""Accounts and leads that were entered twice, as pairs of a record and the one to keep."""

from __future__ import annotations

import functools

import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from rapidfuzz.distance import Indel

from salesops_kit.data.engine import collect
from salesops_kit.estimators.similar_names import plain_name, similar_pairs

KEPT = 4
COLUMNS = ["record_id", "keep_id", "name", "keep_name", "similarity", "why"]
SAME_EMAIL, SAME_NAME, SIMILAR_NAME = "same e-mail address", "same name", "similar name"
# Of microseconds, as the dates are: the largest of nanoseconds is none of these.
_LATE = pd.Timestamp(2262, 1, 1, tz="UTC")


def account_pairs(accounts: ir.Table, least: float) -> pd.DataFrame:
    """Accounts whose names are alike, in the same country where both countries are known, and of which
    none is the other's parent: the record, and the older one to keep."""
    return _account_pairs(_part(accounts, "account_id", "name", "country", "parent_id", "created_at"), least)


def lead_pairs(leads: ir.Table, least: float, *, email_decides: bool = True) -> pd.DataFrame:
    """Leads with the same e-mail address, or whose names and companies are alike: the record, and the
    older one to keep. With ``email_decides`` two different addresses are two people, whatever the names."""
    rows = _part(leads, "lead_id", "name", "company", "email", "created_at")
    return _lead_pairs(rows, least, email_decides)


def _part(table: ir.Table, *names: str) -> ops.Relation:
    return table.select(*(name for name in names if name in table.columns)).op()


@functools.lru_cache(maxsize=KEPT)
def _account_pairs(rows: ops.Relation, least: float) -> pd.DataFrame:
    frame = _texts(rows, "account_id", ("name", "country", "parent_id"))
    pairs = similar_pairs(frame["name"].tolist(), apart=frame["country"].str.casefold().tolist(), least=least)
    left, right = frame.iloc[pairs["left"]], frame.iloc[pairs["right"]]
    related = (left["parent_id"].to_numpy() == right["id"].to_numpy()) | (
        right["parent_id"].to_numpy() == left["id"].to_numpy()
    )
    return _ordered(frame, pairs[~related])


@functools.lru_cache(maxsize=KEPT)
def _lead_pairs(rows: ops.Relation, least: float, email_decides: bool) -> pd.DataFrame:
    frame = _texts(rows, "lead_id", ("name", "company", "email"))
    frame["email"] = frame["email"].str.strip().str.casefold()
    # A name without a company, or the other way round, is shared by people who have nothing in common.
    both = (frame["name"] != "") & (frame["company"] != "")
    if email_decides and (frame["email"] != "").all():
        both &= False
    texts = (frame["name"] + " " + frame["company"]).where(both, "")
    pairs = similar_pairs(texts.tolist(), least=least)
    # A long company's name must not make up for another person's.
    persons = frame["name"].map(lambda name: " ".join(plain_name(name)).strip())
    ends = zip(persons.iloc[pairs["left"]], persons.iloc[pairs["right"]], strict=True)
    alike = [Indel.normalized_similarity(one, other) >= least for one, other in ends]
    pairs = pairs[np.array(alike, dtype=bool)]
    if email_decides:
        mails = [frame["email"].iloc[pairs[side]].to_numpy() for side in ("left", "right")]
        pairs = pairs[(mails[0] == "") | (mails[1] == "") | (mails[0] == mails[1])]
    known = frame[frame["email"] != ""].sort_values(["email", "created_at", "id"])
    before = known["email"].shift() == known["email"]
    first = known.groupby("email")["id"].transform("idxmin") if len(known) else known["id"]
    mailed = pd.DataFrame({"left": first[before], "right": known.index[before], "similarity": 1.0})
    mailed["why"] = SAME_EMAIL
    both_ways = pd.concat([mailed, pairs], ignore_index=True)
    low, high = both_ways[["left", "right"]].min(axis=1), both_ways[["left", "right"]].max(axis=1)
    return _ordered(frame, both_ways.assign(left=low, right=high).drop_duplicates(["left", "right"]))


def _texts(rows: ops.Relation, key: str, names: tuple[str, ...]) -> pd.DataFrame:
    found = collect(rows.to_expr())
    frame = pd.DataFrame({"id": found[key].astype(object)})
    for name in names:
        texts = found[name] if name in found else pd.Series("", index=found.index, dtype=object)
        frame[name] = texts.astype(object).where(texts.notna(), "").astype(object)
    moments = found["created_at"] if "created_at" in found else pd.Series(pd.NaT, index=found.index)
    frame["created_at"] = pd.to_datetime(moments, utc=True)
    return frame


def _ordered(frame: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs by record, each with the older of the two as the one to keep: for each record one pair,
    the most alike."""
    left, right = frame.iloc[pairs["left"].astype(int)], frame.iloc[pairs["right"].astype(int)]
    made = pd.DataFrame(
        {
            **{f"left_{name}": left[name].to_numpy() for name in ("id", "name")},
            **{f"right_{name}": right[name].to_numpy() for name in ("id", "name")},
            "similarity": pairs["similarity"].to_numpy(),
            "why": pairs["why"].to_numpy() if "why" in pairs else None,
        }
    )
    # Records without a date are taken for younger than those with one; ids decide between equals.
    ages = [part["created_at"].fillna(_LATE).to_numpy() for part in (left, right)]
    swap = (ages[1] < ages[0]) | ((ages[1] == ages[0]) & (made["right_id"] < made["left_id"]).to_numpy())
    result = pd.DataFrame(
        {
            "record_id": np.where(swap, made["left_id"], made["right_id"]),
            "keep_id": np.where(swap, made["right_id"], made["left_id"]),
            "name": np.where(swap, made["left_name"], made["right_name"]),
            "keep_name": np.where(swap, made["right_name"], made["left_name"]),
            "similarity": made["similarity"].astype(float),
            "why": made["why"]
            .astype(object)
            .where(made["why"].notna(), np.where(made["similarity"] >= 1, SAME_NAME, SIMILAR_NAME)),
        }
    )
    result = result.sort_values(["record_id", "similarity", "keep_id"], ascending=[True, False, True])
    return result.drop_duplicates("record_id")[COLUMNS].reset_index(drop=True)
