"""The catalogs: static index pages of all reports, rebuilt from the manifests at every run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from salesops_kit import formats
from salesops_kit.language import _, ngettext, text_language, use_locale
from salesops_kit.publishing import files
from salesops_kit.publishing.gates import notes
from salesops_kit.publishing.headlines import Headline, headline
from salesops_kit.publishing.ledger import BAD, GOOD, Entry, Ledger, latest
from salesops_kit.publishing.paths import CATALOG, Address, check_inside, relative_link
from salesops_kit.publishing.render import PAGE
from salesops_kit.publishing.worker import NOTEBOOK_FILE, PAGE_FILE, WORKBOOK_FILE
from salesops_kit.settings import COMPANY, NO_TEAM
from salesops_kit.sparkline import HEIGHT, WIDTH

FOLDER = Path(__file__).parent / "catalog"
# The catalog looks like the pages that it leads to: their style first, then its own.
STYLES = (PAGE / "page.css", FOLDER / "catalog.css")
SHOWN_HEADLINES = 3


@dataclass(frozen=True)
class Link:
    """A link of a card."""

    text: str
    href: str


@dataclass(frozen=True)
class PastRun:
    """One line of a report's history; ``href`` is empty when nothing was published."""

    run: str
    status: str
    as_of: str
    reason: str
    href: str


@dataclass(frozen=True)
class Card:
    """One report of one scope and quarter, as the catalog shows it."""

    title: str
    report: str
    scope: str
    scope_name: str
    quarter: str
    quarter_name: str
    status: str
    as_of: str
    page: str
    links: tuple[Link, ...]
    headlines: tuple[Headline, ...]
    error_cell: int | None
    error: str
    notes: tuple[str, ...]
    good_run: str
    anchor: str
    previous: str
    history: tuple[PastRun, ...]

    @property
    def is_company(self) -> bool:
        """Whether the report is about all teams together."""
        return self.scope == COMPANY


def write_catalogs(root: Path, ledger: Ledger, *, locale: str = "en") -> None:
    """Write reports/index.html, and the index of each team's and each person's own folder.

    The leaders' catalog holds what is for leaders and for teams; private reports stand only in the
    index of their own folder. Reports stand in the order of the plan (:meth:`Ledger.order`).
    """
    order = ledger.order()
    by_address = latest(ledger.entries())
    shared = {a: entries for a, entries in by_address.items() if a.audience != "private"}
    _write(root, PurePosixPath(CATALOG), shared, locale, order, private=False)
    own: dict[tuple[str, str], dict[Address, list[Entry]]] = {}
    for address, entries in by_address.items():
        if address.audience != "leaders":
            own.setdefault((address.audience, address.scope), {})[address] = entries
    for (audience, scope), entries_of in own.items():
        private = audience == "private"
        files.make_folder(root, PurePosixPath(audience, scope), private=private)
        _write(root, PurePosixPath(audience, scope, CATALOG), entries_of, locale, order, private=private)


def _write(
    root: Path,
    page: PurePosixPath,
    by_address: Mapping[Address, Sequence[Entry]],
    locale: str,
    order: Sequence[str],
    *,
    private: bool,
) -> None:
    check_inside(root, page)
    with use_locale(locale):
        text = catalog_page(by_address, page, locale=locale, order=order)
    files.replace_file(root / page, text.encode("utf-8"), private=private)


def catalog_page(
    by_address: Mapping[Address, Sequence[Entry]],
    page: PurePosixPath,
    *,
    locale: str,
    order: Sequence[str] = (),
) -> str:
    """The catalog of some reports as it stands at ``page``, in the current language.

    The only script is the page's own, allowed by its hash, and it only hides and shows what is there.
    """
    made = cards(by_address, page, locale=locale, order=order)
    script = (FOLDER / "catalog.js").read_text(encoding="utf-8")
    script_hash = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    runs = [entry.manifest.run for entries in by_address.values() for entry in entries]
    facts = {
        "lang": text_language(),
        "script": script,
        "script_hash": script_hash,
        "style": "".join(path.read_text(encoding="utf-8") for path in STYLES),
        "groups": _groups(made),
        "quarters": _choices((card.quarter, card.quarter_name) for card in made),
        "teams": _choices((card.scope, card.scope_name) for card in made),
        "reports": _choices((card.report, card.title) for card in made),
        "statuses": [(name, status_text(name)) for name in (GOOD, *BAD)],
        "status_text": status_text,
        "counted": ngettext("{n} report", "{n} reports", len(made)).format(n=len(made)),
        "last_run": max(runs, key=lambda run: int(run.partition("-")[0]), default=""),
        "_": _,
        "trend_size": (WIDTH, HEIGHT),
    }
    return str(_environment().get_template("index.html.j2").render(facts))


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def status_text(status: str) -> str:
    """A status as readers see it."""
    texts = {
        "success": _("Published"),
        "failed": _("Failed"),
        "timeout": _("Timed out"),
        "killed": _("Killed"),
    }
    return texts.get(status, status)


def _choices(pairs: Any) -> list[tuple[str, str]]:
    return sorted(dict(pairs).items(), key=lambda pair: _place(pair[1], pair[0]))


def _place(name: str, scope: str) -> tuple[bool, bool, str]:
    """Where a name stands in a list: the company first, what has no team last."""
    return scope != COMPANY, name == NO_TEAM, name.casefold()


def _groups(made: Sequence[Card]) -> list[tuple[str, list[Card]]]:
    grouped: dict[str, list[Card]] = {}
    for card in made:
        grouped.setdefault(card.quarter_name, []).append(card)
    return list(grouped.items())


def cards(
    by_address: Mapping[Address, Sequence[Entry]],
    page: PurePosixPath,
    *,
    locale: str,
    order: Sequence[str] = (),
) -> list[Card]:
    """A card for each address, the newest quarter first, the company before its teams, "(no team)" last;
    the reports of one scope in the given ``order``, those that it does not name last, by title."""
    quarters: dict[tuple[str, str, str], dict[str, Entry | None]] = {}
    for address, entries in by_address.items():
        same = quarters.setdefault((address.audience, address.scope, address.report), {})
        same[address.quarter] = _last_good(entries)
    made = []
    for address, entries in by_address.items():
        earlier = {
            quarter: good
            for quarter, good in quarters[address.audience, address.scope, address.report].items()
            if quarter < address.quarter
        }
        made.append(_card(address, entries, page, earlier, locale))
    rank = {report: place for place, report in enumerate(order)}
    made.sort(
        key=lambda card: (
            *_place(card.scope_name, card.scope),
            rank.get(card.report, len(rank)),
            card.title,
        )
    )
    return sorted(made, key=lambda card: card.quarter, reverse=True)


def _last_good(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in reversed(entries) if entry.manifest.status == GOOD), None)


def _card(
    address: Address,
    entries: Sequence[Entry],
    page: PurePosixPath,
    earlier: Mapping[str, Entry | None],
    locale: str,
) -> Card:
    tried = [entry for entry in entries if entry.manifest.status != "skipped"] or list(entries)
    newest = tried[-1]
    good = _last_good(tried)
    past = {entry.manifest.quarter: entry for entry in earlier.values() if entry is not None}
    scope_name = _("Company") if address.scope == COMPANY else newest.manifest.scope
    failed = newest.manifest.status in BAD
    error = newest.manifest.error if failed else None
    return Card(
        title=newest.title,
        report=address.report,
        scope=address.scope,
        scope_name=scope_name,
        quarter=address.quarter,
        quarter_name=newest.manifest.quarter or _("All time"),
        status=newest.manifest.status,
        as_of=_day((good or newest).manifest.as_of),
        page=relative_link(address.stable, page) if good else "",
        links=tuple(_links(good, page)) if good else (),
        headlines=tuple(_headlines(good, past, f"{newest.title}, {scope_name}", locale)) if good else (),
        error_cell=error.cell if error else None,
        error=f"{error.name}: {error.message}" if error else "",
        notes=tuple(notes(good.manifest.gates)) if good else (),
        good_run=good.manifest.run if good and failed else "",
        anchor=_anchor(address.quarter, address),
        previous=_anchor(max(earlier), address) if earlier else "",
        history=tuple(_history(entries, page)),
    )


def _anchor(quarter: str, address: Address) -> str:
    """The id of a card, which is also what the script reads from the address."""
    return f"quarter={quarter}&team={address.scope}&report={address.report}"


def _links(good: Entry, page: PurePosixPath) -> list[Link]:
    assert good.bundle is not None
    names = {item.path for item in good.manifest.files}
    bundle = PurePosixPath(good.bundle)
    wanted = [(NOTEBOOK_FILE, _("Notebook")), (WORKBOOK_FILE, _("Excel"))]
    return [Link(text, relative_link(bundle / name, page)) for name, text in wanted if name in names]


def _history(entries: Sequence[Entry], page: PurePosixPath) -> list[PastRun]:
    return [
        PastRun(
            run=entry.manifest.run,
            status=status_text(entry.manifest.status),
            as_of=_day(entry.manifest.as_of),
            reason=entry.manifest.reason,
            href=relative_link(PurePosixPath(entry.bundle) / PAGE_FILE, page) if entry.bundle else "",
        )
        for entry in reversed(entries)
        if entry.manifest.status != "skipped"
    ]


def _day(as_of: str) -> str:
    """A cut-off date as readers write it; a report that never ran may have none."""
    return formats.date(as_of) if as_of else ""


def _headlines(good: Entry, past: Mapping[str, Entry], scope_name: str, locale: str) -> list[Headline]:
    """The first headlines of a report, beside the same of earlier quarters' last good reports."""
    earlier = {
        quarter: {str(record.get("id")): record for record in entry.manifest.headlines}
        for quarter, entry in past.items()
    }
    return [
        headline(
            record,
            {
                q: records[found]
                for q, records in earlier.items()
                if (found := str(record.get("id"))) in records
            },
            quarter=good.manifest.quarter,
            scope_name=scope_name,
            locale=locale,
        )
        for record in good.manifest.headlines[:SHOWN_HEADLINES]
    ]
