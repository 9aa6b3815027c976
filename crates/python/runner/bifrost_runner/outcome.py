"""What a run hands back: its result, or what went wrong, as one frame."""

from __future__ import annotations

import builtins
import json
import os
import re
import resource
from typing import Any

from bifrost import UserError, WorkflowError, _channel
from bifrost._json import NotSerializable, encode
from bifrost._log import RunLog
from bifrost._masking import Mask
from bifrost._tracebacks import MAX_TRACEBACK, cut, format_error, hide

from . import limits

GENERIC = "An error occurred during execution"
MAX_FRAME = 64 * 1024 * 1024
MAX_ERROR = 16_384
_HTML = re.compile(r"\s*<(?:!doctype\s|!--|[a-z][a-z0-9-]*(?:\s|/?>))", re.IGNORECASE)
# Python 3.10 has no groups.
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)
hide(os.path.dirname(os.path.abspath(__file__)))


class Outcome:
    """A run's end. ``value`` is the function's result; an error replaces it."""

    def __init__(self, status: str, value: Any = None) -> None:
        self.status = status
        self.value = value
        self.error_type: str | None = None
        self.error_message: str | None = None
        self.user_message: str | None = None
        self.traceback: str | None = None
        self.variables: dict[str, str] = {}
        self.time_saved: Any = 0
        self.roi_value: Any = 0.0
        self.result_bytes = MAX_FRAME
        self.recycle = False
        # A process that serves one run may count for it.
        self.counts_usage = False

    def fail(self, error_type: str, message: str, user_message: str = GENERIC) -> None:
        """Makes this a failure."""
        self.status = "Failed"
        self.value = None
        self.error_type = error_type[:200]
        self.error_message = message
        self.user_message = user_message

    def raised(self, error: BaseException, workspace: str | None) -> None:
        """Makes this the failure that ``error`` is."""
        meant = _meant(error)
        message = _text_of(meant)
        limit = limits.explain(meant)
        if limit is not None:
            # Which limit it was is no secret: whoever started the run reads it, too.
            self.fail(type(meant).__name__, f"{limit}: {message}", limit)
        else:
            shown = isinstance(meant, WorkflowError) and meant.for_everybody
            self.fail(type(meant).__name__, message, message if shown else GENERIC)
        self.traceback = format_error(error, workspace)

    def send(self, channel: _channel.Channel, log: RunLog, mask: Mask) -> None:
        """Writes the lines that explain the end, then the result frame."""
        data = b"null"
        kind = "json"
        if self.status != "Failed":
            kind = _kind(self.value)
            data = self._result(log, mask)
        if self.status == "Success" and data.startswith(b"{") and isinstance(self.value, dict):
            self._own_word()
        if self.traceback is not None:
            if self.error_type is not None and self.user_message != GENERIC:
                log.emit("ERROR", self.user_message or "")
            log.emit("TRACEBACK", self.traceback)
        if self.error_type is None and self.error_message is None and not self.variables and not self.recycle:
            channel.send(_channel.RESULT, self._plain(kind) + data + b"}")
            return
        head = {
            "status": self.status,
            "recycle": self.recycle,
            "result_type": kind if self.status != "Failed" else "json",
            "error_type": self.error_type,
            "error_message": _cut(self.error_message, MAX_ERROR),
            "user_message": _cut(self.user_message, MAX_ERROR),
            "traceback": _cut(self.traceback, MAX_TRACEBACK),
            "time_saved": _number(self.time_saved),
            "value": _number(self.roi_value),
        }
        text, _ = encode(head, mask)
        variables = ",".join(f"{json.dumps(name)}:{value}" for name, value in self.variables.items())
        tail = f',"usage":{self._usage()},"variables":{{{variables}}},"result":'
        channel.send(_channel.RESULT, text[:-1] + tail.encode() + data + b"}")

    def _plain(self, kind: str) -> bytes:
        """The head of the common case, without a walk over what is empty."""
        return (
            f'{{"status":"{self.status}","recycle":false,"result_type":"{kind}","error_type":null,"error_message":null,'
            f'"user_message":null,"traceback":null,"time_saved":{_number(self.time_saved)!r},'
            f'"value":{_number(self.roi_value)!r},"usage":{self._usage()},"variables":{{}},"result":'
        ).encode()

    def _usage(self) -> str:
        if not self.counts_usage:
            return "null"
        own, waited = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = max(own.ru_maxrss, waited.ru_maxrss) * 1024
        seconds = own.ru_utime + own.ru_stime + waited.ru_utime + waited.ru_stime
        return f'{{"peak_memory_bytes":{peak},"cpu_seconds":{seconds:.6f}}}'

    def _result(self, log: RunLog, mask: Mask) -> bytes:
        try:
            data, notes = encode(self.value, mask)
        except NotSerializable as error:
            self.fail("ResultNotSerializable", f"the result cannot be stored as JSON: {error}")
            return b"null"
        except MemoryError as error:
            limits.give_room()
            self.fail("MemoryError", f"the result cannot be made JSON: {limits.explain(error) or 'no memory is left'}")
            return b"null"
        if len(data) > self.result_bytes:
            self.fail(
                "ResultTooLarge",
                f"the result has {len(data)} bytes; at most {self.result_bytes} can be stored: "
                "write it to a file and return the file's name",
            )
            return b"null"
        if notes:
            log.emit("WARNING", "the result was changed to be stored as JSON: " + "; ".join(notes))
        return data

    def _own_word(self) -> None:
        """``{"success": False}`` says that the run ended, but not well."""
        if self.value.get("success") is False:
            self.status = "CompletedWithErrors"
            said = self.value.get("error") or self.value.get("message")
            if isinstance(said, str):
                self.error_message = said


def _kind(value: Any) -> str:
    if isinstance(value, bytes):
        return "text"
    if not isinstance(value, str):
        return "json"
    return "html" if _HTML.match(value[:500]) else "text"


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if number - number == 0 else 0.0


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return text or type(error).__name__


def _cut(text: str | None, most: int) -> str | None:
    return None if text is None else cut(text, most)


def _meant(error: BaseException) -> BaseException:
    """A group around nothing but one ``UserError`` (``asyncio.TaskGroup`` makes such) is that error."""
    inner = error
    while _GROUP is not None and isinstance(inner, _GROUP) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, UserError) else error
