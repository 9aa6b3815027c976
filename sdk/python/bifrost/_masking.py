"""Hides the values of secrets in text that leaves the process."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Iterable

MASKED = "***"
# A shorter value ("1", "on") would black out half of every line without protecting anything.
SHORTEST = 4
# A line of a multi-line secret (a private key) is hidden on its own when it is this long.
SHORTEST_LINE = 8


class Mask:
    """A set of values, and the one regular expression that finds them all."""

    __slots__ = ("_values", "_pattern", "_longest")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._longest = 0
        self.add(values)

    def __bool__(self) -> bool:
        return self._pattern is not None

    def add(self, values: Iterable[str]) -> None:
        """Hides ``values`` from now on, also as they look quoted (JSON, ``repr``, URL)."""
        before = len(self._values)
        for value in values:
            if not isinstance(value, str) or len(value.strip()) < SHORTEST:
                continue
            for text in (value, value.strip(), *(x for x in value.splitlines() if len(x) >= SHORTEST_LINE)):
                self._values.update(
                    (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
                )
                self._values.add(urllib.parse.quote(text, safe="", errors="replace"))
                self._values.add(urllib.parse.quote_plus(text, errors="replace"))
        if len(self._values) != before:
            longest_first = sorted(self._values, key=len, reverse=True)
            self._longest = len(longest_first[0])
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def apply(self, text: str) -> str:
        """``text`` without the values."""
        return text if self._pattern is None else self._pattern.sub(MASKED, text)

    def head(self, text: str, most: int) -> str:
        """The first ``most`` characters without the values, and without reading the rest of a long text.

        A value across the cut disappears as a whole: half a secret is still half a secret.
        """
        if self._pattern is None:
            return text[:most]
        parts: list[str] = []
        at = 0
        for match in self._pattern.finditer(text, 0, most + self._longest):
            if match.start() >= most:
                break
            parts += (text[at : match.start()], MASKED)
            at = match.end()
        parts.append(text[at:most])
        return "".join(parts)
