"""Decorators. They mark a function and return it unchanged, so that it can be called and tested like any other."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Name of the attribute that carries a function's mark.
MARK = "__bifrost__"
PARAMS = "__bifrost_params__"

WORKFLOW_OPTIONS: dict[str, Any] = {
    "id": None,
    "name": None,
    "description": None,
    "category": "General",
    "tags": None,
    "execution_mode": None,
    "timeout_seconds": 1800,
    "retry_policy": None,
    "schedule": None,
    "endpoint_enabled": False,
    "allowed_methods": ["POST"],
    "disable_global_key": False,
    "public_endpoint": False,
    "is_tool": False,
    "tool_description": None,
    "time_saved": 0,
    "value": 0.0,
    "isolation": None,
}
PROVIDER_OPTIONS: dict[str, Any] = {
    "id": None,
    "name": None,
    "description": None,
    "category": "General",
    "tags": None,
    "cache_ttl_seconds": 300,
    "timeout_seconds": 1800,
    "isolation": None,
}
PARAM_OPTIONS = (
    "name", "type", "label", "required", "validation", "data_provider", "default_value", "help_text", "description", "options",
)  # fmt: skip
WORKFLOW_ORDER = ("name", "description", "category")
PROVIDER_ORDER = ("name", "description", "category", "cache_ttl_seconds")
PARAM_ORDER = (
    "name", "type", "label", "required", "validation", "data_provider", "default_value", "help_text",
)  # fmt: skip


@dataclass
class Definition:
    """What a decorator said about a function."""

    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name by which it is run."""
        return str(self.options["name"])


def _options(
    kind: str, allowed: Any, order: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any], depth: int
) -> dict[str, Any]:
    given = dict(zip(order, args))
    if len(args) > len(order):
        _warn(f"@{kind} takes at most {len(order)} arguments without a name; the rest is ignored", depth)
    for key, value in kwargs.items():
        if key in allowed:
            given[key] = value
        else:
            _warn(f"@{kind} does not know `{key}`; it is ignored", depth)
    return given


def _warn(message: str, depth: int) -> None:
    frame = sys._getframe(depth)
    warnings.warn_explicit(message, UserWarning, frame.f_code.co_filename, frame.f_lineno)


def _mark(function: F, kind: str, defaults: dict[str, Any], given: dict[str, Any]) -> F:
    options = {key: (list(value) if isinstance(value, list) else value) for key, value in defaults.items()}
    options.update(given)
    if options["name"] is None:
        options["name"] = function.__name__
    if options["description"] is None:
        lines = (function.__doc__ or "").strip().splitlines()
        options["description"] = lines[0].strip() if lines else None
    setattr(function, MARK, Definition(kind, options))
    return function


def _decorator(kind: str, defaults: dict[str, Any], order: tuple[str, ...], args: Any, kwargs: Any) -> Any:
    if len(args) == 1 and callable(args[0]) and not isinstance(args[0], type) and not kwargs:
        return _mark(args[0], kind, defaults, {})
    given = _options(kind, defaults, order, args, kwargs, 4)
    return lambda function: _mark(function, kind, defaults, given)


def workflow(*args: Any, **kwargs: Any) -> Any:
    """Marks a function as a workflow: ``@workflow``, ``@workflow(name=…)`` or ``@workflow("name", "description")``."""
    return _decorator("workflow", WORKFLOW_OPTIONS, WORKFLOW_ORDER, args, kwargs)


def tool(*args: Any, **kwargs: Any) -> Any:
    """Marks a function as a workflow that assistants may call."""
    return _decorator("tool", {**WORKFLOW_OPTIONS, "is_tool": True}, WORKFLOW_ORDER, args, kwargs)


def data_provider(*args: Any, **kwargs: Any) -> Any:
    """Marks a function that lists choices: ``[{"label", "value", "metadata"?}]``."""
    return _decorator("data_provider", PROVIDER_OPTIONS, PROVIDER_ORDER, args, kwargs)


def param(*args: Any, **kwargs: Any) -> Callable[[F], F]:
    """Describes one parameter; stack several above or below ``@workflow``."""
    given = _options("param", PARAM_OPTIONS, PARAM_ORDER, args, kwargs, 3)

    def mark(function: F) -> F:
        params = getattr(function, PARAMS, None)
        if params is None:
            params = []
            setattr(function, PARAMS, params)
        params.insert(0, given)  # decorators are applied from the bottom up
        return function

    return mark
