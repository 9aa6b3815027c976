"""Matches parameters to a function's arguments, by name, and converts them to what the hints say."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import functools
import inspect
import types
import typing
import uuid
from typing import Any, Callable

from bifrost import ExecutionContext, ValidationError
from bifrost._decorators import PARAMS

_CONTEXT_NAMES = ("ExecutionContext", "OrganizationContext")
_MISSING = inspect.Parameter.empty
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def bind(
    function: Callable[..., Any], parameters: dict[str, Any], context: Any
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Positional and named arguments for ``function``, and the parameters that it does not name."""
    signature, hints, defaults = _plan(function)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    used: set[str] = set()
    takes_all = False
    for position, (name, parameter) in enumerate(signature.items()):
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_all = True
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if position == 0 and _is_context(name, parameter.annotation, hints.get(name)):
            value: Any = context
        elif name in parameters:
            used.add(name)
            value = convert(parameters[name], hints.get(name, _MISSING), name)
        elif parameter.default is not _MISSING:
            # A positional-only argument cannot be left out when one after it is given.
            if parameter.kind is not parameter.POSITIONAL_ONLY:
                continue
            value = parameter.default
        elif name in defaults:
            declared = defaults[name]
            if declared.get("required") and declared.get("default_value") is None:
                raise ValidationError(f"parameter `{name}` is missing")
            value = declared.get("default_value")
        else:
            raise ValidationError(f"parameter `{name}` is missing")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            args.append(value)
        else:
            kwargs[name] = value
    extra = {key: value for key, value in parameters.items() if key not in used}
    if takes_all:
        kwargs.update({key: value for key, value in extra.items() if key not in kwargs})
    return args, kwargs, extra


@functools.lru_cache(maxsize=256)
def _plan(function: Callable[..., Any]) -> tuple[Any, dict[str, Any], dict[Any, Any]]:
    signature = inspect.signature(function).parameters
    defaults = {item.get("name"): item for item in getattr(function, PARAMS, ())}
    return signature, _hints(function, signature), defaults


def _hints(function: Callable[..., Any], signature: Any) -> dict[str, Any]:
    if all(p.annotation is _MISSING for p in signature.values()):
        return {}
    try:
        return typing.get_type_hints(function)
    except Exception:  # a hint that names something absent is the author's business, not a reason to fail
        return {name: p.annotation for name, p in signature.items() if not isinstance(p.annotation, str)}


def _is_context(name: str, annotation: Any, hint: Any) -> bool:
    if name == "context":
        return True
    if hint is ExecutionContext or annotation is ExecutionContext:
        return True
    return isinstance(annotation, str) and annotation.rpartition(".")[2].strip("'\" ") in _CONTEXT_NAMES


def convert(value: Any, hint: Any, name: str) -> Any:
    """``value`` as ``hint`` wants it. Raises ``ValidationError`` when it cannot be."""
    try:
        return _convert(value, hint)
    except (ValueError, TypeError, KeyError, decimal.InvalidOperation):
        shown = getattr(hint, "__name__", str(hint))
        raise ValidationError(f"parameter `{name}`: {value!r:.200} is not a valid {shown}") from None


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
        return [_convert(item, inner) for item in value] if isinstance(value, list) else value
    if not isinstance(hint, type):
        return value
    return _to_class(value, hint)


def _union(value: Any, choices: tuple[Any, ...]) -> Any:
    if value is None and type(None) in choices:
        return None
    for choice in choices:
        if isinstance(choice, type) and type(value) is choice:
            return value
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _convert(value, choice)
        except (ValueError, TypeError, KeyError, decimal.InvalidOperation):
            continue
    raise ValueError


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value == choice and type(value) is type(choice):
            return choice
    for choice in choices:
        if str(value) == str(choice):
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
    if hint is int:
        if isinstance(value, float) and value != int(value):
            raise ValueError
        return int(value)
    if hint is float:
        return float(value)
    if hint in (decimal.Decimal, uuid.UUID):
        return hint(str(value))
    return value


def _to_enum(value: Any, hint: type[enum.Enum]) -> enum.Enum:
    try:
        return hint(value)
    except ValueError:
        for member in hint:
            if str(member.value) == str(value) or member.name == value:
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
