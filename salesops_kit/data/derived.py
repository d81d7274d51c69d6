"""Tables that are made from others when they are first asked for, beside those that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import ibis


class DerivedTables(Mapping[str, ibis.Table]):
    """Stored tables, with others made from them; a made table stands for a stored one of its name."""

    def __init__(
        self, stored: Mapping[str, ibis.Table], made: Mapping[str, Callable[[], ibis.Table]]
    ) -> None:
        self._stored, self._makers = stored, dict(made)
        self._made: dict[str, ibis.Table] = {}

    def __getitem__(self, name: str) -> ibis.Table:
        if name not in self._makers:
            return self._stored[name]
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._stored), **dict.fromkeys(self._makers)})

    def __len__(self) -> int:
        return len({*self._stored, *self._makers})
