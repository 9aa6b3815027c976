"""Cancel and SIGTERM."""

from __future__ import annotations

import unittest
from typing import Any

from .worker import CANCEL, Child, Folders, Zygote


class Cancels(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folders = Folders()
        cls.addClassCleanup(cls.folders.remove)
        cls.folders.write(
            "w.py",
            "import asyncio, time\nfrom bifrost import context\n"
            "async def sleeps():\n"
            "    print('started')\n"
            "    try:\n"
            "        await asyncio.sleep(3600)\n"
            "    finally:\n"
            "        print('cleaned', bool(context.cancelled))\n"
            "async def spins():\n"
            "    print('started')\n"
            "    while True: pass\n"
            "def looks():\n"
            "    print('started')\n"
            "    while not context.cancelled.wait(0.01): pass\n"
            "    return 'saw it'\n"
            "def stubborn():\n"
            "    print('started')\n"
            "    while True: time.sleep(0.01)\n"
            "async def counts():\n"
            "    print('started')\n"
            "    seen = 0\n"
            "    try:\n"
            "        await asyncio.sleep(3600)\n"
            "    finally:\n"
            "        seen += 1\n"
            "async def prints():\n"
            "    while True: print('started')\n",
        )
        cls.zygote = Zygote(cls.folders)
        cls.addClassCleanup(cls.zygote.close)

    def start(self, function: str, **more: Any) -> Child:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.file("w.py", function, **more)
        child.until(lambda: bool(child.lines))
        return child

    def test_a_coroutine_is_cancelled(self) -> None:
        for reason in ("cancelled", "timeout", "shutdown"):
            child = self.start("sleeps")
            child.send(CANCEL, {"reason": reason})
            result = child.result()
            self.assertEqual((result["status"], result["error_type"]), ("Cancelled", "Cancelled"))
            self.assertEqual(child.messages("INFO"), ["started", "cleaned True"])
            self.assertEqual(child.exited()["code"], 0)

    def test_a_plain_function_sees_it(self) -> None:
        child = self.start("looks")
        child.send(CANCEL, {"reason": "cancelled"})
        result = child.result()
        self.assertEqual((result["status"], result["result"]), ("Success", "saw it"))

    def test_the_last_variables_go_ahead_of_the_result(self) -> None:
        child = self.start("counts")
        child.send(CANCEL, {"reason": "cancelled"})
        self.assertEqual(child.result()["variables"], {"seen": 1})
        self.assertEqual(child.variables[-1]["variables"], {"seen": 1})

    def test_sigterm_ends_what_does_not_listen(self) -> None:
        for function in ("spins", "stubborn", "sleeps", "prints"):
            child = self.start(function)
            child.signal(15)
            result = child.result()
            self.assertEqual(result["status"], "Cancelled", function)
            self.assertEqual(child.exited()["code"], 0)

    def test_sigterm_without_a_run(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.signal(15)
        self.assertEqual(child.exited()["code"], 143)

    def test_reuse_goes_on_after_a_cancel(self) -> None:
        child = self.start("sleeps", isolation="reuse")
        child.send(CANCEL, {"reason": "cancelled"})
        result = child.result()
        self.assertEqual((result["status"], result["recycle"]), ("Cancelled", True))
        child.code("return bool(context.cancelled)", isolation="reuse")
        self.assertIs(child.result()["result"], False)

    def test_the_own_cancellation_is_a_failure(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code("import asyncio\nraise asyncio.CancelledError")
        result = child.result()
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "CancelledError"))


if __name__ == "__main__":
    unittest.main()
