"""How the modules reach the platform.

A transport answers ``request(method, params)`` with the decoded ``ok`` of the platform, or raises what the modules
promise: ``ValueError`` (not found, invalid), ``PermissionError`` (not allowed), ``RuntimeError`` (unavailable). Inside a
worker it is :class:`RunTransport` over the run's own socket: no address, no token, nothing to configure.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from typing import Any, Protocol

from . import _channel
from ._json import encode
from ._masking import Mask

MAX_REQUEST = 16 * 1024 * 1024


class Transport(Protocol):
    """What the modules need of a way to the platform."""

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """Asks and waits."""

    async def request_async(self, method: str, params: dict[str, Any]) -> Any:
        """Asks without blocking the event loop."""


class NotFound(ValueError):
    """The platform has no such thing."""


_ERRORS = {"not_found": NotFound, "not_allowed": PermissionError, "invalid": ValueError}
_current: Transport | None = None


def install(transport: Transport | None) -> None:
    """Makes ``transport`` the one that the modules use; ``None`` takes it away."""
    global _current
    _current = transport


def current(what: str) -> Transport:
    """The installed transport. Raises ``RuntimeError`` outside a run."""
    if _current is None:
        raise RuntimeError(f"{what} works only inside a run")
    return _current


class ForkedTransport:
    """In a process that the run forked: replies reach the run's own process, so that nothing can be asked."""

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """Refuses."""
        raise RuntimeError(
            f"{method} works only in the run's own process, not in one that it forked (multiprocessing, os.fork): "
            "ask before, and hand the value over"
        )

    async def request_async(self, method: str, params: dict[str, Any]) -> Any:
        """Refuses."""
        self.request(method, params)


class RunTransport:
    """Requests and replies over the run socket. Replies are fed by whoever reads the socket."""

    def __init__(self, channel: _channel.Channel, mask: Mask) -> None:
        self._channel = channel
        self._mask = mask
        self._lock = threading.Lock()
        self._next = 0
        self._waiting: dict[int, concurrent.futures.Future[Any]] = {}

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """Asks and waits."""
        number, future = self._send(method, params)
        try:
            return future.result()
        finally:
            self._waiting.pop(number, None)

    async def request_async(self, method: str, params: dict[str, Any]) -> Any:
        """Asks without blocking the event loop."""
        number, future = self._send(method, params)
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._waiting.pop(number, None)

    def _send(self, method: str, params: dict[str, Any]) -> tuple[int, concurrent.futures.Future[Any]]:
        data, _ = encode(params, name=method)
        if len(data) > MAX_REQUEST - 256:
            raise ValueError(f"{method}: {len(data)} bytes are more than a request may have ({MAX_REQUEST - 256})")
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            self._next += 1
            number = self._next
            self._waiting[number] = future
        head = f'{{"id":{number},"method":{json.dumps(method)},"params":'.encode()
        self._channel.send(_channel.SDK_REQUEST, head + data + b"}")
        return number, future

    def deliver(self, reply: dict[str, Any]) -> None:
        """Hands a reply frame to the caller that waits for it. Values to mask take effect before the caller sees any."""
        hidden = reply.get("mask")
        if hidden:
            self._mask.add(hidden)
        future = self._waiting.pop(reply.get("id", -1), None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        error = reply.get("error")
        if error is None:
            future.set_result(reply.get("ok"))
        else:
            kind = _ERRORS.get(error.get("kind"), RuntimeError)
            future.set_exception(kind(error.get("message") or "the platform gave no reason"))
