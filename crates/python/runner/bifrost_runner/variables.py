"""What the running function's variables hold, bounded, for people who watch the run."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import itertools
import json
import os
import types
import uuid
from typing import Any, Mapping

from bifrost._json import clean_text, plain
from bifrost._masking import Mask
from bifrost._results import AwaitableBool, Done

MAX_DEPTH = 6
MAX_ITEMS = 100
MAX_TEXT = 4096
MAX_VARIABLES = 200
# The thread that looks also brings replies and cancels: what one look may cost is bounded, whatever there is to see.
MAX_NODES = 12_000
MAX_NODES_OF_ONE = 4_000
_HIDDEN = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def visible(scope: Mapping[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    """The variables worth showing: no parameters, no ``_names``, no modules, callables or classes."""
    found = {}
    for name, value in list(scope.items()):
        if name in hidden or name.startswith("_") or name.startswith("."):
            continue
        if isinstance(value, _HIDDEN) or (callable(value) and not dataclasses.is_dataclass(value)):
            continue
        found[name] = value
        if len(found) >= MAX_VARIABLES:
            break
    return found


class _Budget:
    """What is left to spend on a sample: values to look at, and characters to show."""

    __slots__ = ("nodes", "text", "nodes_of_all", "text_of_all")

    def __init__(self, most_bytes: int) -> None:
        self.nodes_of_all = MAX_NODES
        self.text_of_all = 4 * most_bytes
        self.nodes = self.text = 0

    def begin(self, room: int) -> bool:
        """The next variable, which may take ``room`` bytes; false when nothing is left."""
        self.nodes = min(MAX_NODES_OF_ONE, self.nodes_of_all)
        self.text = min(room, self.text_of_all)
        self.nodes_of_all -= self.nodes
        self.text_of_all -= self.text
        return self.nodes > 0 and self.text > 0

    def end(self) -> None:
        """Gives back what the variable did not need."""
        self.nodes_of_all += max(0, self.nodes)
        self.text_of_all += max(0, self.text)

    def spend(self, characters: int) -> bool:
        """Takes one value of so many characters; false when that is too much."""
        self.nodes -= 1
        self.text -= characters
        return not self.is_over()

    def is_over(self) -> bool:
        """Whether nothing more of the variable is to be looked at."""
        return self.nodes < 0 or self.text < 0


def render(variables: dict[str, Any], mask: Mask, most_bytes: int) -> tuple[dict[str, str], list[str]]:
    """JSON text of each variable, and the names of those that did not fit into ``most_bytes`` together."""
    rendered: dict[str, str] = {}
    left_out = []
    size = 2
    budget = _Budget(most_bytes)
    for name, value in variables.items():
        name = mask.head(clean_text(name), 200)
        if not budget.begin(most_bytes - size):
            left_out.append(name)
            continue
        try:
            described = _Describer(mask, budget).describe(value, 0)
            text = json.dumps(described, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except Exception:  # it changed while it was read, or its own methods raise
            continue
        finally:
            budget.end()
        length = len(text.encode()) + len(name.encode()) + 8
        if size + length > most_bytes or budget.text < 0:
            left_out.append(name)
            continue
        size += length
        rendered[name] = text
    return rendered, left_out


class _Describer:
    """Turns one value into what JSON can say, as far as the budget goes."""

    def __init__(self, mask: Mask, budget: _Budget) -> None:
        self.mask = mask
        self.budget = budget

    def text(self, value: str, most: int = MAX_TEXT) -> str:
        value = str.__str__(value)
        shown = clean_text(self.mask.head(value, most))
        if not self.budget.spend(len(shown)):
            return "…"
        return shown if len(value) <= most else f"{shown}… [{len(value) - most} characters more]"

    def describe(self, value: Any, depth: int) -> Any:
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            return self.text(value)
        if not self.budget.spend(2):
            return "…"
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.describe(value.value, depth)
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**63 else f"<integer of {value.bit_length()} bits>"
        if isinstance(value, float):
            number = float(value)
            return number if number - number == 0 else None
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta, os.PathLike)):
            return self.text(str(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(value)} bytes>"
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        if isinstance(value, (AwaitableBool, Done)):
            return plain(value)
        return self.container(value, depth)

    def container(self, value: Any, depth: int) -> Any:
        size = len(value) if isinstance(value, (Mapping, list, tuple, set, frozenset)) else None
        if size is not None and depth >= MAX_DEPTH:
            return f"<{type(value).__name__} of {size}>"
        if isinstance(value, Mapping):
            shown: dict[str, Any] = {}
            for key, item in itertools.islice(value.items(), MAX_ITEMS):
                shown[self.text(str(key), 200)] = self.describe(item, depth + 1)
                if self.budget.is_over():
                    break
            if size is not None and size > len(shown):
                shown["…"] = f"{size - len(shown)} more"
            return shown
        if size is not None:
            items: list[Any] = []
            for item in itertools.islice(value, MAX_ITEMS):
                items.append(self.describe(item, depth + 1))
                if self.budget.is_over():
                    break
            if size > len(items):
                items.append(f"… {size - len(items)} more")
            return items
        if depth < MAX_DEPTH and dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: self.describe(getattr(value, f.name, None), depth + 1) for f in dataclasses.fields(value)}
        fields = getattr(value, "__dict__", None)
        if depth < MAX_DEPTH and isinstance(fields, dict) and "model_fields" in dir(type(value)):
            return self.container(fields, depth)
        return f"<{type(value).__name__}>"
