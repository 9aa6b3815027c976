"""Matches parameters to a function's arguments, by name, and converts them to what the hints say."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import functools
import inspect
import json
import re
import types
import typing
import uuid
from typing import Any, Callable

from bifrost import ExecutionContext, ValidationError
from bifrost._decorators import PARAMS

_CONTEXT_NAMES = frozenset(("ExecutionContext", "OrganizationContext"))
_WORD = re.compile(r"\w+")
_MISSING = inspect.Parameter.empty
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
# What @param may say of an argument that has no hint.
_DECLARED: dict[Any, Any] = {"int": int, "float": float, "bool": bool}


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
            if value is not None:
                value = convert(value, hints.get(name, _MISSING), name)
        elif _admits_none(hints.get(name, _MISSING)):
            value = None
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
    hints = _hints(function, signature)
    for name, declared in defaults.items():
        if name in signature and signature[name].annotation is _MISSING:
            hints[name] = _DECLARED.get(declared.get("type"), _MISSING)
    return signature, hints, defaults


def _hints(function: Callable[..., Any], signature: Any) -> dict[str, Any]:
    if all(p.annotation is _MISSING for p in signature.values()):
        return {}
    try:
        return typing.get_type_hints(function)
    except Exception:  # a hint that names something absent is the author's business, not a reason to fail
        return _each_hint(function, signature)


def _each_hint(function: Callable[..., Any], signature: Any) -> dict[str, Any]:
    """The hints that can be read, each for itself."""
    found = {}
    for name, parameter in signature.items():
        hint = parameter.annotation
        if isinstance(hint, str):
            try:
                hint = eval(hint, dict(getattr(inspect.unwrap(function), "__globals__", {})))
            except Exception:
                continue
        found[name] = hint
    return found


def _is_context(name: str, annotation: Any, hint: Any) -> bool:
    if name == "context":
        return True
    if hint is ExecutionContext or annotation is ExecutionContext or ExecutionContext in typing.get_args(hint):
        return True
    # A hint that names something absent: by its text.
    return hint is None and isinstance(annotation, str) and not _CONTEXT_NAMES.isdisjoint(_WORD.findall(annotation))


def _admits_none(hint: Any) -> bool:
    if hint is None or hint is type(None):
        return True
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _admits_none(typing.get_args(hint)[0])
    if origin is typing.Union or origin is types.UnionType:
        return any(map(_admits_none, typing.get_args(hint)))
    if origin is typing.Literal:
        return None in typing.get_args(hint)
    meant = _meant(hint)
    return meant is not None and _admits_none(meant)


def _meant(hint: Any) -> Any:
    """What a ``type`` statement or ``NewType`` stands for; ``None`` for anything else."""
    return getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None) if not isinstance(hint, type) else None


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
        value = _parsed(value, list)
        return [_convert(item, inner) for item in value] if isinstance(value, list) else value
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return _to_class(value, dict)
    if not isinstance(hint, type):
        meant = _meant(hint)
        return value if meant is None else _convert(value, meant)
    return _to_class(value, hint)


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
    if hint is dict:
        value = _parsed(value, dict)
        if not isinstance(value, dict):
            raise ValueError
        return value
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
