"""Everything that is printed becomes log lines: Python's own streams directly, descriptors 1 and 2 through pipes."""

from __future__ import annotations

import codecs
import io
import os
import threading
from typing import Any

from bifrost._log import ForkedLog, RunLog

_BEYOND = 8192


class _Lines:
    """Cuts text into lines. What has no end yet is kept up to a bound; of a longer line only its size is kept."""

    def __init__(self, log: RunLog, level: str) -> None:
        self.log = log
        self.level = level
        self.partial: list[str] = []
        self.kept = 0
        self.skipped = 0

    def feed(self, text: str) -> None:
        if "\n" not in text:
            self.keep(text)
            return
        lines = text.split("\n")
        last = lines.pop()
        if self.partial or self.skipped:
            self.keep(lines[0])
            lines[0] = self.take()
        if len(lines) == 1:
            self.log.emit(self.level, lines[0])
        else:
            self.log.emit_lines(self.level, lines)
        if last:
            self.keep(last)

    def keep(self, text: str) -> None:
        # More than fits is kept, so that a secret across the cut can still be found; the rest is counted.
        room = self.log.line_bytes + _BEYOND - self.kept
        if len(text) > room:
            self.skipped += len(text[room:].encode("utf-8", "replace"))
            text = text[:room]
        if text:
            self.partial.append(text)
            self.kept += len(text)

    def take(self) -> str:
        text = "".join(self.partial)
        if self.skipped:
            text = self.log.masked(text)
            cut = len(text.encode("utf-8", "replace"))
            kept = text.encode("utf-8", "replace")[: self.log.line_bytes - 64].decode("utf-8", "ignore")
            missing = cut - len(kept.encode("utf-8", "replace")) + self.skipped
            text = f"{kept}… [line cut: {missing} bytes]"
        self.partial, self.kept, self.skipped = [], 0, 0
        return text

    def finish(self) -> None:
        """Writes what was printed without an end of line."""
        if self.partial or self.skipped:
            self.log.emit(self.level, self.take())


class LineWriter(io.TextIOBase):
    """``sys.stdout`` and ``sys.stderr`` of a run: a line is in the log when ``print`` returns."""

    def __init__(self, log: RunLog, level: str, descriptor: int) -> None:
        super().__init__()
        self._lines = _Lines(log, level)
        self._descriptor = descriptor
        # Tells `logging` that records may be handed over as they are (see `_log.route_streams`).
        self.run_log = log
        self._lock = threading.RLock()
        self.buffer = _Bytes(self)

    encoding = "utf-8"  # type: ignore[assignment]
    errors = "replace"
    name = "<run log>"
    mode = "w"

    def write(self, text: str) -> int:
        """Takes text; complete lines go to the log at once."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            self._lines.feed(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits here but an unfinished line, which is kept together unless its process may end any moment."""
        if isinstance(self.run_log, ForkedLog):
            self.finish()

    def forked(self, log: RunLog) -> None:
        """In a process that the run forked: begins anew, with another log."""
        self.run_log = log
        self._lines = _Lines(log, self._lines.level)
        self._lock = threading.RLock()

    def finish(self) -> None:
        """Ends an unfinished line."""
        with self._lock:
            self._lines.finish()

    def close(self) -> None:
        """A run's log is never closed by the run."""

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Never."""
        return False

    def fileno(self) -> int:
        """The descriptor that subprocesses are given; what they print comes back through a pipe."""
        return self._descriptor

    def reconfigure(self, **_: Any) -> None:
        """Accepted and ignored: the log is UTF-8, line by line."""


class _Bytes(io.BufferedIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any) -> int:
        view = bytes(data)
        self._writer.write(self._decoder.decode(view))
        return len(view)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._writer.fileno()

    def close(self) -> None:
        pass


class Pipes:
    """Descriptors 1 and 2: what subprocesses and C code print."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.readers: list[int] = []
        self._lines: dict[int, tuple[_Lines, Any]] = {}
        self._lock = threading.Lock()

    def take_over(self) -> None:
        """Puts /dev/null on 0 and pipes on 1 and 2."""
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        for target, level in ((1, "INFO"), (2, "ERROR")):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reader, False)
            os.dup2(writer, target)
            os.close(writer)
            self.readers.append(reader)
            self._lines[reader] = (_Lines(self.log, level), codecs.getincrementaldecoder("utf-8")("replace"))

    def read(self, descriptor: int) -> bool:
        """Takes what is there; false when nothing was."""
        with self._lock:
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                return False
            lines, decoder = self._lines[descriptor]
            lines.feed(decoder.decode(data))
            return bool(data)

    def drain(self) -> None:
        """Takes everything that was printed so far, and ends unfinished lines."""
        for descriptor in self.readers:
            # Bounded: a subprocess that goes on printing must not hold the result back for ever.
            for _ in range(1000):
                if not self.read(descriptor):
                    break
            with self._lock:
                self._lines[descriptor][0].finish()
