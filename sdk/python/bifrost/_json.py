"""Writes any Python value as JSON that every reader accepts.

The quick way is the standard encoder. What it cannot write, or what a database would refuse (NaN, infinity, NUL, lone
surrogates, integers beyond 64 bits), takes the careful way: one walk that converts and notes where something was lost.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import math
import os
import re
import uuid
from typing import Any, Mapping

from ._masking import Mask
from ._results import AwaitableBool, Done

MAX_DEPTH = 100
MAX_NOTES = 20
_LONG_NUMBER = re.compile(r"\d{19}")
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_quick = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_NO_MASK = Mask()


class NotSerializable(Exception):
    """A value that contains itself, or is nested too deep."""


def clean_text(text: str) -> str:
    """``text`` with NUL and lone surrogates replaced by U+FFFD."""
    return _UNFIT.sub("\ufffd", text)


def plain(value: AwaitableBool | Done) -> bool | None:
    """What awaiting the value would have given."""
    return bool(value) if isinstance(value, AwaitableBool) else None


def encode(value: Any, mask: Mask = _NO_MASK, name: str = "result") -> tuple[bytes, list[str]]:
    """UTF-8 JSON of ``value``, and where something had to be replaced (``result.rows[3].price: nan``).

    Raises :class:`NotSerializable`, and ``MemoryError`` when there is no room for the copy.
    """
    if not mask:
        try:
            text = _quick(value)
            data = text.encode()
        except Exception:
            pass  # the careful way says what is wrong, or copes
        else:
            if "\\u0000" not in text and not _LONG_NUMBER.search(text):
                if text.count("{") + text.count("[") <= MAX_DEPTH or not _too_deep(value):
                    return data, []
    cleaner = _Cleaner(mask, name)
    try:
        cleaned = cleaner.clean(value)
    except (NotSerializable, MemoryError):
        raise
    except RecursionError:
        raise NotSerializable(f"{name} is nested too deep") from None
    except Exception as error:
        where = cleaner.where()
        raise NotSerializable(f"{where} cannot be read: {type(error).__name__}: {error}") from error
    return _quick(cleaned).encode(), cleaner.notes


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below = []
        for item in level:
            if isinstance(item, dict):
                below += [x for x in item.values() if isinstance(x, (dict, list, tuple))]
            elif isinstance(item, (list, tuple)):
                below += [x for x in item if isinstance(x, (dict, list, tuple))]
        if not below:
            return False
        level = below
    return True


class _Cleaner:
    def __init__(self, mask: Mask, name: str) -> None:
        self.mask = mask
        self.name = name
        self.path: list[Any] = []
        self.active: set[int] = set()
        self.notes: list[str] = []

    def where(self) -> str:
        parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
        return self.mask.apply(clean_text(self.name + "".join(parts)))[:300]

    def note(self, what: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(f"{self.where()}: {what}")
        elif len(self.notes) == MAX_NOTES:
            self.notes.append("and more")

    def text(self, value: str) -> str:
        value = str.__str__(value)
        if self.mask:
            value = self.mask.apply(value)
        if _UNFIT.search(value):
            self.note("NUL or a lone surrogate became U+FFFD")
            return clean_text(value)
        return value

    def integer(self, value: int) -> Any:
        if -(2**63) <= value < 2**63:
            return int(value)
        self.note("an integer beyond 64 bits became text")
        try:
            return str(int(value))
        except ValueError:  # Python refuses to write more than 4,300 digits
            return hex(value)[:4096]

    def number(self, value: float) -> Any:
        if math.isfinite(value):
            return float(value)
        self.note(f"{float(value)} became null")
        return None

    def clean(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self.text(value)
        if kind is int:
            return self.integer(value)
        if kind is float:
            return self.number(value)
        if kind is dict or kind is list or kind is tuple:
            return self.container(value)
        if isinstance(value, enum.Enum):
            return self.clean(value.value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, float):
            return self.number(value)
        if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, decimal.Decimal):
            return self.decimal(value)
        if isinstance(value, (uuid.UUID, datetime.timedelta, os.PathLike)):
            return self.text(str(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.binary(bytes(value))
        if isinstance(value, (AwaitableBool, Done)):
            return plain(value)
        return self.container(value)

    def decimal(self, value: decimal.Decimal) -> Any:
        if not value.is_finite():
            self.note(f"{value} became null")
            return None
        if value == value.to_integral_value() and abs(value) < 2**53:
            return int(value)
        number = float(value)
        return number if decimal.Decimal(repr(number)) == value else str(value)

    def binary(self, value: bytes) -> str:
        try:
            return self.text(value.decode())
        except UnicodeDecodeError:
            self.note("bytes became base64")
            return base64.b64encode(value).decode()

    def container(self, value: Any) -> Any:
        if id(value) in self.active:
            raise NotSerializable(f"{self.where()} contains itself")
        if len(self.path) >= MAX_DEPTH:
            raise NotSerializable(f"{self.name} is nested more than {MAX_DEPTH} deep")
        self.active.add(id(value))
        try:
            return self.inside(value)
        finally:
            self.active.discard(id(value))

    def inside(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.mapping(value.items())
        if isinstance(value, (list, tuple, range, collections.deque)):
            return self.items(value)
        if isinstance(value, (set, frozenset)):
            try:
                return self.items(sorted(value))
            except TypeError:
                return self.items(value)
        if isinstance(value, collections.abc.MappingView):
            return self.items(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.mapping([(f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value)])
        for method in ("model_dump", "tolist", "to_dict", "_asdict"):
            convert = None if isinstance(value, type) else getattr(type(value), method, None)
            if callable(convert):
                return self.clean(convert(value))
        forgotten = " (is an `await` missing?)" if inspect.isawaitable(value) else ""
        self.note(f"{type(value).__name__} became text{forgotten}")
        try:
            return self.text(str(value))
        except Exception:
            return f"<{type(value).__name__}>"

    def mapping(self, pairs: Any) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for key, item in pairs:
            text = self.key(key)
            self.path.append(text)
            cleaned[text] = self.clean(item)
            self.path.pop()
        return cleaned

    def key(self, key: Any) -> str:
        if isinstance(key, enum.Enum):
            key = key.value
        if isinstance(key, str):
            return self.text(key)
        if isinstance(key, (AwaitableBool, Done)):
            key = plain(key)
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        return self.text(str(key))

    def items(self, values: Any) -> list[Any]:
        cleaned = []
        for index, item in enumerate(values):
            self.path.append(index)
            cleaned.append(self.clean(item))
            self.path.pop()
        return cleaned
