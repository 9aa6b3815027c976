"""A child: walls, then descriptors, then calls until there are no more."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import queue
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from concurrent.futures import thread as thread_pools
from typing import Any

from bifrost import _channel, _log, _transport
from bifrost._masking import Mask

from . import execute, kernel, limits, output, targets

SAMPLE_SECONDS = 0.25
# A sample costs the run at most this part of its time: the next one waits so many times as long as the last one took.
SAMPLE_SHARE = 20
# How long threads that a run left behind may go on before its result is sent.
JOIN_SECONDS = 5.0
# Exit codes. The platform's own part of the process has failed, and has failed for want of memory:
CANNOT_GO_ON = 72
NO_MEMORY = 73
# 128 + SIGTERM, as shells report it.
TERMINATED = 143


def main(
    walls: Any, run_socket: int, zygote: int, temp: str, uid: int | None, given: dict[str, Any], user_has: int
) -> None:
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
    walls.enter(temp, uid, given, user_has, lambda: not select.select([4], [], [], 0)[0])
    os.close(4)
    os.environ["HOME"] = os.environ["TMPDIR"] = temp
    tempfile.tempdir = None
    os.umask(0o077)
    os.chdir(temp)
    gc.enable()
    Child(socket.socket(fileno=3), shares_user=uid is None).serve()


def clear_environment() -> None:
    """Leaves what a run may know, for every child that is forked from now on."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    os.environ.clear()
    os.environ.update(keep)
    os.environ.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")


class _WorkspaceModules:
    """In the place of a warning filter's pattern: modules that come from the snapshot, and posted code."""

    def __init__(self) -> None:
        self.workspace: str | None = None

    def match(self, name: str) -> bool:
        """Whether a module is the author's own."""
        if name == targets.SCRIPT_MODULE:
            return True
        file = getattr(sys.modules.get(name), "__file__", None)
        return bool(file and self.workspace and file.startswith(self.workspace + os.sep))


_own_modules = _WorkspaceModules()
# The child of this process that runs a call; the zygote has none.
_serving: Child | None = None


_fork = threading.local()


def _before_fork() -> None:
    # A SIGTERM for the new process waits until it has a handler that is its own.
    if _serving is not None:
        _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))


def _after_fork() -> None:
    if _serving is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _after_fork_in_child() -> None:
    if _serving is not None:
        try:
            _serving.forked()
        finally:
            _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
_log.route_streams()


class Child:
    """Owns the run socket: one thread reads it (and what subprocesses print), the main thread runs the calls."""

    def __init__(self, sock: socket.socket, shares_user: bool) -> None:
        self.socket = sock
        self.shares_user = shares_user
        self.channel = _channel.Channel(sock)
        self.mask = Mask()
        self.log = _log.RunLog(self.channel, self.mask)
        self.handler = _log.RunHandler(self.log)
        self.transport = _transport.RunTransport(self.channel, self.mask)
        self.pipes = output.Pipes(self.log)
        self.reader = _channel.FrameReader()
        self.inbox: queue.SimpleQueue[execute.Run] = queue.SimpleQueue()
        self.runs: list[execute.Run] = []  # received and not ended; the first one is running
        self.loop: asyncio.AbstractEventLoop
        self.threads = 0
        self.spoiled = False
        self.streams: tuple[Any, ...] = ()
        self.environment: dict[str, str] = {}

    def serve(self) -> None:
        """Runs calls until one was for this process alone, or the worker closes the socket. Never returns."""
        self.prepare()
        while True:
            try:
                self.serve_one(self.inbox.get())
            except execute.Terminated:
                continue  # came too late for the run that it was meant for
            except BaseException:
                self.give_up()

    def prepare(self) -> None:
        """Everything before the first call."""
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
        self.begin()

    def serve_one(self, run: execute.Run) -> None:
        """One call, from its frame to its result."""
        self.mask = Mask(run.masked)
        self.log.reset(self.mask, run.line_bytes, run.workspace)
        _own_modules.workspace = run.workspace
        self.transport = _transport.RunTransport(self.channel, self.mask)
        _transport.install(self.transport)
        _log.install(self.handler)
        execution = execute.Execution(run, self.log, self.channel, self.mask, self.loop)
        run.execution = execution
        if self.shares_user:
            limits.cap_user()
            self.shares_user = False  # once: what is lowered cannot be raised again
        outcome = execution.run()
        # Not `is_alive` of the function's own thread: that is true for a moment after it is counted no longer (Python 3.13).
        if sum(thread is not execution.thread for thread in threading.enumerate()) > self.threads:
            self.join_threads(run, execution)
        self.pipes.drain()
        for stream in self.streams:
            stream.finish()
        if run.isolation != "reuse":
            outcome.counts_usage = True
        else:
            execution.settle()
            outcome.recycle = outcome.recycle or self.spoiled or run.cancel_reason is not None or self.left_behind()
        outcome.send(self.channel, self.log, self.mask)
        if run.isolation != "reuse":
            os._exit(0)
        execution.forget()
        _transport.install(None)
        self.runs.remove(run)
        self.channel.forget_interrupt()
        self.spoiled = not self.freshen()

    def begin(self) -> None:
        """Before the first call: what later ones are to find again, and what Python keeps silent about by default."""
        global _serving
        _serving = self
        self.streams = sys.stdout, sys.stderr
        self.environment = dict(os.environ)
        ours: Any = ("default", None, DeprecationWarning, _own_modules, 0)
        warnings.filters.insert(0, ours)  # type: ignore[attr-defined]
        _warnings_changed()

    def freshen(self) -> bool:
        """After a call, when its caller has the result: undoes what it did to the process; false when it cannot be."""
        sys.stdout, sys.stderr = self.streams
        sys.__stdout__, sys.__stderr__ = self.streams  # type: ignore[misc]
        if signal.getsignal(signal.SIGTERM) != self.terminated:
            signal.signal(signal.SIGTERM, self.terminated)
        warnings.showwarning = self.warn
        _warnings_changed()  # each place may warn again
        if logging.root.manager.disable:
            logging.disable(logging.NOTSET)
        for logger in logging.root.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False
        if os.environ != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        os.umask(0o077)
        tempfile.tempdir = None
        return _empty(self.environment["TMPDIR"])

    def join_threads(self, run: execute.Run, execution: execute.Execution) -> None:
        """Waits a moment for threads that the run left, as Python does at the end of a program: what they do counts."""
        queues: Any = getattr(thread_pools, "_threads_queues", {})
        if run.isolation != "reuse":
            # Workers of a pool wait for more; this lets them end when their work is done.
            thread_pools._shutdown = True  # type: ignore[attr-defined]
            for waiting in list(queues.values()):
                waiting.put(None)
            queues = {}
            process_pools: Any = sys.modules.get("concurrent.futures.process")
            if process_pools is not None:
                process_pools._global_shutdown = True
                for wake in list(process_pools._threads_wakeups.values()):
                    wake.wakeup()
        left = [
            thread
            for thread in threading.enumerate()
            if not thread.daemon and thread not in (threading.main_thread(), execution.thread) and thread not in queues
        ]
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in left:
            while thread.is_alive() and time.monotonic() < deadline and run.cancel_reason is None:
                thread.join(0.05)
        names = [thread.name for thread in left if thread.is_alive()]
        if names and run.cancel_reason is None:
            shown = ", ".join(names[:10])
            self.log.emit("WARNING", f"threads that still ran {JOIN_SECONDS:.0f} s after the function ended: {shown}")

    def forked(self) -> None:
        """In a process that the run forked: without the run's socket and signal handler it prints like any other."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.channel.cut_off()
        self.log.__class__ = _log.ForkedLog
        for stream in self.streams:
            stream.forked(self.log)
        self.transport = _transport.ForkedTransport()  # type: ignore[assignment]
        _transport.install(self.transport)
        for run in self.runs:
            if run.execution is not None:
                run.execution.forked()
        self.socket.close()
        for descriptor in self.pipes.readers:
            os.close(descriptor)
        self.pipes.readers.clear()

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
        try:
            while True:
                try:
                    self.listen_on()
                except MemoryError:
                    # The function's data leaves nothing for this thread either; the function itself is about to hear of it.
                    limits.give_room()
                    time.sleep(0.05)
        except BaseException:
            self.give_up()

    def give_up(self) -> None:
        """The platform's own part of this process has failed. Never returns."""
        code = NO_MEMORY if isinstance(sys.exc_info()[1], MemoryError) else CANNOT_GO_ON
        try:
            limits.give_room()
            self.log.emit("TRACEBACK", "the child cannot go on\n" + traceback.format_exc())
        finally:
            os._exit(code)

    def listen_on(self) -> None:
        """Reads until something fails."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        for descriptor in self.pipes.readers:
            poll.register(descriptor, select.POLLIN)
        own = self.socket.fileno()
        next_sample = 0.0
        while True:
            timeout = None
            if self.runs:
                now = time.monotonic()
                if now >= next_sample:
                    wait = SAMPLE_SECONDS
                    if next_sample and self.runs:
                        self.sample()
                        begun, now = now, time.monotonic()
                        wait = max(wait, (now - begun) * SAMPLE_SHARE)
                    next_sample = now + wait
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
                for kind, payload in self.reader.feed(data):
                    self.frame(kind, json.loads(payload))

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
        self.log.emit_error(error)


def _empty(folder: str) -> bool:
    """Goes to an empty ``folder``; false when it cannot be made so."""
    try:
        try:
            os.chdir(folder)
        except FileNotFoundError:
            os.mkdir(folder)
            os.chdir(folder)
        with os.scandir(folder) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
    except (OSError, RecursionError):  # closed, or nested too deep
        return False
    return True


def _warnings_changed() -> None:
    """Makes the places that have warned forget it, and new filters effective: any call that sets a filter does."""
    warnings.simplefilter("ignore", ResourceWarning, append=True)
    warnings.onceregistry.clear()  # type: ignore[attr-defined]
