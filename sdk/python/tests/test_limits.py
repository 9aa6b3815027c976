"""Limits of a run, as its author meets them: an error that names the limit, or an end with the reason beside it."""

from __future__ import annotations

import importlib
import os
import sys
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from .worker import RUNNER, Child, Folders, Zygote

MIB = 1 << 20
SHARED = "import mmap\nkept = []\nfor _ in range(64):\n    part = mmap.mmap(-1, 4 << 20)\n    part.write(b'x' * (4 << 20))\n    kept.append(part)\nimport time\ntime.sleep(60)"
FAMILY = "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        data = bytearray({size} << 20)\n        time.sleep(60)\ntime.sleep({stay})\nreturn 'done'"


class Limits(unittest.TestCase):
    def setUp(self) -> None:
        self.folders = Folders()
        self.addCleanup(self.folders.remove)
        self.zygote = Zygote(self.folders)
        self.addCleanup(self.zygote.close)

    def begin(self, source: str, **limits: int) -> Child:
        child = self.zygote.fork({"memory_bytes": 256 * MIB, "processes": 64, **limits})
        self.addCleanup(child.close)
        child.code(source)
        return child

    def end(self, source: str, **limits: int) -> dict[str, Any]:
        return self.begin(source, **limits).result()

    def over(self, source: str, **limits: int) -> str | None:
        child = self.begin(source, **limits)
        child.drain()
        return child.exited()["over"]

    def test_a_limit_that_is_reached_is_named(self) -> None:
        cases = (
            ("data = bytearray(100 << 30)", "MemoryError", "96 MiB (RUN_MEMORY_MB)"),
            ("data = []\nwhile True: data.append(bytearray(1 << 20))", "MemoryError", "96 MiB (RUN_MEMORY_MB)"),
            ("data = []\nwhile True: data.append(str(len(data)) * 9)", "MemoryError", "96 MiB (RUN_MEMORY_MB)"),
            ("return [str(number) * 10 for number in range(420_000)]", "MemoryError", "96 MiB (RUN_MEMORY_MB)"),
            ("data = [open('/dev/null') for _ in range(100)]", "OSError", "64 open files (RUN_OPEN_FILES)"),
            ("file = open('x', 'wb')\nwhile True: file.write(bytes(1 << 20))", "OSError", "a file of a run may have 4 MiB"),
        )
        for source, kind, text in cases:
            result = self.end(source, memory_bytes=96 * MIB, open_files=64, file_size_bytes=4 * MIB)
            self.assertEqual((result["status"], result["error_type"]), ("Failed", kind), result)
            self.assertIn(text, result["error_message"])
            if "cannot be made JSON" not in result["error_message"]:
                self.assertIn(text, result["user_message"], "whoever started it may read it, too")

    def test_the_same_errors_for_other_reasons_are_left_as_they_are(self) -> None:
        cases = (
            ("import socket\na, b = socket.socketpair()\na.setblocking(False)\na.recv(1)", "Resource temporarily unavailable"),
            ("raise OSError(22, 'Invalid argument')", "Invalid argument"),
            ("raise RuntimeError('out of luck')", "out of luck"),
        )
        for source, text in cases:
            result = self.end(source)
            self.assertIn(text, result["error_message"])
            self.assertNotIn("limit", result["error_message"])
            self.assertNotIn("limit", result["user_message"])

    def test_memory_that_was_missed_can_be_used_again(self) -> None:
        result = self.end(
            "data = []\ntry:\n    while True: data.append(bytearray(1 << 16))\nexcept MemoryError: data = None\nreturn 'went on'"
        )
        self.assertEqual((result["status"], result["result"]), ("Success", "went on"))

    def test_processes_of_a_run_that_shares_its_user(self) -> None:
        bomb = "import os, time\nfor _ in range(100):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)"
        self.assertEqual(self.over(bomb, processes=20), "processes")
        # Each in a session of its own, and without a parent that lives.
        daemons = (
            "import os, time\nfor _ in range(100):\n    if os.fork() == 0:\n        os.setsid()\n"
            "        if os.fork() == 0: time.sleep(60)\n        os._exit(0)\ntime.sleep(1.5)\nreturn 'done'"
        )
        child = self.begin(daemons, processes=20)
        child.drain()
        child.exited()
        left = [name for name in os.listdir("/proc") if name.isdigit() and self.is_ours(name)]
        self.assertEqual(left, [])
        self.assertEqual(self.end("return 1")["result"], 1)

    def test_a_family_that_grows_without_end_is_soon_looked_at(self) -> None:
        # Each in a session of its own: where the scheduler groups by session, all of them together outweigh the zygote.
        bomb = (
            "import os, time\nend = time.monotonic() + 20\nwhile time.monotonic() < end:\n    try:\n"
            "        if os.fork() == 0: os.setsid()\n    except OSError: pass\ntime.sleep(60)"
        )
        child = self.begin(bomb, processes=20)
        child.drain()
        began = time.monotonic()
        self.assertEqual(child.exited()["over"], "processes")
        self.assertLess(time.monotonic() - began, 10, "a worker's lease")
        self.assertEqual(self.end("return 1")["result"], 1)

    def test_a_namespace_has_a_bound_of_its_own(self) -> None:
        if self.zygote.ready["walls"]["mount_namespace"] is not True:
            self.assertGreater(len(self.zygote.ready["walls"]["mount_namespace"]), 0)
            return
        numbers = [int(number) for number in os.uname().release.split("-")[0].split(".")[:2]]
        file = Path("/proc/sys/kernel/pid_max")
        machines = int(file.read_text(encoding="ascii"))
        own = int(self.end(f"return open('{file}').read()", processes=20)["result"])
        # Before Linux 6.14 the file is the machine's, in every namespace.
        self.assertEqual(own, 320 if numbers >= [6, 14] and os.geteuid() == 0 else machines)
        self.assertEqual(int(file.read_text(encoding="ascii")), machines, "the machine's stays")

    def test_the_zygote_is_scheduled_as_others_again_and_so_are_its_runs(self) -> None:
        crowd = (
            "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        time.sleep(1)\n        os._exit(0)\n"
            "time.sleep(1)\nreturn os.sched_getscheduler(0)"
        )
        self.assertEqual(self.end(crowd)["result"], os.SCHED_OTHER)
        end = time.monotonic() + 5
        while os.sched_getscheduler(self.zygote.process.pid) != os.SCHED_OTHER:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def is_ours(self, pid: str) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/cwd").startswith(str(self.folders.root / "temp"))
        except OSError:
            return False

    def test_memory_that_no_limit_of_the_kernel_counts(self) -> None:
        self.assertEqual(self.over(SHARED, memory_bytes=64 * MIB), "memory")

    def test_memory_of_all_processes_together(self) -> None:
        child = self.begin(FAMILY.format(size=100, stay=60), memory_bytes=150 * MIB)
        if self.zygote.ready["walls"]["memory_sum"] is True:
            child.drain()
            self.assertEqual(child.exited()["over"], "memory")
        else:
            self.assertGreater(len(self.zygote.ready["walls"]["memory_sum"]), 0)

    def test_what_forked_processes_share_counts_once(self) -> None:
        source = "data = bytearray(100 << 20)\n" + FAMILY.format(size=1, stay=1.2)
        self.assertEqual(self.end(source, memory_bytes=150 * MIB)["result"], "done")

    def test_runs_go_first_when_the_machine_has_no_memory_left(self) -> None:
        self.assertEqual(self.end("return open('/proc/self/oom_score_adj').read().strip()")["result"], "1000")


class Shares(unittest.TestCase):
    """What four processes share, on machines where others begin processes."""

    watch: Any

    @classmethod
    def setUpClass(cls) -> None:
        # It is the zygote's, which finds it beside itself.
        with mock.patch.object(sys, "path", [str(RUNNER), *sys.path]):
            cls.watch = importlib.import_module("bifrost_runner.watch")

    def read(self, counts: list[int], fewest: int) -> bool:
        watch = self.watch
        crowd = watch.Crowd()
        crowd.fewest = fewest
        with (
            mock.patch.object(crowd, "count", side_effect=counts),
            mock.patch.object(watch, "_held", return_value=100),
            mock.patch.object(watch, "_share", return_value=10),
        ):
            return watch.uses_more([1, 2, 3, 4], 35, crowd)

    def test_a_machine_that_has_grown_long_ago_is_no_reason_to_stop(self) -> None:
        self.assertTrue(self.read([500] * 5, fewest=100))

    def test_one_that_grows_just_now_is(self) -> None:
        self.assertFalse(self.read([500, 500 + self.watch.MANY], fewest=500))


if __name__ == "__main__":
    unittest.main()
