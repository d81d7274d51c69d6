"""Names that are one, against comparing every name with every other."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from salesops_kit.estimators.similar_names import plain_name, similar_pairs

LEAST = 0.9


def alike(one: str, other: str) -> float:
    """1 less the share of letters to put in or take out: by the longest common subsequence."""
    previous = [0] * (len(other) + 1)
    for letter in one:
        row = [0]
        for place, mate in enumerate(other):
            row.append(previous[place] + 1 if letter == mate else max(row[-1], previous[place + 1]))
        previous = row
    return 2 * previous[-1] / (len(one) + len(other)) if one or other else 1.0


def naive(names: list[str]) -> set[tuple[int, int]]:
    found = set()
    for (a, one), (b, other) in itertools.combinations(enumerate(names), 2):
        (left, digits), (right, others) = plain_name(one), plain_name(other)
        if not left or not right or digits != others:
            continue
        joined = alike(left.replace(" ", ""), right.replace(" ", ""))
        turned = alike(" ".join(sorted(left.split())), " ".join(sorted(right.split())))
        long = min(len(left.replace(" ", "")), len(right.replace(" ", ""))) >= 6
        if left == right or (long and max(joined, turned) >= LEAST):
            found.add((a, b))
    return found


def spoilt(name: str, draw: random.Random) -> str:
    """The name as somebody else types it: one letter off in the middle, another form, other case."""
    place = draw.randrange(4, max(5, len(name) - 4))
    kinds = [
        name.upper(),
        f"{name} Inc.",
        f"{name}, GmbH",
        name[:place] + name[place + 1 :],
        name.replace(" ", "  "),
    ]
    return draw.choice(kinds)


def test_pairs_are_those_of_a_comparison_of_all_with_all() -> None:
    draw = random.Random(5)
    first = [
        "Harrow",
        "Brightquay",
        "Lumenfall",
        "Tarnbeck",
        "Quillhaven",
        "Aldermoor",
        "Juniper",
        "Kestrelby",
    ]
    second = ["Logistics", "Foods", "Printing", "Software", "Machinery", "Seeds", "Instruments"]
    names = [f"{draw.choice(first)} {draw.choice(second)}{draw.choice(['', ' 2', ' 3'])}" for _ in range(90)]
    names += [spoilt(name, draw) for name in names[:40]] + ["", "浩屿物流有限公司", "浩屿物流", "浩岛物流"]
    pairs = similar_pairs(names, least=LEAST)
    found = set(zip(pairs["left"], pairs["right"], strict=True))
    wanted = naive(names)
    # Of one name used many times only neighbours are compared, which joins them all the same.
    same = {(a, b) for a, b in wanted if plain_name(names[a]) == plain_name(names[b])}
    assert found <= wanted
    assert {(a, b) for a, b in wanted - same if plain_name(names[a]) != plain_name(names[b])} <= found
    assert {b for _a, b in same} == {b for a, b in found & same}


def test_numbers_and_countries_keep_names_apart() -> None:
    names = ["Calverton Freight 2", "Calverton Freight", "Calverton Freight Ltd", "calverton freight"]
    pairs = similar_pairs(names, apart=["x", "Spain", "Spain", "Italy"], least=LEAST)
    assert set(zip(pairs["left"], pairs["right"], strict=True)) == {(1, 2)}
    open_ = similar_pairs(names, apart=["x", "Spain", "", ""], least=LEAST)
    assert {(1, 2), (1, 3), (2, 3)} == set(zip(open_["left"], open_["right"], strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Krüger", "KRUEGER"),
        ("Ba\u0308cker GmbH", "Baecker"),
        ("Möller", "Moeller AG"),
        ("Weißgroß", "WEISSGROSS"),
        ("Ørsted Årø", "Oersted Aaroe"),
        ("Kjær", "Kjaer"),
    ],
)
def test_a_letter_and_the_two_it_is_spelt_with_are_one(one: str, other: str) -> None:
    assert plain_name(one) == plain_name(other)
    assert similar_pairs([one, other], least=LEAST)["similarity"].tolist() == [1.0]


def test_other_vowels_are_not_taken_for_umlauts() -> None:
    assert similar_pairs(["Möller", "Maller", "Müller", "Krüger", "Krager"], least=LEAST).empty


@pytest.mark.parametrize("names", [[], ["Acme"], ["", ""], ["Inc.", "Ltd"], ["Nova", "Novo"]])
def test_nothing_to_compare_gives_no_pair(names: list[str]) -> None:
    assert similar_pairs(names, least=LEAST).empty


def test_the_order_of_the_names_does_not_matter() -> None:
    names = ["Greywater Energy", "Other Company Works", "Greywater Energi", "GREYWATER ENERGY INC"]
    backwards = similar_pairs(names[::-1], least=LEAST)
    forwards = similar_pairs(names, least=LEAST)
    turned = {
        (len(names) - 1 - b, len(names) - 1 - a)
        for a, b in zip(backwards["left"], backwards["right"], strict=True)
    }
    assert turned == set(zip(forwards["left"], forwards["right"], strict=True))


@pytest.mark.campaign
def test_a_hundred_thousand_accounts_take_less_than_a_minute() -> None:
    draw = random.Random(1)
    heads = [
        "".join(draw.choice("bcdfghklmnprstvw") + draw.choice("aeiou") for _ in range(3)) for _ in range(3000)
    ]
    tails = ["Energy", "Printing", "Logistics", "Foods", "Systems", "Motors", "Seeds", "Freight"]
    names = [f"{draw.choice(heads)} {draw.choice(heads)} {draw.choice(tails)}" for _ in range(99_000)]
    names += [f"{name.upper()} Ltd" for name in names[:1000]]
    start = time.process_time()
    pairs = similar_pairs(names, least=0.92)
    assert time.process_time() - start < 60
    assert set(range(99_000, 100_000)) <= set(pairs["right"])
