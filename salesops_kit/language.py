"""Translation of every string that a reader sees: gettext catalogs chosen by a locale."""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

DOMAIN = "salesops"
DEFAULT_LOCALE = "en"
_FOLDER = Path(__file__).parent / "locale"
_locale: ContextVar[str] = ContextVar("salesops_locale", default=DEFAULT_LOCALE)


def current_locale() -> str:
    """The locale in use, such as ``en`` or ``zh_Hans``."""
    return _locale.get()


@contextmanager
def use_locale(locale: str) -> Iterator[None]:
    """Translate and format for ``locale`` inside the block; unknown locales read as English."""
    token = _locale.set(locale)
    try:
        yield
    finally:
        _locale.reset(token)


def text_language() -> str:
    """The language that texts are in, as HTML writes it: that of the current locale where a catalog has it,
    else English."""
    locale = current_locale()
    has_texts = isinstance(_translations(), gettext.GNUTranslations)
    is_english = locale.replace("_", "-").split("-")[0] == DEFAULT_LOCALE
    return locale.replace("_", "-") if has_texts or is_english else DEFAULT_LOCALE


def _translations() -> gettext.NullTranslations:
    return _catalog(str(_FOLDER), _locale.get())


@lru_cache
def _catalog(folder: str, locale: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, folder, languages=[locale], fallback=True)


def _(message: str) -> str:
    """The message in the current locale."""
    return _translations().gettext(message) if message else ""


def ngettext(singular: str, plural: str, n: int) -> str:
    """The plural form that the current locale uses for ``n``."""
    return _translations().ngettext(singular, plural, n)
