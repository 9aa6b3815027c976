"""The zygote: walls, leases, and that no process outlives its reason."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
import unittest
from pathlib import Path

from .worker import Folders, Zygote

GRANDCHILD = (
    "import subprocess\n"
    "p = subprocess.Popen(['sleep', '3600'], start_new_session=detached)\n"
    "print('started')\n"
    "import time\n"
    "while stay: time.sleep(0.01)\n"
)
NAMES = {
    "pid_namespace", "mount_namespace", "own_uid", "landlock", "no_new_privs", "memory_limit", "memory_sum", "signals"
}  # fmt: skip


def sleepers(marker: str) -> list[int]:
    """Processes of this machine whose working folder lies below ``marker``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/cwd").startswith(marker):
                    found.append(int(name))
            except OSError:
                continue
    return found


class Lifecycle(unittest.TestCase):
    def setUp(self) -> None:
        self.folders = Folders()
        self.addCleanup(self.folders.remove)
        self.zygote = Zygote(self.folders)
        self.addCleanup(self.zygote.close)
        self.walls = self.zygote.ready["walls"]

    def assert_nothing_left(self) -> None:
        deadline = time.monotonic() + 10
        while sleepers(str(self.folders.root)):
            self.assertLess(time.monotonic(), deadline, "a process was left behind")
            select.select([], [], [], 0.01)

    def test_ready_says_what_stands(self) -> None:
        self.assertEqual(self.zygote.ready["protocol"], 1)
        self.assertEqual(self.zygote.ready["python"], ".".join(map(str, sys.version_info[:3])))
        self.assertEqual(set(self.walls), NAMES)
        for name, value in self.walls.items():
            self.assertTrue(value is True or (isinstance(value, str) and value), name)
        self.assertIs(self.walls["no_new_privs"], True)
        self.assertIs(self.walls["memory_limit"], True)

    def test_grandchildren_die_with_their_run(self) -> None:
        for detached in (False, True):
            for stay in (False, True):
                child = self.zygote.fork()
                self.addCleanup(child.close)
                child.code(GRANDCHILD, {"detached": detached, "stay": stay})
                child.until(lambda child=child: bool(child.lines))
                if stay:
                    self.zygote.send(type="kill", id=child.number, signal=signal.SIGKILL)
                    self.assertEqual(child.exited()["signal"], signal.SIGKILL)
                else:
                    self.assertEqual(child.result()["status"], "Success")
                    self.assertEqual(child.exited()["code"], 0)
                self.assertEqual(sleepers(child.temp), [], f"{detached} {stay}")

    def test_the_pid_namespace(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code("import os\nreturn [os.getpid(), sorted(x for x in os.listdir('/proc') if x.isdigit())]")
        pid, shown = child.result()["result"]
        if self.walls["pid_namespace"] is True:
            self.assertEqual(pid, 1)
            if self.walls["mount_namespace"] is True:
                self.assertEqual(shown, ["1"])
        else:
            self.assertEqual(pid, child.pid)
            self.assertGreater(len(self.walls["pid_namespace"]), 0)

    def test_what_a_run_sees(self) -> None:
        os.environ["BIFROST_TEST_SECRET"] = "in the worker"
        self.addCleanup(os.environ.pop, "BIFROST_TEST_SECRET", None)
        (self.folders.root / "keys").write_text("the key")
        source = (
            "import os, socket, tempfile\n"
            "def can(path, mode='rb'):\n"
            "    try:\n"
            "        open(path, mode).close()\n"
            "        return True\n"
            "    except OSError as error:\n"
            "        return error.strerror\n"
            "fds = [int(x) for x in os.listdir('/proc/self/fd')]\n"
            "return {'env': dict(os.environ), 'cwd': os.getcwd(), 'temp': tempfile.gettempdir(), 'keys': can(keys),\n"
            "        'own': can('own.txt', 'wb'), 'workspace': can(workspace + '/x.py', 'wb'), 'null': can('/dev/null', 'r+b'),\n"
            "        'fds': [os.readlink(f'/proc/self/fd/{x}') for x in fds if x > 2 and os.path.islink(f'/proc/self/fd/{x}')],\n"
            "        'tmp': os.listdir('/tmp') if private else []}"
        )
        child = self.zygote.fork()
        self.addCleanup(child.close)
        parameters = {
            "keys": str(self.folders.root / "keys"),
            "workspace": str(self.folders.workspace),
            # Where anything that a run needs lies below /tmp (this checkout, say), it gets no /tmp of its own.
            "private": self.walls["mount_namespace"] is True
            and all(path.parts[1] != "tmp" for path in (self.folders.root, Path(__file__).resolve())),
        }
        child.code(source, parameters)
        result = child.result()["result"]
        self.assertEqual(result["env"].pop("HOME"), child.temp)
        self.assertEqual(result["env"].pop("TMPDIR"), child.temp)
        self.assertLessEqual(set(result["env"]), {"PATH", "LANG", "LC_ALL", "TZ"})
        self.assertEqual((result["cwd"], result["temp"]), (child.temp, child.temp))
        self.assertIs(result["own"], True)
        self.assertIs(result["null"], True)
        self.assertLessEqual(set(result["tmp"]), {"own.txt"})
        kinds = {link.partition(":")[0] for link in result["fds"]}
        self.assertLessEqual(kinds, {"socket", "pipe", "anon_inode"})
        self.assertEqual(len([link for link in result["fds"] if link.startswith("pipe")]), 2)
        if self.walls["landlock"] is True:
            self.assertEqual((result["keys"], result["workspace"]), ("Permission denied", "Permission denied"))

    def test_an_own_user(self) -> None:
        self.folders.root.chmod(0o755)
        zygote = Zygote(self.folders)
        self.addCleanup(zygote.close)
        wall = zygote.ready["walls"]["own_uid"]
        if wall is not True:
            self.assertGreater(len(wall), 0)
            return
        temp = self.folders.temp()
        os.chown(temp, 60123, 60123)
        child = zygote.fork(uid=60123, temp=temp)
        self.addCleanup(child.close)
        child.code("import os\nopen('x', 'w').close()\nreturn [os.getuid(), os.getgid(), os.getgroups(), os.access('/root', os.R_OK)]")
        self.assertEqual(child.result()["result"], [60123, 60123, [], False])

    def test_a_run_has_no_capability(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code(
            "with open('/proc/self/status') as file:\n"
            "    return {line.split()[1] for line in file if line.startswith(('CapInh', 'CapPrm', 'CapEff', 'CapAmb'))}"
        )
        self.assertEqual(child.result()["result"], ["0" * 16])

    def test_children_die_when_the_lease_ends(self) -> None:
        self.lease(60_000)
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code(GRANDCHILD, {"detached": True, "stay": True})
        child.until(lambda: bool(child.lines))
        self.lease(50)
        self.assertEqual(child.exited()["signal"], signal.SIGKILL)
        self.assertEqual(sleepers(child.temp), [])
        self.refused("the worker's lease has run out")
        self.lease(60_000)
        again = self.zygote.fork()
        self.addCleanup(again.close)
        again.code("return 1")
        self.assertEqual(again.result()["result"], 1)

    def lease(self, milliseconds: int) -> None:
        self.zygote.send(type="lease", until_ms=time.monotonic_ns() // 1_000_000 + milliseconds)

    def refused(self, reason: str, descriptor: bool = True, number: int = 900) -> None:
        ours, theirs = socket.socketpair()
        message = json.dumps({"type": "fork", "id": number, "uid": None, "temp": "/nowhere", "limits": {}}).encode()
        if descriptor:
            socket.send_fds(self.zygote.control, [message], [theirs.fileno()])
        else:
            self.zygote.control.send(message)
        ours.close()
        theirs.close()
        self.assertIn(reason, self.zygote.wait("fork_failed", number)["message"])

    def test_forks_that_cannot_be(self) -> None:
        self.refused("the run socket is missing", descriptor=False)
        child = self.zygote.fork()
        self.addCleanup(child.close)
        self.refused("already", number=child.number)

    def test_a_child_that_cannot_be_set_up_ends(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        message = {"type": "fork", "id": 77, "uid": None, "temp": str(self.folders.root / "absent"), "limits": {}}
        socket.send_fds(self.zygote.control, [json.dumps(message).encode()], [theirs.fileno()])
        theirs.close()
        for descriptor in self.zygote.wait("forked", 77)["descriptors"]:
            os.close(descriptor)
        self.assertEqual(self.zygote.wait("exited", 77)["code"], 71)
        self.assertEqual(ours.recv(1), b"")

    def test_closing_the_control_socket_ends_everything(self) -> None:
        children = [self.zygote.fork() for _ in range(3)]
        for child in children:
            self.addCleanup(child.close)
            child.code(GRANDCHILD, {"detached": True, "stay": True})
            child.until(lambda child=child: bool(child.lines))
        self.assertEqual(self.zygote.close(), 0)
        for child in children:
            self.assertTrue(child.gone())
        self.assert_nothing_left()

    def test_shutdown(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        self.zygote.send(type="shutdown")
        self.assertEqual(self.zygote.process.wait(10), 0)
        self.assertTrue(child.gone())

    def test_children_die_with_a_killed_zygote(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code(GRANDCHILD, {"detached": False, "stay": True})
        child.until(lambda: bool(child.lines))
        self.zygote.process.kill()
        self.assertTrue(child.gone())

    def test_a_child_ends_when_the_worker_closes_its_socket(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(lambda: os.close(child.pidfd))
        child.code("import time\nprint(1)\nwhile True: time.sleep(0.01)")
        child.until(lambda: bool(child.lines))
        child.socket.close()
        self.assertTrue(child.gone())

    def test_signals_to_the_group_do_not_end_the_zygote(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.zygote.process.send_signal(number)
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code("return 1")
        self.assertEqual(child.result()["result"], 1)

    def test_a_packet_that_is_no_message_ends_the_zygote(self) -> None:
        self.zygote.control.send(b"{")
        self.assertEqual(self.zygote.process.wait(10), 0)


class Preload(unittest.TestCase):
    def test_modules_are_imported_ahead_or_left_out_with_a_reason(self) -> None:
        folders = Folders()
        self.addCleanup(folders.remove)
        zygote = Zygote(folders, "--preload", "turtledemo_of_no_one,wave,os;evil,antigravity_no,json")
        self.addCleanup(zygote.close)
        left_out = "\n".join(zygote.ready["left_out"])
        self.assertIn("turtledemo_of_no_one: ModuleNotFoundError", left_out)
        self.assertIn("os;evil: not a module name", left_out)
        self.assertNotIn("wave", left_out)
        child = zygote.fork()
        self.addCleanup(child.close)
        child.code("import sys\nreturn ['wave' in sys.modules, 'zygote' in sys.modules]")
        self.assertEqual(child.result()["result"], [True, False])


if __name__ == "__main__":
    unittest.main()
