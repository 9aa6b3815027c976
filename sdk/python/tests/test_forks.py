"""Processes that a run forks: they print and compute, and nothing of them reaches the run's socket."""

from __future__ import annotations

import unittest
from typing import Any

from .cases import RunCase

FORKS = '''
import asyncio, concurrent.futures, logging, multiprocessing, os, signal, sys
from bifrost import context, files


def work(n):
    print("working", n)
    logging.error("failed %d", n)
    context.progress(0.5)
    sys.stdout.write("no end")
    try:
        files.exists("x")
    except RuntimeError as error:
        return [n, "files.exists works only in the run's own process" in str(error), signal.getsignal(15) is signal.SIG_DFL]


def pool():
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        return pool.map(work, range(4))


async def executor():
    print("unfinished", end="")
    fork = multiprocessing.get_context("fork")
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(2, fork) as pool:
        done = await asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(4)))
    return [done, bool(files.exists("x"))]


def terminated():
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    child.terminate()
    child.join(10)
    return child.exitcode


def left():
    global pool
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    return pool.submit(work, 1).result()


def forked(how):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if how == "raises":
        raise ValueError("in the fork")
    if how == "exits":
        sys.exit(7)
    print("in the fork")
    return "a second result"


async def forked_async(how):
    return forked(how)
'''


class Forks(RunCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folders.write("forks.py", FORKS)

    def run_fork(self, function: str, parameters: dict[str, Any] | None = None, **more: Any) -> tuple[Any, Any]:
        result, child = self.run_file(function, parameters, path="forks.py", **more)
        self.assertEqual(result["status"], "Success", result)
        self.assertEqual(child.progress, [])
        self.assertEqual(child.exited()["code"], 0)
        return result["result"], child

    def test_a_pool(self) -> None:
        result, child = self.run_fork("pool")
        self.assertEqual(result, [[n, True, True] for n in range(4)])
        # Two processes share the pipe: an end of line of one may follow the words of the other, but no word is lost.
        printed = "\n".join(child.messages("INFO"))
        for n in range(4):
            self.assertIn(f"working {n}", printed)
        self.assertEqual(sorted(child.messages("ERROR")), [f"failed {n}" for n in range(4)])

    def test_an_executor_beside_a_running_loop(self) -> None:
        result, child = self.run_fork("executor", answers=lambda *_: {"ok": True})
        self.assertEqual(result, [[[n, True, True] for n in range(4)], True])
        self.assertEqual(child.messages("INFO").count("unfinished"), 1)
        self.assertEqual("\n".join(child.messages("INFO")).count("no end"), 4)

    def test_sigterm_ends_a_child_of_the_run(self) -> None:
        self.assertEqual(self.run_fork("terminated")[0], -15)

    def test_an_executor_that_was_left_open(self) -> None:
        self.assertEqual(self.run_fork("left")[0], [1, True, True])

    def test_a_function_that_returns_twice(self) -> None:
        for function in ("forked", "forked_async"):
            with self.subTest(function):
                result, child = self.run_fork(function, {"how": "returns"})
                self.assertEqual((result, child.messages("INFO")), (0, ["in the fork"]))
                self.assertEqual(self.run_fork(function, {"how": "exits"})[0], 7)
                result, child = self.run_fork(function, {"how": "raises"})
                self.assertEqual(result, 1)
                self.assertEqual(child.messages("ERROR")[-1], "ValueError: in the fork")
                self.assertIn('  File "forks.py", line 51, in forked', child.messages("ERROR"))


if __name__ == "__main__":
    unittest.main()
