"""Settings of the run's organization, else the global ones."""

from __future__ import annotations

from typing import Any

from . import _scope, _transport
from ._results import Record, wrap


async def _find(key: str, scope: str | None) -> tuple[bool, Any]:
    reply = await _transport.current("config.get").request_async("config.get", {"key": key, "scope": scope})
    return bool(reply["found"]), wrap(reply.get("value"))


async def get(key: str, *args: Any, org_id: Any = None, scope: Any = None, default: Any = None) -> Any:
    """The value of ``key``, or ``default``.

    A second positional argument is an organization when it is a UUID or ``GLOBAL``, else the default.
    """
    for value in args[:2]:
        if _scope.is_scope(value) and org_id is None and scope is None:
            org_id = value
        else:
            default = value
    if len(args) > 2:
        raise TypeError("config.get takes a key, an organization and a default")
    found, value = await _find(key, _scope.pick(org_id, scope))
    return value if found else default


async def set(  # noqa: A001 - the name is the contract
    key: str, value: Any, *args: Any, is_secret: bool = False, org_id: Any = None, scope: Any = None
) -> None:
    """Stores ``value``. A further positional argument is ``is_secret`` when it is a bool, else an organization."""
    for more in args:
        if isinstance(more, bool):
            is_secret = more
        elif more is not None:
            org_id = more
    params = {"key": key, "value": value, "is_secret": bool(is_secret), "scope": _scope.pick(org_id, scope)}
    await _transport.current("config.set").request_async("config.set", params)


async def list(org_id: Any = None, *, scope: Any = None) -> Record:  # noqa: A001
    """All settings as a mapping with attribute access; secrets read as ``[SECRET]``."""
    reply = await _transport.current("config.list").request_async("config.list", {"scope": _scope.pick(org_id, scope)})
    return Record(reply or {})


async def delete(key: str, org_id: Any = None, *, scope: Any = None) -> bool:
    """Removes ``key``; says whether it was there."""
    params = {"key": key, "scope": _scope.pick(org_id, scope)}
    return bool(await _transport.current("config.delete").request_async("config.delete", params))
