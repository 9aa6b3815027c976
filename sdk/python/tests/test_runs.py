"""Runs through a real zygote: targets, parameters, results, errors, isolation."""

from __future__ import annotations

import base64
import sys
import unittest
from typing import Any

from .cases import RunCase


class Runs(RunCase):
    def test_style_b(self) -> None:
        result, child = self.run_file(
            "style_b", {"email": "x@y.z", "color": "red", "when": "2026-03-04T05:06:07.25Z", "unknown": 1}
        )
        self.assertEqual(result["status"], "Success", result)
        self.assertEqual(
            result["result"],
            {"email": "x@y.z", "count": 2, "color": "red", "year": 2026, "who": "ada@example.com", "extra": {"unknown": 1}},
        )
        self.assertEqual((result["result_type"], result["traceback"]), ("json", None))
        exited = child.exited()
        self.assertEqual((exited["code"], exited["signal"]), (0, None))
        self.assertGreater(exited["peak_memory_bytes"], 1 << 20)
        self.assertGreater(exited["cpu_seconds"], 0)

    def test_style_a(self) -> None:
        def answers(method: str, params: dict[str, Any]) -> dict[str, Any]:
            self.assertEqual((method, params), ("files.read", {"path": "notes.txt", "location": "workspace"}))
            return {"ok": {"base64": base64.b64encode("grüß".encode()).decode()}}

        organization = {"id": "7", "name": "Contoso", "is_active": True}
        result, _ = self.run_file(
            "style_a", {"email": "x"}, answers=answers, context={"organization": organization, "startup": {"a": 1}}
        )
        self.assertEqual(
            result["result"], {"email": "x", "note": None, "text": "grüß", "org": "Contoso", "startup": {"a": 1}}
        )

    def test_a_context_known_by_its_annotation_and_extra_keywords(self) -> None:
        result, _ = self.run_file("annotated", {"a": 1, "b": 2})
        self.assertEqual(result["result"], {"who": "ada@example.com", "kwargs": {"a": 1, "b": 2}})

    def test_a_plain_function(self) -> None:
        result, _ = self.run_file("plain", {"mode": "slow"})
        self.assertEqual((result["result"], result["result_type"]), ("slowslow", "text"))
        self.assertEqual(result["variables"], {"doubled": "slowslow"})

    def test_bad_and_missing_parameters(self) -> None:
        result, _ = self.run_file("plain", {"mode": "medium"})
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "ValidationError"))
        self.assertIn("`mode`", result["error_message"])
        result, _ = self.run_file("style_b", {})
        self.assertEqual(result["error_message"], "parameter `email` is missing")

    def test_modules_of_every_kind(self) -> None:
        self.assertEqual(self.run_file("go", path="pack/part.py")[0]["result"], "pack.other")
        self.assertEqual(self.run_file("go", path="email.py")[0]["result"], "bifrost_workspace.email")
        self.assertEqual(self.run_file("go", path="with-dash.py")[0]["result"], "dash")

    def test_folders_named_like_something_installed(self) -> None:
        installed = str(self.folders.snapshots / "installed")  # where a run may read
        for path, text in (
            ("snapshots/installed/acme/__init__.py", "from . import tools\n"), ("snapshots/installed/acme/tools.py", ""),
            ("snapshots/version/acme/work.py", "async def go():\n    return 'own'\n"),
            ("snapshots/version/acme/tools.py", "async def go():\n    return 'own tools'\n"),
            ("snapshots/version/acme/wants.py", "import acme.absent\n\nasync def go(): pass\n"),
        ):  # fmt: skip
            file = self.folders.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        self.folders.write("sitecustom.py", f"import sys\nsys.path.append({installed!r})\nasync def go(): pass\n")
        wanted = {"acme/work.py": "own", "acme/tools.py": "own tools"}
        for path, value in wanted.items():
            child = self.zygote.fork()
            self.addCleanup(child.close)
            child.file("sitecustom.py", "go", isolation="reuse")
            child.result()
            child.code("import acme\nreturn acme.__file__", isolation="reuse")
            self.assertEqual(child.result()["result"], f"{installed}/acme/__init__.py")
            child.code("import sys\ndel sys.modules['acme'], sys.modules['acme.tools']", isolation="reuse")
            child.result()
            child.file(path, "go", isolation="reuse")
            self.assertEqual(child.result()["result"], value)
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.file("sitecustom.py", "go", isolation="reuse")
        child.result()
        child.file("acme/wants.py", "go", isolation="reuse")
        result = child.result()
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "ModuleNotFoundError"))
        self.assertIn("acme.absent", result["error_message"])

    def test_files_that_cannot_be_imported(self) -> None:
        result, child = self.run_file("go", path="broken.py")
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "ModuleNotFoundError"))
        self.assertEqual(result["user_message"], "An error occurred during execution")
        self.assertIn('File "broken.py", line 1', result["traceback"])
        self.assertNotIn("bifrost_runner", result["traceback"])
        self.assertEqual(child.messages("TRACEBACK"), [result["traceback"]])
        result, _ = self.run_file("go", path="syntax.py")
        self.assertEqual(result["error_type"], "SyntaxError")
        self.assertIn("line 2", result["traceback"])
        for path in ("../w.py", "absent.py", "/etc/passwd"):
            self.assertEqual(self.run_file("go", path=path)[0]["status"], "Failed")
        self.assertIn("no function `nope`", self.run_file("nope")[0]["error_message"])

    def test_refusals_of_the_platform(self) -> None:
        kinds = {"not_found": "NotFound", "not_allowed": "PermissionError", "invalid": "ValueError", "unavailable": "RuntimeError"}
        for kind, name in kinds.items():
            answer = {"error": {"kind": kind, "message": "no"}}
            result, _ = self.run_file("denied", answers=lambda *_, answer=answer: answer)
            self.assertEqual((result["error_type"], result["error_message"]), (name, "no"))

    def test_a_user_error_is_shown(self) -> None:
        result, child = self.run_file("user_error")
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "UserError"))
        self.assertEqual(result["user_message"], "The mailbox is full")
        self.assertEqual(child.messages("ERROR"), ["The mailbox is full"])
        self.assertEqual(result["variables"], {"secret": 1})

    def test_a_user_error_with_a_code_and_one_in_a_group(self) -> None:
        source = "from bifrost import UserError\nraise UserError('The mailbox is full', 'E42', mailbox='x')"
        result, _ = self.run_code(source)
        self.assertEqual((result["error_type"], result["user_message"]), ("UserError", "The mailbox is full"))
        if sys.version_info < (3, 11):
            return
        source = (
            "import asyncio\nfrom bifrost import UserError\n"
            "async def one(error):\n    raise error\n"
            "async with asyncio.TaskGroup() as group:\n"
            "    async with asyncio.TaskGroup() as inner:\n"
            "        for error in errors.split():\n            inner.create_task(one(eval(error)))\n"
        )
        result, child = self.run_code(source, {"errors": "UserError('full')"})
        self.assertEqual((result["error_type"], result["user_message"]), ("UserError", "full"))
        self.assertIn("ExceptionGroup", result["traceback"])
        result, _ = self.run_code(source, {"errors": "UserError('full') ValueError('x')"})
        self.assertEqual(result["error_type"], "ExceptionGroup")
        self.assertEqual(result["user_message"], "An error occurred during execution")

    def test_a_traceback_shows_the_authors_frames(self) -> None:
        result, _ = self.run_file("breaks")
        lines = result["traceback"].splitlines()
        self.assertIn('File "w.py"', lines[1])
        self.assertIn("helper(0)", lines[2])
        self.assertEqual(lines[-1], "ZeroDivisionError: division by zero")
        self.assertEqual(sum("File" in line for line in lines), 2)
        self.assertEqual(result["variables"], {"rows": [1, 2, 3]})

    def test_completed_with_errors(self) -> None:
        result, _ = self.run_file("not_well")
        self.assertEqual((result["status"], result["error_message"]), ("CompletedWithErrors", "two of three failed"))
        self.assertEqual(result["result"]["success"], False)

    def test_html_and_return_on_investment(self) -> None:
        result, _ = self.run_file("roi")
        self.assertEqual((result["result_type"], result["time_saved"], result["value"]), ("html", 15, 2.5))
        self.assertEqual(self.run_code("return '< 3 is not a tag'")[0]["result_type"], "text")
        self.assertEqual(self.run_code("return '<!DOCTYPE html><p>'")[0]["result_type"], "html")

    def test_sys_exit(self) -> None:
        result, child = self.run_file("exits", {"code": 0})
        self.assertEqual((result["status"], result["result"]), ("Success", None))
        self.assertIn("sys.exit", child.messages("WARNING")[0])
        result, _ = self.run_file("exits", {"code": 3})
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "SystemExit"))
        self.assertIn("sys.exit(3)", result["error_message"])

    def test_keyboard_interrupt(self) -> None:
        result, _ = self.run_file("interrupts")
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "KeyboardInterrupt"))

    def test_posted_code_is_a_body(self) -> None:
        source = "import asyncio\nawait asyncio.sleep(0)\nlogger.info('n=%d', n)\nreturn {'p': parameters, 'who': context.email}"
        result, child = self.run_code(source, {"n": 4, "not an identifier": 1, "class": 2})
        self.assertEqual(result["result"], {"p": {"n": 4, "not an identifier": 1, "class": 2}, "who": "ada@example.com"})
        self.assertEqual(child.messages("INFO"), ["n=4"])
        result, _ = self.run_code("x = 1\n\nraise ValueError('boom')")
        self.assertIn('File "<posted>", line 3', result["traceback"])
        self.assertIn("raise ValueError('boom')", result["traceback"])
        self.assertEqual(result["variables"], {"x": 1})
        self.assertEqual(self.run_code("from math import *\nreturn sqrt(16)")[0]["result"], 4.0)
        self.assertEqual(self.run_code("")[0]["status"], "Success")
        self.assertEqual(self.run_code("x = (")[0]["error_type"], "SyntaxError")
        self.assertIn("yield", self.run_code("yield 1")[0]["error_message"])
        self.assertEqual(self.run_code("from pack import other\nreturn other.VALUE")[0]["result"], "pack.other")

    def test_posted_code_with_a_decorated_function(self) -> None:
        source = "from bifrost import workflow\nK = 2\n@workflow\nasync def main(n: int):\n    return n * K\n"
        self.assertEqual(self.run_code(source, {"n": "21"})[0]["result"], 42)

    def test_the_context_counts_attempts(self) -> None:
        for attempt in (1, 3):
            for isolation in ("fork", "reuse"):
                result, _ = self.run_code("return context.attempt", attempt=attempt, isolation=isolation)
                self.assertEqual(result["result"], attempt)

    def test_memory_and_file_limits(self) -> None:
        result, _ = self.run_code("x = bytearray(1 << 30)", rlimits={"memory_bytes": 300 << 20})
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "MemoryError"))
        result, _ = self.run_code(
            "with open('big', 'wb') as f:\n    f.write(b'x' * 100_000)", rlimits={"file_size_bytes": 1000}
        )
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "OSError"))
        result, _ = self.run_code("files = [open('/dev/null') for _ in range(100)]", rlimits={"open_files": 50})
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "OSError"))

    def test_reuse_keeps_nothing_of_the_run_before(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        source = (
            "import asyncio, logging, sys\n"
            "seen = getattr(context, 'left', None)\n"
            "context.left = n\n"
            "context.set_variable('v' + str(n), n)\n"
            "print('secret-value', n)\n"
            "logging.getLogger().handlers.clear()\n"
            "logging.getLogger().setLevel(50)\n"
            "asyncio.ensure_future(asyncio.sleep(3600))\n"
            "return {'seen': seen, 'n': n}"
        )
        for n in range(5):
            child.lines.clear()
            child.code(source, {"n": n}, isolation="reuse", masked=["secret-value"] if n == 0 else [])
            result = child.result()
            self.assertEqual(result["result"], {"seen": None, "n": n}, child.lines)
            self.assertFalse(result["recycle"])
            self.assertEqual([name for name in result["variables"] if name.startswith("v")], [f"v{n}"])
            self.assertEqual(child.messages("INFO"), [f"{'***' if n == 0 else 'secret-value'} {n}"])
        child.code("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", isolation="reuse")
        self.assertTrue(child.result()["recycle"])
        child.code("import subprocess\nsubprocess.Popen(['sleep', '60'])", isolation="reuse")
        self.assertTrue(child.result()["recycle"])

    def test_reuse_gives_each_run_a_process_as_it_was(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        source = (
            "import io, logging, os, signal, sys, tempfile, warnings\n"
            "warnings.warn('careful')\n"
            "logger.info('said')\n"
            "logging.getLogger('w').info('of the module')\n"
            "print('printed')\n"
            "seen = [os.getcwd() == os.environ['TMPDIR'], os.listdir(), 'LEFT' in os.environ, os.environ.get('LANG'),\n"
            "        os.umask(0), tempfile.gettempdir() == os.environ['TMPDIR']]\n"
            "os.makedirs('folder/below')\n"
            "open('file', 'w').close()\n"
            "os.symlink('/', 'link')\n"
            "os.environ['LEFT'] = '1'\n"
            "os.environ.pop('LANG', None)\n"
            "os.chdir('/')\n"
            "tempfile.tempdir = '/'\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "sys.stdout, sys.stderr = io.StringIO(), None\n"
            "logging.disable(logging.CRITICAL)\n"
            "logging.getLogger('w').disabled = True\n"
            "return seen"
        )
        for n in range(3):
            child.lines.clear()
            child.code(source, isolation="reuse")
            result = child.result()
            self.assertFalse(result["recycle"])
            self.assertEqual(result["result"], [True, [], False, "C.UTF-8", 0o077, True], n)
            self.assertEqual(child.messages("WARNING"), ["<posted>:2: UserWarning: careful"], n)
            self.assertEqual(child.messages("INFO"), ["said", "of the module", "printed"], n)
        child.code("import asyncio\nprint('started')\nawait asyncio.sleep(3600)", isolation="reuse")
        child.lines.clear()
        child.until(lambda: bool(child.lines))
        child.signal(15)
        self.assertEqual(child.result()["status"], "Cancelled")

    def test_reuse_is_not_gone_on_with_where_the_folder_cannot_be_emptied(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.code("import os, shutil\nos.chdir('/')\nshutil.rmtree(os.environ['TMPDIR'], ignore_errors=True)", isolation="reuse")
        self.assertEqual(child.result()["status"], "Success")
        child.code("import os\nreturn os.path.isdir(os.environ['TMPDIR'])", isolation="reuse")
        result = child.result()
        self.assertTrue(result["result"] or result["recycle"], result)

    def test_reuse_with_several_calls_waiting(self) -> None:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        for n in range(50):
            child.code("return n", {"n": n}, isolation="reuse")
        self.assertEqual([child.result()["result"] for _ in range(50)], list(range(50)))

    def test_threads_see_the_context_and_the_modules(self) -> None:
        source = (
            "import threading, bifrost\nseen = []\n"
            "t = threading.Thread(target=lambda: seen.append(bifrost.context.email))\nt.start()\nt.join()\nreturn seen"
        )
        self.assertEqual(self.run_code(source)[0]["result"], ["ada@example.com"])


if __name__ == "__main__":
    unittest.main()
