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

from bifrost._json import clean_text
from bifrost._masking import Mask

MAX_DEPTH = 6
MAX_ITEMS = 100
MAX_TEXT = 4096
MAX_VARIABLES = 200
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


def render(variables: dict[str, Any], mask: Mask, most_bytes: int) -> tuple[dict[str, str], list[str]]:
    """JSON text of each variable, and the names of those that did not fit into ``most_bytes`` together."""
    rendered: dict[str, str] = {}
    left_out = []
    size = 2
    for name, value in variables.items():
        try:
            text = json.dumps(_describe(value, mask, 0), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except Exception:  # it changed while it was read, or its own methods raise
            continue
        name = mask.apply(clean_text(name))[:200]
        length = len(text.encode()) + len(name.encode()) + 8
        if size + length > most_bytes:
            left_out.append(name)
            continue
        size += length
        rendered[name] = text
    return rendered, left_out


def _text(value: str, mask: Mask) -> str:
    # Masked before it is cut: half a secret is still half a secret.
    value = clean_text(mask.apply(str.__str__(value)))
    return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… [{len(value) - MAX_TEXT} characters more]"


def _describe(value: Any, mask: Mask, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _describe(value.value, mask, depth)
    if isinstance(value, str):
        return _text(value, mask)
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else f"<integer of {value.bit_length()} bits>"
    if isinstance(value, float):
        number = float(value)
        return number if number - number == 0 else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta, os.PathLike)):
        return _text(str(value), mask)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, BaseException):
        return _text(f"{type(value).__name__}: {value}", mask)
    return _container(value, mask, depth)


def _container(value: Any, mask: Mask, depth: int) -> Any:
    size = len(value) if isinstance(value, (Mapping, list, tuple, set, frozenset)) else None
    if size is not None and depth >= MAX_DEPTH:
        return f"<{type(value).__name__} of {size}>"
    if isinstance(value, Mapping):
        shown = {}
        for key, item in itertools.islice(value.items(), MAX_ITEMS):
            shown[_text(str(key), mask)[:200]] = _describe(item, mask, depth + 1)
        if size is not None and size > MAX_ITEMS:
            shown["…"] = f"{size - MAX_ITEMS} more"
        return shown
    if size is not None:
        items = [_describe(item, mask, depth + 1) for item in itertools.islice(value, MAX_ITEMS)]
        if size > MAX_ITEMS:
            items.append(f"… {size - MAX_ITEMS} more")
        return items
    if depth < MAX_DEPTH and dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _describe(getattr(value, f.name, None), mask, depth + 1) for f in dataclasses.fields(value)}
    fields = getattr(value, "__dict__", None)
    if depth < MAX_DEPTH and isinstance(fields, dict) and "model_fields" in dir(type(value)):
        return _describe(fields, mask, depth)
    return f"<{type(value).__name__}>"
