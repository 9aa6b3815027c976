"""Converts a value to what a hint says, or says what is wrong with it."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import itertools
import json
import pathlib
import types
import typing
import uuid
from typing import Any, Iterable

from bifrost import ValidationError

_MISSING = inspect.Parameter.empty
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_COLLECTIONS = (set, frozenset, tuple)
# What a conversion fails with.
_BAD = (ValueError, TypeError, KeyError, decimal.InvalidOperation)


class _Reason(ValueError):
    """Says itself what is wrong with a value, or with one below it (``[0].host``)."""

    def __init__(self, text: str, below: str = "") -> None:
        super().__init__(text)
        self.below = below


def refusal(message: str) -> ValidationError:
    """What the caller gave is wrong, so the caller may read it."""
    error = ValidationError(message)
    error.for_everybody = True
    return error


def convert(value: Any, hint: Any, name: str) -> Any:
    """``value`` as ``hint`` wants it. Raises ``ValidationError`` when it cannot be."""
    try:
        return _convert(value, hint)
    except _BAD as error:
        reason = _reason(error, value, hint)
        raise refusal(f"parameter `{name}{reason.below}`: {reason}") from None


def meant(hint: Any) -> Any:
    """What a ``type`` statement or ``NewType`` stands for; ``None`` for anything else."""
    return getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None) if not isinstance(hint, type) else None


def _reason(error: BaseException, value: Any, hint: Any, below: str = "") -> _Reason:
    """What to say of an error that came out of ``_convert``, seen from above ``below``."""
    if isinstance(error, _Reason):
        return _Reason(str(error), below + error.below)
    return _Reason(f"{value!r:.200} is not a valid {_shown(hint)}", below)


def _shown(hint: Any) -> str:
    choice = _only_choice(hint)
    if choice is not None:
        return _shown(choice)
    # On Python 3.10 `set[str]` is a type, too.
    named = isinstance(hint, type) and typing.get_origin(hint) is None
    return hint.__name__ if named else str(hint).replace("typing.", "")


def _only_choice(hint: Any) -> Any:
    """``X`` of ``Optional[X]``; ``None`` of anything else."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return None
    real = [choice for choice in typing.get_args(hint) if choice is not type(None)]
    return real[0] if len(real) == 1 else None


def _convert(value: Any, hint: Any) -> Any:
    if hint is _MISSING or hint is Any or hint is str:
        return value
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        return _union(value, typing.get_args(hint))
    if origin is typing.Literal:
        return _literal(value, typing.get_args(hint))
    if origin is typing.Annotated:
        return _convert(value, typing.get_args(hint)[0])
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        inner = (typing.get_args(hint) or (_MISSING,))[0]
        value = _parsed(value, list)
        return _items(value, itertools.repeat(inner)) if isinstance(value, list) else value
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return _to_mapping(value, typing.get_args(hint) or (_MISSING, _MISSING))
    if origin in _COLLECTIONS:
        return _collection(value, origin, typing.get_args(hint) or (_MISSING, ...))
    if not isinstance(hint, type):
        stands_for = meant(hint)
        return value if stands_for is None else _convert(value, stands_for)
    return _to_class(value, hint)


def _items(values: list[Any], hints: Iterable[Any]) -> list[Any]:
    converted = []
    for index, (value, hint) in enumerate(zip(values, hints)):
        try:
            converted.append(_convert(value, hint))
        except _BAD as error:
            raise _reason(error, value, hint, f"[{index}]") from None
    return converted


def _to_mapping(value: Any, inner: tuple[Any, ...]) -> dict[Any, Any]:
    converted = {}
    for key, item in _to_dict(value).items():
        try:
            converted[_convert(key, inner[0])] = _convert(item, inner[1])
        except _BAD as error:
            raise _reason(error, item, inner[1], f".{key}") from None
    return converted


def _collection(value: Any, kind: type, inner: tuple[Any, ...]) -> Any:
    """A set or tuple, which JSON has as a list."""
    values = _parsed(value, list)
    if not isinstance(values, list):
        raise ValueError
    if kind is not tuple or inner[1:] == (...,):
        return kind(_items(values, itertools.repeat(inner[0])))
    if len(values) != len(inner):
        raise _Reason(f"it has to have {len(inner)} items, not {len(values)}")
    return tuple(_items(values, inner))


def _parsed(value: Any, kind: type) -> Any:
    """A list or mapping that was written as JSON text."""
    if isinstance(value, str):
        value = json.loads(value)
        if not isinstance(value, kind):
            raise ValueError
    return value


def _union(value: Any, choices: tuple[Any, ...]) -> Any:
    if value is None and type(None) in choices:
        return None
    for choice in choices:
        if isinstance(choice, type) and type(value) is choice:
            return value
    real = [choice for choice in choices if choice is not type(None)]
    if len(real) == 1:
        return _convert(value, real[0])  # its own reason is told
    for choice in real:
        try:
            return _convert(value, choice)
        except _BAD:
            continue
    raise ValueError


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value == choice and type(value) is type(choice):
            return choice
    for choice in choices:
        if str(value) == str(choice) or (value == choice and isinstance(value, bool) == isinstance(choice, bool)):
            return choice
    raise ValueError


def _to_class(value: Any, hint: type) -> Any:
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    if issubclass(hint, enum.Enum):
        return _to_enum(value, hint)
    if hint is datetime.datetime:
        return datetime.datetime.fromisoformat(_offset(value))
    if hint is datetime.date:
        return datetime.date.fromisoformat(value[:10])
    if hint is datetime.time:
        return datetime.time.fromisoformat(_offset(value))
    if hint is bool:
        return _to_bool(value)
    if hint is list:
        return _parsed(value, list)
    if hint in _COLLECTIONS:
        return _collection(value, hint, (_MISSING, ...))
    if hint is dict:
        return _to_dict(value)
    if dataclasses.is_dataclass(hint):
        return _to_dataclass(_to_dict(value), hint)
    if hint is int:
        if isinstance(value, float) and value != int(value):
            raise ValueError
        return int(value)
    if hint is float:
        return float(value)
    if hint in (decimal.Decimal, uuid.UUID) or issubclass(hint, pathlib.PurePath):
        return hint(str(value))
    return value


def _to_dict(value: Any) -> dict[str, Any]:
    value = _parsed(value, dict)
    if not isinstance(value, dict):
        raise ValueError
    return value


def _to_dataclass(value: dict[str, Any], hint: type) -> Any:
    """An object of a dataclass, its fields converted like arguments."""
    hints = _field_hints(hint)
    fields = {item.name: item for item in dataclasses.fields(hint) if item.init}
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise _Reason(f"it has no `{unknown[0]}`, only {', '.join(fields)}")
    given = {}
    for name, item in fields.items():
        if name not in value:
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise _Reason(f"`{name}` is missing")
            continue
        wanted = hints.get(name, _MISSING)
        try:
            given[name] = _convert(value[name], wanted)
        except _BAD as error:
            raise _reason(error, value[name], wanted, f".{name}") from None
    return hint(**given)


@functools.lru_cache(maxsize=256)
def _field_hints(hint: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(hint)
    except Exception:  # as for a function's own hints
        return {}


def _to_enum(value: Any, hint: type[enum.Enum]) -> enum.Enum:
    try:
        return hint(value)
    except ValueError:
        for member in hint:
            if str(member.value) == str(value) or member.name == value:
                return member
            if isinstance(value, list) and member.value == tuple(value):
                return member
        raise


def _to_bool(value: Any) -> bool:
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError


def _offset(text: str) -> str:
    """Python 3.10 does not read the ``Z`` of RFC 3339, nor a fraction that is not of 3 or 6 digits."""
    if text[-1:] in "zZ":
        text = text[:-1] + "+00:00"
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    return text
