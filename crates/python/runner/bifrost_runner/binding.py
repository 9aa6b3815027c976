"""Matches parameters to a function's arguments, by name."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from typing import Any, Callable

from bifrost import ExecutionContext
from bifrost._decorators import PARAMS

from .conversion import convert, meant, refusal

_CONTEXT_NAMES = frozenset(("ExecutionContext", "OrganizationContext"))
_WORD = re.compile(r"\w+")
_MISSING = inspect.Parameter.empty
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
                raise refusal(f"parameter `{name}` is missing")
            value = declared.get("default_value")
            if value is not None:
                value = convert(value, hints.get(name, _MISSING), name)
        elif _admits_none(hints.get(name, _MISSING)):
            value = None
        else:
            raise refusal(f"parameter `{name}` is missing")
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
    stands_for = meant(hint)
    return stands_for is not None and _admits_none(stands_for)
