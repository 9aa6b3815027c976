"""One call: find the function, bind its arguments, run it, watch it, say how it ended."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import logging
import os
import queue
import selectors
import sys
import threading
import types
from typing import Any

from bifrost import ExecutionContext, Organization, WorkflowError, _channel, _context
from bifrost._json import clean_text
from bifrost._log import RunLog
from bifrost._masking import Mask

from . import binding, limits, targets, variables
from .outcome import Outcome

SETTLE_SECONDS = 0.5
_SCRIPT_NAMES = frozenset(("context", "logger", "parameters"))
_workspace: str | None = None


class Terminated(BaseException):
    """Raised in the main thread by SIGTERM."""


def forget_workspace() -> None:
    """The next call enters its workspace as if it were the first."""
    global _workspace
    _workspace = None


def short(filename: str, workspace: str | None) -> str:
    """A file's name as its author knows it."""
    return filename[len(workspace) + 1 :] if workspace and filename.startswith(workspace + os.sep) else filename


class Run:
    """A `call` frame, and what was asked of it since."""

    def __init__(self, call: dict[str, Any]) -> None:
        self.target: dict[str, Any] = call["target"]
        self.workspace: str = _real(self.target["workspace"])
        self.parameters: dict[str, Any] = call.get("parameters") or {}
        self.isolation: str = call.get("isolation") or "fork"
        self.masked: list[str] = call.get("masked") or []
        limits = call.get("limits") or {}
        self.line_bytes = int(limits.get("line_bytes") or 32768)
        self.result_bytes = int(limits.get("result_bytes") or 60 << 20)
        self.variables_bytes = int(limits.get("variables_bytes") or 262144)
        self.context = _make_context(call.get("context") or {}, int(call.get("attempt") or 1))
        self.execution: Execution | None = None
        self.cancel_reason: str | None = None
        self.ended = False

    def cancel(self, reason: str) -> None:
        """Asks the run to end; may be called from any thread and from a signal handler."""
        if self.cancel_reason is None:
            self.cancel_reason = reason
        self.context.cancelled.set()
        execution = self.execution
        if execution is not None:
            execution.cancel()


@functools.lru_cache(maxsize=16)
def _real(path: str) -> str:
    return os.path.realpath(path)


def _make_context(given: dict[str, Any], attempt: int) -> ExecutionContext:
    organization = given.get("organization")
    roi = given.get("roi") or {}
    return ExecutionContext(
        user_id=given.get("user_id") or "",
        email=given.get("email") or "",
        name=given.get("name") or "",
        scope=given.get("scope") or _context.GLOBAL,
        organization=Organization(organization["id"], organization["name"], organization.get("is_active", True))
        if organization
        else None,
        is_platform_admin=bool(given.get("is_platform_admin")),
        is_function_key=bool(given.get("is_function_key")),
        execution_id=given.get("execution_id") or "",
        workflow_name=given.get("workflow_name") or "",
        startup=given.get("startup"),
        public_url=given.get("public_url"),
        attempt=attempt,
        roi=_context.Roi(roi.get("time_saved") or 0, roi.get("value") or 0.0),
    )


class Execution:
    """Runs one call in the main thread (plain functions in a thread of their own)."""

    def __init__(
        self, run: Run, log: RunLog, channel: _channel.Channel, mask: Mask, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.request = run
        self.log = log
        self.channel = channel
        self.mask = mask
        self.loop = loop
        self.task: asyncio.Task[Any] | None = None
        self.frame: types.FrameType | None = None
        self.hidden: frozenset[str] = frozenset()
        self.sent: dict[str, str] = {}
        self.version = 0
        self.said_left_out = False
        self.sampling = threading.Lock()
        self.unfinished_thread = False
        self.thread: threading.Thread | None = None
        self.pid = os.getpid()
        context = run.context
        context._send_progress = self.progress
        context._send_log = self.write_log

    def run(self) -> Outcome:
        """From the call to its end. Raises nothing."""
        run = self.request
        outcome = Outcome("Success")
        token = _context._variable.set(run.context)
        _context.activate(run.context)
        try:
            try:
                outcome.value = self.guarded_call()
            except SystemExit as error:
                self.exited(error, outcome)
            except (asyncio.CancelledError, Terminated) as error:
                self.cancelled(error, outcome)
            except BaseException as error:
                if isinstance(error, MemoryError):
                    limits.give_room()
                outcome.raised(error, run.workspace)
                self.failed_frame(error)
            if run.cancel_reason is not None:
                self.sample()  # what the worker ends has no result to it: the last variables go ahead
            run.ended = True
        except Terminated as error:  # SIGTERM while an end was being described
            run.ended = True
            self.cancelled(error, outcome)
        try:
            outcome.variables = self.snapshot()
        except Terminated:
            pass
        self.frame = None
        outcome.result_bytes = min(run.result_bytes, 60 << 20)
        outcome.time_saved, outcome.roi_value = run.context.roi.time_saved, run.context.roi.value
        outcome.recycle = self.unfinished_thread
        _context.activate(None)
        _context._variable.reset(token)
        return outcome

    def guarded_call(self) -> Any:
        """The call; a process that the function forked and in which it returned or raised ends here."""
        try:
            value = self.call()
        except BaseException as error:
            self.end_fork(error)
            raise
        self.end_fork(None)
        return value

    def end_fork(self, error: BaseException | None) -> None:
        """Nothing in the run's own process; in one that the function forked: never returns."""
        if os.getpid() == self.pid:
            return
        code = 0
        try:
            if isinstance(error, SystemExit):
                code = error.code if isinstance(error.code, int) else int(error.code is not None)
            elif error is not None:
                code = 1
                self.log.emit_error(error)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(code & 0xFF)

    def call(self) -> Any:
        """Loads the function and runs it to its end."""
        global _workspace
        run = self.request
        target = run.target
        if run.workspace != _workspace or sys.path[0] != run.workspace:
            targets.enter_workspace(run.workspace, _workspace)
            _workspace = run.workspace
        if target["kind"] == "file":
            found = targets.from_file(run.workspace, target["path"], target["function"], target.get("workflow"))
        else:
            found = targets.from_code(target["source"], target.get("name") or "script", run.parameters)
        function = found.function
        args: list[Any] = []
        if found.body_of is not None:
            run.context.parameters = run.parameters
            kwargs = {key: run.parameters[key] for key in found.body_of}
            kwargs.update(context=run.context, logger=logging.getLogger("script"), parameters=run.parameters)
            self.hidden = frozenset(kwargs)
        else:
            args, kwargs, extra = binding.bind(function, run.parameters, run.context)
            run.context.parameters = extra
            self.hidden = _argument_names(function)
        kind = _kind(function)
        if kind == "generator":
            name = getattr(function, "__name__", function)
            raise WorkflowError(f"`{name}` uses `yield`, so that nothing of it would run: use `return`")
        if kind == "async":
            result = function(*args, **kwargs)
        else:
            result = self.in_thread(function, args, kwargs)
        if inspect.isawaitable(result):
            result = self.in_loop(result)
        return result

    def in_loop(self, awaitable: Any) -> Any:
        """Runs a coroutine in the main thread."""
        coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
        # Held until the end: a frame keeps its variables after the function has returned.
        self.frame = coroutine.cr_frame
        self.task = self.loop.create_task(coroutine)
        if self.request.cancel_reason is not None:
            self.task.cancel()
        return self.loop.run_until_complete(self.task)

    def in_thread(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Runs a plain function in a thread, so that the main thread can still be told to let go."""
        done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        code = getattr(inspect.unwrap(function), "__code__", None)

        def body() -> None:
            try:
                if code is not None:
                    sys.setprofile(self.catch_frame(code))
                result = function(*args, **kwargs)
            except BaseException as error:
                sys.setprofile(None)
                self.end_fork(error)
                done.put((False, error))
            else:
                sys.setprofile(None)
                self.end_fork(None)
                done.put((True, result))

        context = contextvars.copy_context()
        # Not a daemon: threads take that over from the one that starts them. The process never waits for it at its end.
        self.thread = threading.Thread(target=context.run, args=(body,), name="bifrost-run", daemon=False)
        self.thread.start()
        self.unfinished_thread = True
        good, value = done.get()
        self.unfinished_thread = False
        if good:
            return value
        raise value

    def catch_frame(self, code: types.CodeType) -> Any:
        """A profile function that is gone as soon as it has seen the first frame of ``code``."""

        def see(frame: types.FrameType, event: str, _: Any) -> None:
            if event == "call" and frame.f_code is code:
                self.frame = frame
                sys.setprofile(None)

        return see

    def cancel(self) -> None:
        """Wakes the event loop with a cancellation; a plain function sees ``context.cancelled``."""
        task = self.task
        if task is not None:
            try:
                self.loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                pass  # the loop is closed: the run has ended

    def exited(self, error: SystemExit, outcome: Outcome) -> None:
        """``sys.exit()`` ends the function: well for 0 and none, else as a failure."""
        if error.code is None or error.code == 0:
            self.log.emit("WARNING", "sys.exit ended the function, its result is null: use `return`")
            return
        outcome.raised(error, self.request.workspace)
        shown = str(error.code)[:1000]
        outcome.error_message = f"the function called sys.exit({shown}): raise UserError to fail with a message"

    def cancelled(self, error: BaseException, outcome: Outcome) -> None:
        """A cancellation that was asked for; any other is the function's own error."""
        reason = self.request.cancel_reason
        if reason is None:
            outcome.raised(error, self.request.workspace)
            return
        if isinstance(error, Terminated):
            self.let_go()
        words = {"timeout": "The time limit was reached", "shutdown": "The worker is shutting down"}
        outcome.status = "Cancelled"
        outcome.value = None
        outcome.error_type = "Cancelled"
        outcome.error_message = outcome.user_message = words.get(reason, "The execution was cancelled")

    def let_go(self) -> None:
        """Gives a coroutine that SIGTERM interrupted a moment for its ``finally`` blocks."""
        task = self.task
        if task is None or task.done():
            return
        task.cancel()
        try:
            self.loop.run_until_complete(asyncio.wait({task}, timeout=SETTLE_SECONDS))
        except BaseException:  # the process ends anyway
            pass

    def forked(self) -> None:
        """In a process that the function forked: an event loop of its own, where it goes on in a coroutine.

        The parent's would be shared by the kernel: what wakes one of the two would be read by the other.
        """
        self.sampling = threading.Lock()
        try:
            self.loop._selector = selectors.DefaultSelector()  # type: ignore[attr-defined]
            self.loop._make_self_pipe()  # type: ignore[attr-defined]
        except Exception:  # a loop of another kind
            pass

    def forget(self) -> None:
        """Breaks the cycles, so that what the run used is freed now and not at the next collection."""
        self.request.execution = self.task = self.thread = None
        self.request.context._send_progress = self.request.context._send_log = None

    def settle(self) -> None:
        """Ends what the run left on the event loop, so that the next one starts with an empty one."""
        left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        if not left:
            return
        for task in left:
            task.cancel()
        try:
            self.loop.run_until_complete(asyncio.wait(left, timeout=SETTLE_SECONDS))
        except BaseException:
            pass
        if any(not task.done() for task in left):
            self.unfinished_thread = True

    def failed_frame(self, error: BaseException) -> None:
        """The variables of a function that raised are in its traceback when they were not caught before."""
        trace = error.__traceback__
        while self.frame is None and trace is not None:
            if trace.tb_frame.f_code.co_filename.startswith(self.request.workspace + os.sep):
                self.frame = trace.tb_frame
            trace = trace.tb_next

    def collect(self) -> dict[str, str]:
        """The variables as they are now."""
        frame = self.frame
        found = variables.visible(frame.f_locals, self.hidden) if frame is not None else {}
        found.update(self.request.context.variables)
        if not found:
            return {}
        rendered, left_out = variables.render(found, self.mask, self.request.variables_bytes)
        if left_out and not self.said_left_out:
            self.said_left_out = True
            self.log.emit(
                "WARNING",
                f"variables larger than {self.request.variables_bytes} bytes together are not shown: "
                + ", ".join(left_out[:10]),
            )
        return rendered

    def snapshot(self) -> dict[str, str]:
        """The variables for the result; no sample is sent afterwards."""
        with self.sampling:
            try:
                return self.collect()
            except Exception:
                return self.sent

    def sample(self) -> None:
        """Sends all variables when one of them changed (called by the reading thread)."""
        if self.request.ended or not self.sampling.acquire(blocking=False):
            return
        try:
            if self.request.ended:
                return
            try:
                now = self.collect()
            except Exception:
                return  # they changed while they were read; the next sample will do
            if now == self.sent:
                return
            self.sent = now
            self.version += 1
            pairs = ",".join(f"{json.dumps(name)}:{text}" for name, text in now.items())
            self.channel.send(
                _channel.VARIABLES, f'{{"version":{self.version},"variables":{{{pairs}}}}}'.encode()
            )
        finally:
            self.sampling.release()

    def progress(self, fraction: float, message: str | None) -> None:
        """``context.progress``."""
        if message is not None:
            message = clean_text(self.mask.apply(message))[:4000]
        self.channel.send(
            _channel.PROGRESS, json.dumps({"fraction": fraction, "message": message}).encode()
        )

    def write_log(self, level: str, message: str, metadata: dict[str, Any] | None) -> None:
        """``context.log``."""
        self.log.emit(level, message, metadata)


@functools.lru_cache(maxsize=256)
def _kind(function: Any) -> str:
    inner = inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner):
        return "async"
    made = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return "generator" if made else "plain"


async def _await(awaitable: Any) -> Any:
    return await awaitable


@functools.lru_cache(maxsize=256)
def _argument_names(function: Any) -> frozenset[str]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return frozenset()
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return frozenset(code.co_varnames[:count])
