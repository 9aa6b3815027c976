"""Frames on the run socket (docs/worker-protocol.md): length, kind, JSON."""

from __future__ import annotations

import socket
import struct
import threading

READY = 1
CALL = 2
LOG = 3
VARIABLES = 4
PROGRESS = 5
SDK_REQUEST = 6
SDK_REPLY = 7
RESULT = 8
CANCEL = 9

_HEAD = struct.Struct(">IB")
# Above this the copy that joins head and payload costs more than a second system call.
_JOIN_BELOW = 65536


class Channel:
    """The sending end. Whole frames, in order, from any thread; a frame was handed to the kernel when ``send`` returns.

    A signal handler that wants to raise in the main thread must not do so in the middle of a frame: it asks
    :meth:`interrupt`, which raises at once or, when the main thread is sending, right after the frame.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket: socket.socket | _Nowhere = sock
        self._lock = threading.Lock()
        self._main = threading.main_thread().ident
        self._main_sends = 0
        self._raise_later: BaseException | None = None

    def send(self, kind: int, payload: bytes) -> None:
        """Writes one frame; waits while the worker is slow to read."""
        main = threading.get_ident() == self._main
        if main:
            self._main_sends += 1
        try:
            with self._lock:
                if len(payload) < _JOIN_BELOW:
                    self._socket.sendall(_HEAD.pack(len(payload), kind) + payload)
                else:
                    self._socket.sendall(_HEAD.pack(len(payload), kind))
                    self._socket.sendall(payload)
        finally:
            if main:
                self._main_sends -= 1
        if main and self._raise_later is not None and not self._main_sends:
            error, self._raise_later = self._raise_later, None
            raise error

    def interrupt(self, error: BaseException) -> None:
        """Raises ``error`` in the main thread (called from a signal handler there)."""
        if self._main_sends:
            self._raise_later = error
        else:
            raise error

    def cut_off(self) -> None:
        """In a process that the run forked: nothing is sent from now on, since frames of two would mix."""
        self._socket = _Nowhere()
        self._lock = threading.Lock()
        self._main_sends = 0
        self._raise_later = None

    def forget_interrupt(self) -> None:
        """Drops an error that has not been raised yet."""
        self._raise_later = None


class _Nowhere:
    """Takes frames and keeps none."""

    def sendall(self, data: bytes) -> None:
        """Takes it."""


class FrameReader:
    """Cuts a byte stream into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Takes what was received and returns the frames that are complete now."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= 5:
            length, kind = _HEAD.unpack_from(buffer, start)
            end = start + 5 + length
            if len(buffer) < end:
                break
            frames.append((kind, bytes(buffer[start + 5 : end])))
            start = end
        if start:
            del buffer[:start]
        return frames
