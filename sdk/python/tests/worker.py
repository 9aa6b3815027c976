"""The worker's end of the protocol, small and strict, for tests against the real zygote."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[3]
RUNNER = ROOT / "crates" / "python" / "runner"
SDK = ROOT / "sdk" / "python"
SECONDS = 20.0

READY, CALL, LOG, VARIABLES, PROGRESS, SDK_REQUEST, SDK_REPLY, RESULT, CANCEL = range(1, 10)
_BIND_TO_3 = "import os,sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


class Folders:
    """Snapshots and temporary folders of one test, outside /tmp so that the run's own /tmp can be seen."""

    def __init__(self) -> None:
        base = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="bifrost-test-", dir=base))
        self.snapshots = self.root / "snapshots"
        self.snapshots.mkdir()
        self.workspace = self.snapshots / "version"
        self.workspace.mkdir()
        self.count = 0

    def write(self, path: str, text: str) -> None:
        """Puts a file into the workspace."""
        file = self.workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def temp(self) -> str:
        """A new folder for one run."""
        self.count += 1
        folder = self.root / f"temp{self.count}"
        folder.mkdir()
        return str(folder)

    def remove(self) -> None:
        """Removes everything."""
        for folder, _, _ in os.walk(self.root):
            if os.stat(folder).st_uid == os.geteuid():
                os.chmod(folder, 0o700)  # snapshots are sealed
        shutil.rmtree(self.root, ignore_errors=True)


class Zygote:
    """A real zygote and its control socket."""

    def __init__(self, folders: Folders, *more: str, python: str = sys.executable) -> None:
        self.folders = folders
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [python, "-I", str(RUNNER / "zygote.py"), "--sdk", str(SDK), "--snapshots", str(folders.snapshots)]
        self.process = subprocess.Popen(
            [python, "-I", "-c", _BIND_TO_3, str(theirs.fileno()), *command, *more],
            pass_fds=[theirs.fileno()],
            env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        )
        theirs.close()
        self.number = 0
        self.packets: list[dict[str, Any]] = []
        self.ready = self.wait("ready")

    def send(self, **message: Any) -> None:
        """One packet without a descriptor."""
        self.control.send(json.dumps(message).encode())

    def wait(self, kind: str, number: int | None = None) -> dict[str, Any]:
        """The next packet of that kind (and child)."""
        deadline = time.monotonic() + SECONDS
        while True:
            for packet in self.packets:
                if packet["type"] == kind and number in (None, packet.get("id")):
                    self.packets.remove(packet)
                    return packet
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.control], [], [], left)[0]:
                raise AssertionError(f"no `{kind}` packet came; there were {self.packets}")
            data, descriptors, _, _ = socket.recv_fds(self.control, 65536, 4)
            if not data:
                raise AssertionError("the zygote closed its socket")
            packet = json.loads(data)
            packet["descriptors"] = descriptors
            self.packets.append(packet)

    def fork(self, limits: dict[str, Any] | None = None, uid: int | None = None, temp: str | None = None) -> "Child":
        """A new child, ready for a call."""
        self.number += 1
        ours, theirs = socket.socketpair()
        folder = temp or self.folders.temp()
        message = {"type": "fork", "id": self.number, "uid": uid, "temp": folder, "limits": limits or {}}
        socket.send_fds(self.control, [json.dumps(message).encode()], [theirs.fileno()])
        theirs.close()
        forked = self.wait("forked", self.number)
        child = Child(self, self.number, forked["pid"], forked["descriptors"][0], ours, folder)
        kind, payload = child.frame()
        assert (kind, payload) == (READY, {"protocol": 1}), (kind, payload)
        return child

    def close(self) -> int:
        """Closes the control socket and waits for the zygote's end."""
        self.control.close()
        return self.process.wait(SECONDS)


class Child:
    """The worker's end of a run socket."""

    def __init__(self, zygote: Zygote, number: int, pid: int, pidfd: int, sock: socket.socket, temp: str) -> None:
        self.zygote = zygote
        self.number = number
        self.pid = pid
        self.pidfd = pidfd
        self.socket = sock
        self.temp = temp
        self.socket.settimeout(SECONDS)
        self.buffer = bytearray()
        self.lines: list[list[Any]] = []
        self.variables: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self.answers: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None

    def take(self, count: int) -> bytes | None:
        while len(self.buffer) < count:
            data = self.socket.recv(1 << 20)
            if not data:
                return None
            self.buffer += data
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def frame(self) -> tuple[int, Any] | None:
        """The next frame; ``None`` at the end of the stream."""
        head = self.take(5)
        if head is None:
            return None
        length, kind = struct.unpack(">IB", head)
        assert length <= (64 << 20 if kind == RESULT else 16 << 20 if kind == SDK_REQUEST else 1 << 20), (kind, length)
        data = self.take(length)
        assert data is not None
        return kind, json.loads(data.decode("utf-8"), parse_constant=lambda name: self.refuse(name))

    def refuse(self, name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    def send(self, kind: int, message: dict[str, Any]) -> None:
        """One frame to the child."""
        data = json.dumps(message).encode()
        self.socket.sendall(struct.pack(">IB", len(data), kind) + data)

    def call(
        self, target: dict[str, Any], parameters: dict[str, Any] | None = None, isolation: str = "fork", **more: Any
    ) -> None:
        """Starts a call."""
        context = {
            "user_id": "u1", "email": "ada@example.com", "name": "Ada", "scope": "GLOBAL", "organization": None,
            "is_platform_admin": True, "is_function_key": False, "execution_id": "e1", "workflow_name": "w",
            "startup": None, "roi": {"time_saved": 0, "value": 0.0}, "public_url": None,
        }  # fmt: skip
        context.update(more.pop("context", {}))
        limits = {"line_bytes": 32768, "result_bytes": 50331648, "variables_bytes": 262144, "grace_ms": 3000}
        limits.update(more.pop("limits", {}))
        workspace = str(self.zygote.folders.workspace)
        self.send(
            CALL,
            {
                "execution_id": "e1",
                "attempt": more.pop("attempt", 1),
                "isolation": isolation,
                "target": {"workspace": workspace, "version": "v", **target},
                "parameters": parameters or {},
                "context": context,
                "limits": limits,
                "masked": more.pop("masked", []),
            },
        )
        assert not more, more

    def file(self, path: str, function: str, parameters: dict[str, Any] | None = None, **more: Any) -> None:
        """Calls a function of the workspace."""
        self.call({"kind": "file", "path": path, "function": function, "workflow": function}, parameters, **more)

    def code(self, source: str, parameters: dict[str, Any] | None = None, **more: Any) -> None:
        """Calls posted source."""
        self.call({"kind": "code", "source": source, "name": "posted"}, parameters, **more)

    def until(self, wanted: Callable[[], bool]) -> None:
        """Takes frames until something holds."""
        while not wanted():
            frame = self.frame()
            if frame is None:
                raise AssertionError(f"the child ended; its lines: {self.lines[-5:]}")
            self.keep(*frame)

    def keep(self, kind: int, payload: Any) -> None:
        if kind == LOG:
            self.lines += payload["lines"]
        elif kind == VARIABLES:
            self.variables.append(payload)
        elif kind == PROGRESS:
            self.progress.append(payload)
        elif kind == SDK_REQUEST:
            assert self.answers is not None, payload
            reply = self.answers(payload["method"], payload["params"])
            self.send(SDK_REPLY, {"id": payload["id"], **reply})
        else:
            raise AssertionError(f"unexpected frame {kind}")

    def result(self) -> dict[str, Any]:
        """Takes frames until the result."""
        while True:
            frame = self.frame()
            if frame is None:
                raise AssertionError(f"the child ended without a result; its lines: {self.lines[-5:]}")
            if frame[0] == RESULT:
                return frame[1]
            self.keep(*frame)

    def drain(self) -> None:
        """Takes frames until the end of the stream."""
        while (frame := self.frame()) is not None:
            self.keep(*frame)

    def messages(self, level: str | None = None) -> list[str]:
        """The text of the lines, of one level."""
        return [line[2] for line in self.lines if level in (None, line[1])]

    def exited(self) -> dict[str, Any]:
        """The zygote's word that nothing of the run is left."""
        return self.zygote.wait("exited", self.number)

    def signal(self, number: int) -> None:
        """Through the pidfd, as the worker does."""
        signal.pidfd_send_signal(self.pidfd, number)

    def gone(self) -> bool:
        """Whether the process has ended (waits for it)."""
        return bool(select.select([self.pidfd], [], [], SECONDS)[0])

    def close(self) -> None:
        """Closes the worker's end."""
        self.socket.close()
        os.close(self.pidfd)
