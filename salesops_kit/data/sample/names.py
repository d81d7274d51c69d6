"""Invented names of companies, people and campaigns, some in Chinese and Korean script."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LATIN, CHINESE, KOREAN = 0, 1, 2

_HEADS = [
    "Aldermoor",
    "Brightquay",
    "Calverton",
    "Dunnevale",
    "Eastmarrow",
    "Fennbrook",
    "Glasswick",
    "Harrowmere",
    "Inverlake",
    "Jorvanta",
    "Kestrelby",
    "Lornfield",
    "Marlowick",
    "Northquarry",
    "Ostrava-Lind",
    "Pellucora",
    "Quillhaven",
    "Ravensholt",
    "Silverthorpe",
    "Tarnbeck",
    "Umberline",
    "Velloria",
    "Westerquill",
    "Xandrel",
    "Yarrowgate",
    "Zephyrine",
    "Ambercross",
    "Birchwane",
    "Corvalune",
    "Driftmoor",
    "Elmsworth",
    "Foxhollow",
    "Greywater",
    "Hollisend",
    "Ironvale",
    "Juniperra",
    "Kaldera",
    "Lumenfall",
    "Mistral-Ode",
    "Novagrove",
]
_TRADES = [
    "Logistics",
    "Foods",
    "Analytics",
    "Robotics",
    "Materials",
    "Energy",
    "Textiles",
    "Diagnostics",
    "Packaging",
    "Instruments",
    "Freight",
    "Software",
    "Ceramics",
    "Optics",
    "Marine",
    "Polymers",
    "Metals",
    "Networks",
    "Pharma",
    "Interiors",
    "Aerospace",
    "Printing",
    "Seeds",
    "Motors",
    "Cycles",
    "Labs",
]
_CHINESE_HEADS = [
    "澜岳",
    "恒沐",
    "青祺",
    "拓远辰",
    "云栖禾",
    "瑞砚",
    "锦澄",
    "浩屿",
    "明漾",
    "博岚",
    "嘉穗",
    "启衡",
]
_CHINESE_TRADES = [
    "物流",
    "精密机械",
    "数据科技",
    "新材料",
    "食品",
    "医疗器械",
    "能源",
    "纺织",
    "光电",
    "软件",
]
_KOREAN_HEADS = [
    "가람누리",
    "다온새빛",
    "마루결",
    "바론샘",
    "나래울",
    "해솔빛",
    "미르온",
    "초롱담",
    "이든마루",
    "늘찬",
    "새론벗",
    "아라찬",
]
_KOREAN_TRADES = [
    "물류",
    "정밀",
    "데이터",
    "소재",
    "식품",
    "의료기기",
    "에너지",
    "섬유",
    "광학",
    "소프트웨어",
]
_FIRST = [
    "Ada",
    "Bram",
    "Carla",
    "Dario",
    "Elin",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kira",
    "Liam",
    "Mona",
    "Nils",
    "Olga",
    "Paolo",
    "Quinn",
    "Rosa",
    "Sven",
    "Tara",
    "Umar",
    "Vera",
    "Wout",
    "Xenia",
    "Yara",
    "Zeno",
    "Amara",
    "Boris",
    "Chloe",
    "Denis",
    "Emiko",
    "Felix",
    "Gita",
    "Haruto",
    "Ivana",
    "Jihoon",
    "Kenji",
    "Lena",
    "Minjun",
    "Nadia",
    "Oscar",
]
_LAST = [
    "Abelard",
    "Brandvik",
    "Castellan",
    "Drumond",
    "Eklund",
    "Ferrante",
    "Gallowhill",
    "Hartwell",
    "Ibarrola",
    "Janssonne",
    "Kowalder",
    "Lindqvist",
    "Marchetto",
    "Nakagiri",
    "Okonjo",
    "Petrovan",
    "Quesnel",
    "Rautio",
    "Sandoval",
    "Takemoto",
    "Ullmann",
    "Varga",
    "Westergren",
    "Yamorita",
    "Zelenko",
    "Ashdown",
    "Belmonte",
    "Corwin",
    "Dahlgren",
    "Espino",
    "Falkner",
    "Grunwald",
    "Hayworth",
    "Iwasaka",
    "Jurgens",
    "Kimura",
    "Lavoie",
    "Moreau",
    "Novak",
    "Osterman",
    "Pemberton",
    "Ruzicka",
    "Salvador",
]

CAMPAIGNS = [
    "spring-webinar",
    "annual-summit",
    "product-launch",
    "benchmark-report",
    "partner-roadshow",
    "trial-nurture",
    "always-on-search",
    "customer-stories",
]


def _grid(heads: list[str], tails: list[str], joint: str) -> pa.Array:
    return pa.array([head + joint + tail for tail in tails for head in heads], type=pa.string())


_COMPANIES = (
    _grid(_HEADS, _TRADES, " "),
    pa.array([head + trade + "有限公司" for trade in _CHINESE_TRADES for head in _CHINESE_HEADS]),
    _grid(_KOREAN_HEADS, _KOREAN_TRADES, " "),
)
_STEPS = (419, 47, 47)  # coprime with the sizes of the three grids
_PEOPLE = pa.array(
    [f"{_FIRST[(place * 7) % len(_FIRST)]} {_LAST[place % len(_LAST)]}" for place in range(1763)]
)
_MAILBOXES = pc.replace_substring(pc.utf8_lower(_PEOPLE), " ", ".")


def company_names(numbers: NDArray[np.int64], script: NDArray[np.int64]) -> pa.Array:
    """A company name per account number; a name that comes round again carries a numeral."""
    out = pa.nulls(len(numbers), type=pa.string())
    for kind, grid in enumerate(_COMPANIES):
        cycle = numbers // len(grid)
        base = grid.take(pa.array((numbers * _STEPS[kind]) % len(grid)))
        numeral = pc.binary_join_element_wise(base, pa.array(cycle + 1).cast(pa.string()), " ")
        named = pc.if_else(pa.array(cycle > 0), numeral, base)
        out = pc.if_else(pa.array(script == kind), named, out)
    return out


def person_names(numbers: NDArray[np.int64]) -> pa.Array:
    """A person's name per number; after 1,763 they come round again."""
    return _PEOPLE.take(pa.array(numbers % len(_PEOPLE)))


def mail_addresses(numbers: NDArray[np.int64]) -> pa.Array:
    """An address per number in the domain reserved for examples."""
    boxes = _MAILBOXES.take(pa.array(numbers % len(_PEOPLE)))
    return pc.binary_join_element_wise(
        boxes, pa.array(numbers).cast(pa.string()), pa.scalar("@example.com"), ""
    )
