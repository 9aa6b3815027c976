"""The run's log: every line becomes a frame before the call that made it returns."""

from __future__ import annotations

import json.encoder
import logging
import os
import time
from typing import Any

from . import _channel, _tracebacks
from ._json import clean_text, encode
from ._masking import Mask

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "TRACEBACK")
# Frames may be 1 MiB; quoting can make a line six times as long.
_FRAME = 900_000
_quote = json.encoder.encode_basestring
# Marks a record that is in the log already.
_WRITTEN = "_bifrost_written"
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName", _WRITTEN}
# Libraries that say at DEBUG what no workflow's author asked for.
NOISY = ("asyncio", "urllib3", "httpx", "httpcore", "requests", "botocore", "boto3", "azure", "msal", "chardet", "hpack")


class RunLog:
    """Writes lines to the run socket: masked, cleaned, cut."""

    def __init__(self, channel: _channel.Channel, mask: Mask, line_bytes: int = 32768) -> None:
        self._channel = channel
        self._mask = mask
        self.line_bytes = line_bytes
        self.workspace: str | None = None
        self._said_cleaned = False

    def reset(self, mask: Mask, line_bytes: int, workspace: str | None = None) -> None:
        """Starts the next run's log."""
        self._mask = mask
        self.line_bytes = max(256, line_bytes)
        self.workspace = workspace
        self._said_cleaned = False

    def masked(self, text: str) -> str:
        """``text`` without the values of secrets."""
        return self._mask.apply(text)

    def emit(self, level: str, message: str, metadata: dict[str, Any] | None = None, time_us: int | None = None) -> None:
        """Writes one line."""
        line = self._line(level, message, metadata, time_us or time.time_ns() // 1000)
        self._channel.send(_channel.LOG, f'{{"lines":[{line}]}}'.encode())

    def emit_error(self, error: BaseException) -> None:
        """Writes an error's traceback, with the files under the names that their author knows."""
        self.emit("TRACEBACK", _tracebacks.format_error(error, self.workspace))

    def emit_record(self, record: logging.LogRecord) -> None:
        """Writes a record of ``logging`` once, however many handlers bring it; its exception is a line of its own."""
        if _WRITTEN in record.__dict__:
            return
        record.__dict__[_WRITTEN] = True
        try:
            message = record.getMessage()
        except Exception as error:  # a wrong format string must not end the run
            message = f"{record.msg} (cannot be formatted: {error})"
        if record.name == "asyncio":
            message = _tracebacks.shorten(message, self.workspace)
        extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        self.emit(level_name(record.levelno), message, extra or None, int(record.created * 1_000_000))
        if record.exc_info and record.exc_info[1] is not None:
            self.emit_error(record.exc_info[1])
        elif record.stack_info:
            self.emit("TRACEBACK", _tracebacks.shorten(record.stack_info, self.workspace))

    def emit_lines(self, level: str, messages: list[str]) -> None:
        """Writes several lines, in as few frames as may be."""
        now = time.time_ns() // 1000
        batch: list[str] = []
        size = 0
        for message in messages:
            line = self._line(level, message, None, now)
            if batch and size + len(line) > _FRAME // 4:
                self._channel.send(_channel.LOG, f'{{"lines":[{",".join(batch)}]}}'.encode())
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        if batch:
            self._channel.send(_channel.LOG, f'{{"lines":[{",".join(batch)}]}}'.encode())

    def _line(self, level: str, message: str, metadata: dict[str, Any] | None, time_us: int) -> str:
        if self._mask:
            message = self._mask.apply(message)
        if len(message) * 4 > self.line_bytes:
            message = self._cut(message)
        if "\0" in message or not (message.isascii() or _fits(message)):
            message = clean_text(message)
            if not self._said_cleaned:
                self._said_cleaned = True
                self.emit("WARNING", "NUL and lone surrogates in log lines are replaced by U+FFFD")
        return f'[{time_us},"{level}",{_quote(message)},{self._metadata(metadata) if metadata else "null"}]'

    def _cut(self, message: str) -> str:
        data = message.encode("utf-8", "replace") if not _fits(message) else message.encode()
        if len(data) <= self.line_bytes:
            return message
        kept = data[: self.line_bytes - 64].decode("utf-8", "ignore")
        return f"{kept}… [line cut: {len(data) - len(kept.encode())} bytes]"

    def _metadata(self, metadata: dict[str, Any]) -> str:
        try:
            data, _ = encode(metadata, self._mask, "metadata")
        except Exception as error:
            data, _ = encode({"error": f"metadata cannot be written: {error}"}, self._mask)
        if len(data) > self.line_bytes:
            data, _ = encode({"cut": f"{len(data)} bytes of metadata were left out"})
        return data.decode()


def _fits(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def level_name(number: int) -> str:
    """The nearest of the five levels at or below ``number``."""
    if number >= 50:
        return "CRITICAL"
    if number >= 40:
        return "ERROR"
    if number >= 30:
        return "WARNING"
    return "INFO" if number >= 20 else "DEBUG"


class RunHandler(logging.Handler):
    """Standard ``logging`` into the run's log: fields given by ``extra=`` become the line's metadata."""

    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, and its exception as a line of its own at ``TRACEBACK``."""
        self._log.emit_record(record)


class ForkedLog(RunLog):
    """The log in a process that the run forked: lines go to descriptors 1 and 2, which lead to the run's log."""

    def emit(self, level: str, message: str, metadata: dict[str, Any] | None = None, time_us: int | None = None) -> None:
        """Writes one line."""
        self.emit_lines(level, [message])

    def emit_lines(self, level: str, messages: list[str]) -> None:
        """Writes several lines."""
        text = self._mask.apply("".join(f"{message}\n" for message in messages))
        data = memoryview(text.encode("utf-8", "replace"))
        try:
            while data:
                data = data[os.write(2 if level in ("ERROR", "CRITICAL", "TRACEBACK") else 1, data) :]
        except OSError:
            pass  # nobody reads any more


def route_streams() -> None:
    """Lets a ``StreamHandler`` that writes to a run's stream hand over its records, so that they keep their level and
    fields, and are not written twice beside the run's own handler."""
    plain = logging.StreamHandler.emit

    def emit(self: Any, record: logging.LogRecord) -> None:
        log = getattr(self.stream, "run_log", None)
        if isinstance(log, RunLog):
            log.emit_record(record)
        else:
            plain(self, record)

    logging.StreamHandler.emit = emit  # type: ignore[method-assign]


def install(handler: RunHandler) -> None:
    """Makes ``handler`` the root logger's only one."""
    root = logging.root
    if root.handlers != [handler]:
        root.handlers[:] = [handler]
    if root.level != logging.DEBUG:
        root.setLevel(logging.DEBUG)


def uninstall() -> None:
    """Takes away what :func:`install` has set."""
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)


def quieten() -> None:
    """Keeps what is known to be noisy at INFO."""
    for name in NOISY:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
