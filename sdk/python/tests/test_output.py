"""What leaves a run: lines, variables, results, and what is hidden in them."""

from __future__ import annotations

import json
import unittest
from typing import Any

from .cases import RunCase


class Output(RunCase):
    def test_settings_masks_and_errors_over_the_socket(self) -> None:
        def answers(method: str, params: dict[str, Any]) -> dict[str, Any]:
            self.assertEqual(method, "config.get")
            if params["key"] == "endpoint":
                return {"ok": {"found": True, "value": {"url": "https://x"}}}
            if params["key"] == "token":
                return {"ok": {"found": True, "value": "s3cret-token"}, "mask": ["s3cret-token"]}
            return {"ok": {"found": False, "value": None}}

        result, child = self.run_file("reads_settings", answers=answers, masked=["https://x"])
        self.assertEqual(
            result["result"], {"first": "***", "missing": "'absent'", "both": [None, None], "token": "***"}
        )
        self.assertEqual(result["variables"]["copy"], "***")
        self.assertEqual(child.messages("INFO"), ["the token is ***"])
        self.assertEqual([line[2:] for line in child.lines if line[1] == "WARNING"], [["again ***", {"field": "***"}]])
        self.assertEqual(child.progress, [{"fraction": 0.5, "message": "with ***"}])

    def test_every_way_to_log(self) -> None:
        result, child = self.run_file("logs")
        self.assertEqual(result["status"], "Success", result)
        lines = [(line[1], line[2], line[3]) for line in child.lines]
        self.assertEqual(lines[:2], [("INFO", "one", None), ("INFO", "two", None)])
        for line in (
            ("ERROR", "err", None),
            ("INFO", "info 1", {"rows": 3}),
            ("DEBUG", "debug", None),
            ("ERROR", "failed", None),
            ("ERROR", "by context", {"a": 1}),
            ("INFO", "no endbytes ü", None),
        ):
            self.assertIn(line, lines)
        self.assertTrue(any(level == "TRACEBACK" and "ZeroDivisionError" in text for level, text, _ in lines))
        self.assertTrue(any(level == "WARNING" and text.startswith("w.py:") and "careful" in text for level, text, _ in lines))
        times = [line[0] for line in child.lines]
        self.assertGreater(min(times), 1_600_000_000_000_000)

    def test_os_exit_keeps_the_lines(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.file("w.py", "vanishes")
        child.drain()
        self.assertEqual(child.messages(), ["last words"])
        self.assertEqual(child.exited()["code"], 3)

    def test_variables_are_sampled_and_bounded(self) -> None:
        result, child = self.run_file("variables", masked=["hunter2-hunter2"])
        self.assertGreaterEqual(len(child.variables), 1)
        self.assertEqual([frame["version"] for frame in child.variables], list(range(1, len(child.variables) + 1)))
        first, last = child.variables[-1]["variables"], result["variables"]
        self.assertEqual(set(first), {"rows", "text", "password", "nested"})
        self.assertEqual(set(last), {"rows", "text", "password", "nested", "later"})
        self.assertEqual((last["password"], last["later"]), ("***", "red"))
        self.assertEqual(len(last["rows"]), 101)
        self.assertLess(len(last["text"]), 5000)
        result, child = self.run_file("variables", limits={"variables_bytes": 300})
        self.assertEqual(set(result["variables"]), {"password", "nested", "later"})
        self.assertEqual(len([m for m in child.messages("WARNING") if "variables larger" in m]), 1)

    def test_what_subprocesses_print(self) -> None:
        result, child = self.run_file("subprocesses")
        self.assertEqual(result["result"], 0)
        self.assertEqual(child.messages("INFO"), ["from sh", "unfinishedraw"])
        self.assertEqual(child.messages("ERROR"), ["to err"])

    def test_what_files_give_is_plain_json(self) -> None:
        source = (
            "from bifrost import config, files\n"
            "there, gone, done = files.exists('a', 'temp'), files.exists('b', 'temp'), files.write('a', 'x', 'temp')\n"
            "logger.info('x', extra={'there': there, 'done': done})\n"
            "await config.set('k', {'there': there, 'done': done})\n"
            "return {'there': there, 'done': done, 'list': [files.exists('a', 'temp')], gone: 1}"
        )
        asked: list[Any] = []
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.answers = lambda method, params: asked.append(params["value"]) or {"ok": None}  # type: ignore[func-returns-value]
        child.code(source)
        result = child.result()
        self.assertEqual(result["result"], {"there": False, "done": None, "list": [True], "false": 1})
        self.assertEqual(asked, [{"there": False, "done": None}])
        self.assertEqual(child.lines[0][3], {"there": False, "done": None})
        self.assertEqual(result["variables"], {"there": False, "gone": False, "done": None})
        self.assertEqual(child.messages("WARNING"), [])

    def test_a_look_at_the_variables_is_bounded(self) -> None:
        source = (
            "import time\n"
            "wide = [[[[list(range(100))] * 100] * 100] * 100] * 100\n"
            "long = ['hunter2-hunter2 ' * 1_000_000] * 100\n"
            "small = 1\n"
            "began = time.thread_time()\n"
            "time.sleep(1.5)\n"
        )
        result, child = self.run_code(source, masked=["hunter2-hunter2"])
        self.assertEqual(result["variables"]["small"], 1)
        self.assertIn("more", str(result["variables"]["wide"]))
        self.assertLess(len(json.dumps(result["variables"])), 262144)
        self.assertGreaterEqual(len(child.variables), 1)
        self.assertNotIn("hunter2", json.dumps([result["variables"], child.variables]))

    def test_replies_come_beside_a_look_that_takes_long(self) -> None:
        source = (
            "import asyncio, time\n"
            "from bifrost import config\n"
            "class Slow(dict):\n"
            "    def items(self):\n"
            "        looks.append(time.monotonic())\n"
            "        time.sleep(0.1)\n"
            "        return super().items()\n"
            "looks = []\n"
            "slow = Slow(a=1)\n"
            "end = time.monotonic() + 3\n"
            "while time.monotonic() < end:\n"
            "    await config.get('x')\n"
            "    await asyncio.sleep(0.01)\n"
            "return len(looks)"
        )
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.answers = lambda *_: {"ok": {"found": False, "value": None}}
        child.code(source)
        # Every 0.25 s would be eleven; each took 0.1 s, so the next comes 2 s later.
        self.assertIn(child.result()["result"], (1, 2))

    def test_results_that_are_not_json(self) -> None:
        result, child = self.run_code("import datetime\nreturn {'a': float('nan'), 'b': 'x\\0y', 'c': '\\ud800', 'd': {1}}")
        self.assertEqual(result["result"], {"a": None, "b": "x\ufffdy", "c": "\ufffd", "d": [1]})
        warnings = child.messages("WARNING")
        self.assertEqual(len(warnings), 1)
        for path in ("result.a", "result.b", "result.c"):
            self.assertIn(path, warnings[0])
        result, _ = self.run_code("x = []\nx.append(x)\nreturn x")
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "ResultNotSerializable"))
        result, _ = self.run_code("return 'x' * 2000", limits={"result_bytes": 1000})
        self.assertEqual((result["status"], result["error_type"], result["result"]), ("Failed", "ResultTooLarge", None))

    def test_unfit_text_in_lines(self) -> None:
        result, child = self.run_code("print('a\\0b')\nprint('c\\ud800d')\nlogger.info('x', extra={'k\\0': float('inf')})")
        self.assertEqual(result["status"], "Success")
        self.assertEqual(child.messages("INFO"), ["a\ufffdb", "c\ufffdd", "x"])
        self.assertEqual(len(child.messages("WARNING")), 1)
        self.assertEqual(child.lines[-1][3], {"k\ufffd": None})

    def test_two_hundred_thousand_lines(self) -> None:
        _, child = self.run_code("for i in range(200_000): print('line', i)")
        self.assertEqual(len(child.lines), 200_000)
        self.assertEqual(child.lines[-1][2], "line 199999")
        self.assertEqual([line[2] for line in child.lines[:3]], ["line 0", "line 1", "line 2"])

    def test_one_line_of_ten_megabytes(self) -> None:
        for source in (
            "print('ü' * 5_000_000)",
            "import sys\nfor _ in range(100): sys.stdout.write('ü' * 50_000)\nprint()",
            "logger.info('ü' * 5_000_000)",
            "import os, sys\nos.system(f\"{sys.executable} -c \\\"print('ü' * 5_000_000)\\\"\")",
        ):
            result, child = self.run_code(source)
            self.assertEqual(result["status"], "Success", result)
            self.assertEqual(len(child.lines), 1, source)
            message = child.lines[0][2]
            kept, _, said = message.partition("… ")
            self.assertEqual(said, f"[line cut: {10_000_000 - len(kept.encode())} bytes]", source)
            self.assertLessEqual(len(message.encode()), 32768)
            self.assertEqual(set(kept), {"ü"})

    def test_a_secret_at_the_cut_is_hidden(self) -> None:
        source = "import sys\nfor _ in range(2000): sys.stdout.write('hunter2-hunter2 ' * 10)\nprint()"
        _, child = self.run_code(source, masked=["hunter2-hunter2"])
        self.assertEqual(len(child.lines), 1)
        self.assertNotIn("hunt", child.lines[0][2])

    def test_an_error_in_a_thread_reaches_the_log(self) -> None:
        source = "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()"
        result, child = self.run_code(source)
        self.assertEqual(result["status"], "Success")
        self.assertIn("ZeroDivisionError", child.messages("TRACEBACK")[0])


if __name__ == "__main__":
    unittest.main()
