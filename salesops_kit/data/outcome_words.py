"""The words by which a stage's name says that its deals are won, lost or open."""

from __future__ import annotations

import re

WON = (
    "won", "gewonnen", "gagné", "ganado", "ganada", "ganho", "vinto", "vinta", "vunnen", "wygrana",
    "成交", "赢", "贏", "成功", "수주", "성사", "성공",
)  # fmt: skip
LOST = (
    "lost", "verloren", "perdu", "perdue", "perdido", "perdida", "perso", "persa", "förlora", "przegrana",
    "丢", "丟", "输", "輸", "失", "실주", "실패", "무산",
)  # fmt: skip
OPEN = ("open", "offen", "abierto", "abierta", "ouvert", "ouverte", "aperto", "aperta", "aberto")
# Said of an outcome only where they stand alone: "Win back" is none.
_ALONE = {"win": "won", "lose": "lost"}
# Around the words, what says nothing else: "6 - Closed Won", "ClosedLost", "Deal lost", "已赢单".
_FILLERS = re.compile(r"\b(deal|opportunity|and|the)\b|closed?|[\W\d_已单單]+")


def says(stage: str, words: tuple[str, ...]) -> bool:
    """Whether one of the words is among those of a stage's name; Chinese and Korean ones anywhere in it.

    >>> says("Lost contact", LOST), says("Glossary", LOST), says("成交客户", WON)
    (True, False, True)
    """
    name = stage.casefold()
    among = (re.search(rf"\b{word}\b", name) if word[0].isascii() else word in name for word in words)
    return any(among) or says_only(stage, words)


def says_only(stage: str, words: tuple[str, ...]) -> bool:
    """Whether a stage's name says one of the words and nothing else, so that no person has to confirm it.

    >>> says_only("6 - Closed Won", WON), says_only("Verloren", LOST), says_only("Lost contact", LOST)
    (True, True, False)
    """
    name = _FILLERS.sub("", stage.casefold())
    return _ALONE.get(name, name) in words
