"""Who runs what for whom: the execution's context, and the proxy that finds it."""

from __future__ import annotations

import contextvars
import json
import math
import threading
from dataclasses import dataclass, field
from typing import Any, Callable

_MISSING: Any = object()
GLOBAL = "GLOBAL"


@dataclass
class Organization:
    """The customer organization that a run belongs to."""

    id: str
    name: str
    is_active: bool = True

    @property
    def org_id(self) -> str:
        """The same as ``id``."""
        return self.id


@dataclass
class Caller:
    """The person, or key, that started the run."""

    user_id: str
    email: str
    name: str


@dataclass
class Roi:
    """What a run is worth; set by the workflow, kept with the execution."""

    time_saved: float = 0.0
    value: float = 0.0


class CancelledEvent(threading.Event):
    """Set when the run was asked to end. ``if context.cancelled:`` works as well as ``is_set()``."""

    def __bool__(self) -> bool:
        return self.is_set()


@dataclass
class ExecutionContext:
    """Everything a workflow may know about its own run.

    It can be made by hand in a test: then ``progress`` and ``set_variable`` keep what they were given and ``log`` uses
    standard logging.
    """

    user_id: str = ""
    email: str = ""
    name: str = ""
    scope: str = GLOBAL
    organization: Organization | None = None
    is_platform_admin: bool = False
    is_function_key: bool = False
    execution_id: str = ""
    workflow_name: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    startup: Any = None
    public_url: str | None = None
    attempt: int = 1  # counted from 1; more than 1 when a retry policy has tried it again
    roi: Roi = field(default_factory=Roi)
    cancelled: CancelledEvent = field(default_factory=CancelledEvent, repr=False, compare=False)
    variables: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _send_progress: Callable[[float, str | None], None] | None = field(default=None, repr=False, compare=False)
    _send_log: Callable[[str, str, dict[str, Any] | None], None] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def caller(self) -> Caller:
        """Who started the run."""
        return Caller(self.user_id, self.email, self.name)

    @property
    def org_id(self) -> str | None:
        """The organization's id, ``None`` in a global run."""
        return self.organization.id if self.organization else None

    @property
    def org_name(self) -> str | None:
        """The organization's name, ``None`` in a global run."""
        return self.organization.name if self.organization else None

    @property
    def is_global_scope(self) -> bool:
        """Whether the run belongs to no organization."""
        return self.scope == GLOBAL

    @property
    def executed_by(self) -> str:
        """The same as ``user_id``."""
        return self.user_id

    @property
    def executed_by_email(self) -> str:
        """The same as ``email``."""
        return self.email

    @property
    def executed_by_name(self) -> str:
        """The same as ``name``."""
        return self.name

    async def get_config(self, key: str, default: Any = _MISSING) -> Any:
        """A setting of the run's organization, else the global one. Raises ``KeyError`` when neither has it."""
        from . import config

        found, value = await config._find(key, None)
        if found:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tells viewers how far the run is: 0 to 1, and what it is doing."""
        number = float(fraction)
        number = 0.0 if math.isnan(number) else min(1.0, max(0.0, number))
        if self._send_progress is not None:
            self._send_progress(number, None if message is None else str(message))

    def set_variable(self, name: str, value: Any) -> None:
        """Shows ``value`` among the run's variables, whatever the function's own locals are."""
        self.variables[str(name)] = value

    def log(self, *args: Any, level: str = "INFO", metadata: dict[str, Any] | None = None, **extra: Any) -> None:
        """Writes a line: ``log("text")``, ``log("warning", "text")`` or ``log("warning", "text", {"rows": 3})``."""
        from ._log import LEVELS

        if len(args) >= 2 and str(args[0]).upper() in LEVELS:
            level, args = str(args[0]), args[1:]
        message = str(args[0]) if args else ""
        fields = dict(metadata or {})
        for more in args[1:]:
            fields.update(more if isinstance(more, dict) else {"value": more})
        fields.update(extra)
        chosen = level.upper() if level.upper() in LEVELS else "INFO"
        if self._send_log is not None:
            self._send_log(chosen, message, fields or None)
        else:
            import logging

            number = logging.getLevelName(chosen)
            logging.getLogger("bifrost").log(
                number if isinstance(number, int) else logging.ERROR,
                "%s",
                f"{message} {json.dumps(fields, default=str)}" if fields else message,
            )


OrganizationContext = ExecutionContext

_variable: contextvars.ContextVar[ExecutionContext | None] = contextvars.ContextVar("bifrost_context", default=None)
# Threads that user code starts do not inherit context variables; a process has one run at a time.
_of_process: ExecutionContext | None = None


def activate(context: ExecutionContext | None) -> None:
    """Makes ``context`` the one that the proxy shows; ``None`` ends it."""
    global _of_process
    _of_process = context
    _variable.set(context)


def active() -> ExecutionContext | None:
    """The context of the run that the caller belongs to."""
    return _variable.get() or _of_process


class _Proxy:
    """Stands for the context of the run that is going on."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        context = active()
        if context is None:
            raise AttributeError(f"context.{name} exists only inside a run")
        return getattr(context, name)

    def __setattr__(self, name: str, value: Any) -> None:
        context = active()
        if context is None:
            raise AttributeError(f"context.{name} exists only inside a run")
        setattr(context, name, value)

    def __bool__(self) -> bool:
        return active() is not None

    def __repr__(self) -> str:
        return repr(active()) if active() is not None else "<context outside a run>"


context: Any = _Proxy()
