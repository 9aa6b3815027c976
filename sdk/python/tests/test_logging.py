"""Logging, warnings and errors as authors set them up themselves."""

from __future__ import annotations

import unittest

from .cases import RunCase

ERRORS = '''
import asyncio, logging, threading, time, warnings


async def boom():
    raise ValueError("boom")


async def never_retrieved():
    task = asyncio.ensure_future(boom())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    import gc
    gc.collect()


def in_a_thread():
    def fails():
        raise ValueError("boom")

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()


async def logged():
    try:
        await boom()
    except ValueError:
        logging.exception("it failed", stack_info=False)
    logging.info("here", stack_info=True)


async def old():
    warnings.warn("use the new way", DeprecationWarning)
    warnings.warn_explicit("not ours", DeprecationWarning, "lib.py", 1, module="csv")


def leaves_a_thread():
    def later():
        time.sleep(0.3)
        print("the thread's last line")
        raise ValueError("boom")

    threading.Thread(target=later, name="later").start()
    return "returned"


async def leaves_a_pool():
    import concurrent.futures
    global pool
    pool = concurrent.futures.ThreadPoolExecutor(4)
    await asyncio.to_thread(print, "in the default pool")
    pool.submit(lambda: (time.sleep(0.2), print("in the own pool")))
    return "returned"


def waits_for_ever():
    threading.Thread(target=threading.Event().wait, name="stuck").start()
'''


class Logging(RunCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folders.write("errors.py", ERRORS)

    def test_the_own_set_up_keeps_levels_and_fields(self) -> None:
        ways = {
            "basicConfig": "logging.basicConfig(level=logging.INFO)",
            "force": "logging.basicConfig(level=logging.DEBUG, force=True, format='%(asctime)s %(message)s')",
            "force to stdout": "logging.basicConfig(level=logging.INFO, force=True, stream=sys.stdout)",
            "dictConfig": (
                "logging.config.dictConfig({'version': 1, 'handlers': {'c': {'class': 'logging.StreamHandler'}}, "
                "'root': {'handlers': ['c'], 'level': 'INFO'}})"
            ),
            "a handler more": "logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))",
            "one of the logger": "logging.getLogger('own').addHandler(logging.StreamHandler())",
            "two": "[logging.getLogger('own').addHandler(logging.StreamHandler(s)) for s in (sys.stdout, sys.stderr)]",
            "no propagation": "log = logging.getLogger('own'); log.addHandler(logging.StreamHandler()); log.propagate = False",
            "none at all": "logging.getLogger().handlers.clear()",
        }
        for name, way in ways.items():
            with self.subTest(name):
                source = (
                    f"import logging, logging.config, sys\n{way}\nlog = logging.getLogger('own')\n"
                    "if log.level == 0: log.setLevel(20)\n"
                    "log.warning('careful %d', 1, extra={'rows': 3})\nlog.info('plain')\n"
                )
                if name == "none at all":
                    source = source.replace("log.info('plain')\n", "")
                _, child = self.run_code(source)
                lines = [line[1:] for line in child.lines]
                wanted = [["WARNING", "careful 1", {"rows": 3}], ["INFO", "plain", None]]
                self.assertEqual(lines, wanted[: 1 if name == "none at all" else 2])

    def test_a_handler_of_another_stream_is_left_alone(self) -> None:
        source = (
            "import io, logging\nstream = io.StringIO()\nlogging.getLogger().addHandler(logging.StreamHandler(stream))\n"
            "logging.error('x')\nreturn stream.getvalue()"
        )
        result, child = self.run_code(source)
        self.assertEqual((result["result"], child.messages("ERROR")), ("x\n", ["x"]))

    def test_no_path_of_the_host_is_shown(self) -> None:
        for function in ("never_retrieved", "in_a_thread", "logged"):
            with self.subTest(function):
                _, child = self.run_file(function, path="errors.py")
                text = "\n".join(child.messages())
                self.assertNotIn(str(self.folders.root), text)
                self.assertIn('File "errors.py", line ', text)
                self.assertIn("ValueError: boom", child.messages("TRACEBACK")[0])
                self.assertNotIn("bifrost_runner", child.messages("TRACEBACK")[0])

    def test_deprecations_of_the_own_code_are_told(self) -> None:
        _, child = self.run_file("old", path="errors.py")
        self.assertEqual(child.messages("WARNING"), ["errors.py:36: DeprecationWarning: use the new way"])
        _, child = self.run_code("import warnings\nwarnings.warn('x', DeprecationWarning)")
        self.assertEqual(child.messages("WARNING"), ["<posted>:2: DeprecationWarning: x"])
        _, child = self.run_code("import warnings\nwarnings.simplefilter('ignore')\nwarnings.warn('x', DeprecationWarning)")
        self.assertEqual(child.messages("WARNING"), [])

    def test_threads_that_were_left_may_end(self) -> None:
        result, child = self.run_file("leaves_a_thread", path="errors.py")
        self.assertEqual((result["status"], result["result"]), ("Success", "returned"))
        self.assertEqual(child.messages("INFO"), ["the thread's last line"])
        self.assertIn("ValueError: boom", child.messages("TRACEBACK")[0])
        result, child = self.run_file("leaves_a_pool", path="errors.py")
        self.assertEqual(child.messages("INFO"), ["in the default pool", "in the own pool"])
        self.assertEqual(child.messages("WARNING"), [])

    def test_a_thread_that_does_not_end_is_not_waited_for_long(self) -> None:
        result, child = self.run_file("waits_for_ever", path="errors.py")
        self.assertEqual(result["status"], "Success")
        self.assertEqual(child.messages("WARNING"), ["threads that still ran 5 s after the function ended: stuck"])
        self.assertEqual(child.exited()["code"], 0)

    def test_a_cancel_ends_the_wait_for_threads(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code("import threading\nthreading.Thread(target=threading.Event().wait).start()\nprint('left')")
        child.until(lambda: bool(child.lines))
        child.send(9, {"reason": "cancelled"})
        self.assertEqual(child.result()["status"], "Success")
        self.assertEqual(child.messages("WARNING"), [])


if __name__ == "__main__":
    unittest.main()
