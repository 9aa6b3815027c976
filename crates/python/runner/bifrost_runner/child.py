"""A child: walls, then descriptors, then calls until there are no more."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import queue
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from typing import Any

from bifrost import _channel, _log, _transport
from bifrost._masking import Mask

from . import execute, kernel, output

SAMPLE_SECONDS = 0.25
# 128 + SIGTERM, as shells report it.
TERMINATED = 143


def main(walls: Any, run_socket: int, zygote: int, temp: str, uid: int | None, limits: dict[str, Any]) -> None:
    """Everything from the fork to the end of the process. Never returns."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    # Only the run socket (3) and, until the parent was seen alive, the zygote's pidfd (4) stay open.
    first, second = os.dup(run_socket), os.dup(zygote)
    while min(first, second) <= 4:
        first, second = os.dup(first), os.dup(second)
    os.dup2(first, 3, inheritable=False)
    os.dup2(second, 4, inheritable=False)
    kernel.close_from(5)
    walls.enter(temp, uid, limits, lambda: not select.select([4], [], [], 0)[0])
    os.close(4)
    _environment(temp)
    os.umask(0o077)
    os.chdir(temp)
    gc.enable()
    Child(socket.socket(fileno=3)).serve()


def _environment(temp: str) -> None:
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    os.environ.clear()
    os.environ.update(keep)
    os.environ.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    os.environ["HOME"] = os.environ["TMPDIR"] = temp
    tempfile.tempdir = None


class Child:
    """Owns the run socket: one thread reads it (and what subprocesses print), the main thread runs the calls."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.channel = _channel.Channel(sock)
        self.mask = Mask()
        self.log = _log.RunLog(self.channel, self.mask)
        self.handler = _log.RunHandler(self.log)
        self.transport = _transport.RunTransport(self.channel, self.mask)
        self.pipes = output.Pipes(self.log)
        self.inbox: queue.SimpleQueue[execute.Run] = queue.SimpleQueue()
        self.runs: list[execute.Run] = []  # received and not ended; the first one is running
        self.loop: asyncio.AbstractEventLoop
        self.threads = 0

    def serve(self) -> None:
        """Runs calls until one was for this process alone, or the worker closes the socket. Never returns."""
        self.pipes.take_over()
        signal.signal(signal.SIGTERM, self.terminated)
        # Behind the walls; what follows is done while the worker makes up its mind.
        self.channel.send(_channel.READY, b'{"protocol":1}')
        sys.stdout = sys.__stdout__ = output.LineWriter(self.log, "INFO", 1)  # type: ignore[assignment, misc]
        sys.stderr = sys.__stderr__ = output.LineWriter(self.log, "ERROR", 2)  # type: ignore[assignment, misc]
        warnings.showwarning = self.warn
        sys.excepthook = self.uncaught
        threading.excepthook = lambda args: self.uncaught(args.exc_type, args.exc_value, args.exc_traceback)
        sys.unraisablehook = lambda args: self.uncaught(args.exc_type, args.exc_value, args.exc_traceback)
        _log.install(self.handler)
        _log.quieten()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        threading.Thread(target=self.listen, name="bifrost-io", daemon=True).start()
        self.threads = threading.active_count()
        while True:
            try:
                self.serve_one(self.inbox.get())
            except execute.Terminated:
                continue  # came too late for the run that it was meant for

    def serve_one(self, run: execute.Run) -> None:
        """One call, from its frame to its result."""
        self.mask = Mask(run.masked)
        self.log.reset(self.mask, run.line_bytes)
        self.transport = _transport.RunTransport(self.channel, self.mask)
        _transport.install(self.transport)
        _log.install(self.handler)
        execution = execute.Execution(run, self.log, self.channel, self.mask, self.loop)
        run.execution = execution
        outcome = execution.run()
        self.pipes.drain()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, output.LineWriter):
                stream.finish()
        if run.isolation != "reuse":
            outcome.counts_usage = True
        else:
            execution.settle()
            outcome.recycle = outcome.recycle or run.cancel_reason is not None or self.left_behind()
        outcome.send(self.channel, self.log, self.mask)
        if run.isolation != "reuse":
            os._exit(0)
        execution.forget()
        _transport.install(None)
        self.runs.remove(run)
        self.channel.forget_interrupt()

    def left_behind(self) -> bool:
        """Whether the run left threads or processes."""
        if threading.active_count() > self.threads:
            return True
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def listen(self) -> None:
        """The reading thread."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        for descriptor in self.pipes.readers:
            poll.register(descriptor, select.POLLIN)
        reader = _channel.FrameReader()
        own = self.socket.fileno()
        next_sample = 0.0
        try:
            while True:
                timeout = None
                if self.runs:
                    now = time.monotonic()
                    if now >= next_sample:
                        if next_sample and self.runs:
                            self.sample()
                        next_sample = now + SAMPLE_SECONDS
                    timeout = (next_sample - now) * 1000
                else:
                    next_sample = 0.0
                for descriptor, _ in poll.poll(timeout):
                    if descriptor != own:
                        self.pipes.read(descriptor)
                        continue
                    data = self.socket.recv(262144)
                    if not data:
                        os._exit(0)  # the worker is gone: nobody would read a result
                    for kind, payload in reader.feed(data):
                        self.frame(kind, json.loads(payload))
        except BaseException:
            try:
                self.log.emit("TRACEBACK", "the child cannot go on\n" + traceback.format_exc())
            finally:
                os._exit(72)

    def sample(self) -> None:
        """Sends what changed among the running function's variables."""
        try:
            execution = self.runs[0].execution
        except IndexError:
            return
        if execution is not None:
            execution.sample()

    def frame(self, kind: int, message: dict[str, Any]) -> None:
        """One frame from the worker."""
        if kind == _channel.SDK_REPLY:
            self.transport.deliver(message)
        elif kind == _channel.CALL:
            run = execute.Run(message)
            self.runs.append(run)
            self.inbox.put(run)
        elif kind == _channel.CANCEL and self.runs:
            self.runs[0].cancel(str(message.get("reason") or "cancelled"))

    def terminated(self, *_: Any) -> None:
        """SIGTERM: the same as a cancel, and then the main thread lets go."""
        if not self.runs:
            os._exit(TERMINATED)
        run = self.runs[0]
        if run.ended:
            return
        run.cancel("cancelled")
        self.channel.interrupt(execute.Terminated())

    def warn(
        self, message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        """``warnings`` into the log, with the place that they speak of."""
        place = execute.short(filename, self.runs[0].workspace if self.runs else None)
        self.log.emit("WARNING", f"{place}:{lineno}: {category.__name__}: {message}")

    def uncaught(self, kind: Any, error: Any, trace: Any) -> None:
        """An error that nobody handled (a thread's, a finalizer's)."""
        if kind is SystemExit or error is None:
            return
        self.log.emit("TRACEBACK", "".join(traceback.format_exception(kind, error, trace)).rstrip())
