"""Imports made before the first fork, so that no run pays for them."""

from __future__ import annotations

import importlib
import os
import re
import sys
import time

from . import walls

IMPORT_SECONDS = 5.0
# What the SDK and nearly every workflow need. More would cost each fork its page tables; what else the workspace's files import is
# asked for by name.
_STANDARD = (
    "asyncio", "base64", "collections", "contextlib", "contextvars", "copy", "dataclasses", "datetime", "enum", "functools", "inspect",
    "io", "itertools", "json", "linecache", "locale", "logging", "math", "os", "pathlib", "queue", "random", "re", "select", "signal",
    "socket", "string", "subprocess", "tempfile", "threading", "time", "traceback", "types", "typing", "urllib.parse", "uuid", "warnings",
)  # fmt: skip
# Codecs are looked up by name at first use, which a run would otherwise do behind its walls.
_CODECS = ("utf-8", "utf-8-sig", "ascii", "latin-1", "idna", "unicode_escape", "cp1252", "utf-16")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z")


def standard() -> None:
    """The SDK, the child's modules, and what nearly every workflow uses of the standard library."""
    for name in (*_STANDARD, "bifrost", "bifrost_runner.child", "bifrost_runner.execute"):
        try:
            importlib.import_module(name)
        except ImportError:
            if name.startswith("bifrost"):
                raise
            # distributions leave parts of the standard library out (sqlite3, ssl): a run that needs them says so
    for codec in _CODECS:
        "a".encode(codec)


def by_name(names: list[str], left_out: list[str]) -> list[str]:
    """Imports ``names``, each tried in a throw-away child first; what cannot be used is added to ``left_out``."""
    imported = []
    for name in names:
        name = name.strip()
        if name in sys.modules:
            continue
        if not _NAME.match(name):
            left_out.append(f"{name[:100]}: not a module name")
            continue
        reason = walls.attempt(lambda name=name: _try(name))
        if reason is not True:
            left_out.append(f"{name}: {reason}")
            continue
        try:
            importlib.import_module(name)
            imported.append(name)
        except BaseException as error:
            left_out.append(f"{name}: {type(error).__name__}: {error}")
    return imported


def _try(name: str) -> None:
    # Whatever the module prints belongs to nobody.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    start = time.monotonic()
    try:
        importlib.import_module(name)
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    took = time.monotonic() - start
    if took > IMPORT_SECONDS:
        raise RuntimeError(f"its import takes {took:.0f} s")
    if threads() > 1:
        raise RuntimeError("its import leaves a thread behind")


def threads() -> int:
    """Threads of this process, also those that Python does not know of."""
    return len(os.listdir("/proc/self/task"))


def walk(times: int = 12) -> None:
    """Runs a workflow of our own to the end, without a thread.

    Python specializes code while it runs and fills caches, which every child then shares. (Done again in each child it
    would hide page faults from the first call, at the price of half as much processor time again for each fork.)
    """
    import asyncio
    import json
    import socket

    from bifrost import _channel, _log, _transport
    from bifrost._masking import Mask

    from . import execute, output, targets

    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "warm")
    path, modules = list(sys.path), set(sys.modules)
    streams = sys.stdout, sys.stderr
    _log.quieten()
    for _ in range(times):
        ours, theirs = socket.socketpair()
        loop = asyncio.new_event_loop()
        channel = _channel.Channel(ours)
        mask = Mask()
        log = _log.RunLog(channel, mask)
        handler = _log.RunHandler(log)
        try:
            _log.install(handler)
            sys.stdout = output.LineWriter(log, "INFO", 1)  # type: ignore[assignment]
            for number in range(2):
                run = execute.Run(json.loads(json.dumps(_call(folder, number))))
                log.reset(mask, run.line_bytes)
                _transport.install(_transport.RunTransport(channel, mask))
                run.execution = execution = execute.Execution(run, log, channel, mask, loop)
                outcome = execution.run()
                if outcome.status != "Success":
                    raise RuntimeError(f"the runner's own workflow failed: {outcome.traceback}")
                outcome.send(channel, log, mask)
                execution.settle()
                execution.forget()
            _channel.FrameReader().feed(theirs.recv(65536))
        finally:
            sys.stdout, sys.stderr = streams
            _log.uninstall()
            loop.close()
            ours.close()
            theirs.close()
        targets.leave_workspace(folder)
    execute.forget_workspace()
    _transport.install(None)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("warm", "bifrost_workspace")):
            del sys.modules[name]


def _call(folder: str, number: int) -> dict[str, object]:
    return {
        "target": {"kind": "file", "workspace": folder, "path": "warm.py", "function": "warm", "workflow": "warm"},
        "parameters": {"number": number, "more": True},
        "context": {"user_id": "u", "organization": {"id": "o", "name": "n", "is_active": True}},
        "limits": {"line_bytes": 32768},
        "isolation": "fork",
    }
