"""The inspector, as the worker talks to it: a process, frames, no user code run."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from .worker import RUNNER

GOOD = '''"""Module."""
import csv
import os.path
from datetime import datetime
from enum import Enum
from typing import Annotated, Literal, Optional, Union

import requests
from bifrost import data_provider, param, tool, workflow

MINUTES = 60
NAME = "licence" + "_report"


class Plan(str, Enum):
    BASIC = "basic"
    FULL = "full"


@workflow
async def onboard(
    email: str,
    seats: int,
    plan: Plan = Plan.BASIC,
    size: Literal["s", "m"] = "s",
    ratio: float = 0.5,
    notify: bool = True,
    groups: list[str] = [],
    extra: dict = {},
    start: datetime | None = None,
    manager: Optional[str] = None,
    either: Union[int, None] = 3,
    noted: Annotated[int, "x"] = 1,
    untyped=None,
    quoted: "int" = 4,
    computed: str = os.path.sep,
    **rest,
):
    """Sets a user up.

    Args:
        email: Where the letter goes.
        seats (int): How many.
    """


@param("month", "string", label="Month", required=True, help_text="YYYY-MM", validation={"pattern": "x"})
@workflow(NAME, "Lists licences", category="Reports", timeout_seconds=5 * MINUTES, tags=["a"],
          retry_policy={"max_attempts": 3, "backoff": "exponential"}, schedule="0 6 * * *", endpoint_enabled=True,
          allowed_methods=["get"], execution_mode="sync", time_saved=15, isolation="reuse")
@param("plan", type="string", data_provider="plans", default_value="all")
def report(context, month, plan, rest: int):
    pass


@data_provider(name="plans", cache_ttl_seconds=60)
def list_plans():
    """Plans."""


@tool(tool_description="Looks things up")
async def look(q: str): ...


def helper(): ...
'''


class Process(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.process = subprocess.Popen(
            [sys.executable, "-I", str(RUNNER / "inspector.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @classmethod
    def tearDownClass(cls) -> None:
        assert cls.process.stdin and cls.process.stdout
        cls.process.stdin.close()
        code = cls.process.wait(10)
        cls.process.stdout.close()
        assert code == 0, code

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="bifrost-test-")
        self.addCleanup(folder.cleanup)
        self.root = Path(os.path.realpath(folder.name)) / "workspace"
        self.root.mkdir()
        self.target = Path(folder.name) / "snapshots"
        self.addCleanup(self.unlock)

    def unlock(self) -> None:
        for path, _, _ in os.walk(self.target):
            os.chmod(path, 0o700)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        data = json.dumps(request).encode()
        self.process.stdin.write(struct.pack(">I", len(data)) + data)
        self.process.stdin.flush()
        (length,) = struct.unpack(">I", self.process.stdout.read(4))
        return json.loads(self.process.stdout.read(length))

    def inspect(self, source: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        reply = self.ask(op="inspect", path="a.py", source=source)
        return {item["name"]: item for item in reply["definitions"]}, reply["issues"]

    def problems(self, body: str) -> list[tuple[int, str, str]]:
        _, issues = self.inspect("from bifrost import workflow, param, data_provider, tool\n" + body)
        return [(issue["line"], issue["severity"], issue["message"]) for issue in issues]

    def write(self, path: str, content: str | bytes = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def test_definitions(self) -> None:
        found, issues = self.inspect(GOOD)
        self.assertEqual(issues, [])
        self.assertEqual(set(found), {"onboard", "licence_report", "plans", "look"})
        onboard = found["onboard"]
        self.assertEqual((onboard["kind"], onboard["function"], onboard["is_async"]), ("workflow", "onboard", True))
        self.assertEqual((onboard["description"], onboard["accepts_extra"]), ("Sets a user up.", True))
        self.assertEqual(GOOD.splitlines()[onboard["line"] - 1], "@workflow")
        shape = {p["name"]: (p["type"], p["required"], p["default_value"]) for p in onboard["parameters"]}
        self.assertEqual(
            shape,
            {
                "email": ("string", True, None), "seats": ("int", True, None), "plan": ("string", False, "basic"),
                "size": ("string", False, "s"), "ratio": ("float", False, 0.5), "notify": ("bool", False, True),
                "groups": ("list", False, []), "extra": ("json", False, {}), "start": ("datetime", False, None),
                "manager": ("string", False, None), "either": ("int", False, 3), "noted": ("int", False, 1),
                "untyped": ("string", False, None), "quoted": ("int", False, 4), "computed": ("string", False, None),
            },
        )  # fmt: skip
        by_name = {p["name"]: p for p in onboard["parameters"]}
        self.assertEqual(
            by_name["plan"]["options"], [{"label": "Basic", "value": "basic"}, {"label": "Full", "value": "full"}]
        )
        self.assertEqual([o["value"] for o in by_name["size"]["options"]], ["s", "m"])
        self.assertEqual((by_name["email"]["label"], by_name["email"]["description"]), ("Email", "Where the letter goes."))
        self.assertEqual(by_name["seats"]["description"], "How many.")

    def test_decorator_options_and_params(self) -> None:
        found, _ = self.inspect(GOOD)
        report = found["licence_report"]
        self.assertEqual((report["description"], report["category"], report["timeout_seconds"]), ("Lists licences", "Reports", 300))
        self.assertEqual(report["retry_policy"], {"max_attempts": 3, "backoff": "exponential"})
        self.assertEqual((report["allowed_methods"], report["execution_mode"]), (["GET"], "sync"))
        self.assertEqual((report["time_saved"], report["isolation"], report["schedule"]), (15, "reuse", "0 6 * * *"))
        self.assertEqual([p["name"] for p in report["parameters"]], ["month", "plan", "rest"])
        month, plan, rest = report["parameters"]
        self.assertEqual((month["required"], month["help_text"], month["validation"]), (True, "YYYY-MM", {"pattern": "x"}))
        self.assertEqual((plan["required"], plan["data_provider"], plan["default_value"]), (False, "plans", "all"))
        self.assertEqual((rest["type"], rest["required"]), ("int", True))
        self.assertEqual((found["plans"]["kind"], found["plans"]["cache_ttl_seconds"]), ("data_provider", 60))
        self.assertEqual((found["look"]["kind"], found["look"]["is_tool"]), ("tool", True))

    def test_names_of_the_package(self) -> None:
        found, _ = self.inspect(
            "import bifrost as b\nfrom bifrost import workflow as wf\nfrom other import workflow\n"
            "@b.workflow\ndef one(): ...\n@wf(name='two')\ndef x(): ...\n@workflow\ndef three(): ...\n"
        )
        self.assertEqual(set(found), {"one", "two"})

    def test_syntax_errors_have_lines(self) -> None:
        self.assertEqual(self.problems("\ndef f(:\n  pass\n")[0][:2], (3, "error"))
        self.assertIn("return", self.problems("return 1\n")[0][2])

    def test_issues(self) -> None:
        cases = [
            ("@workflow(colour='red')\ndef f(): ...", 2, "warning", "`colour`"),
            ("@workflow(timeout_seconds=0)\ndef f(): ...", 2, "error", "1 to 86400"),
            ("@workflow(timeout_seconds=86401)\ndef f(): ...", 2, "error", "1 to 86400"),
            ("import os\n@workflow(name=os.name)\ndef f(): ...", 3, "error", "not a literal"),
            ("import os\n@workflow(\n  description=os.name)\ndef f(): ...", 4, "warning", "not a literal"),
            ("@workflow(name='a/b')\ndef f(): ...", 2, "error", "not valid"),
            ("@workflow(name='  ')\ndef f(): ...", 2, "error", "not empty"),
            ("@workflow(name='x' * 3)\ndef f(): ...", 2, "error", "not a literal"),
            ("@workflow(execution_mode='later')\ndef f(): ...", 2, "error", "execution_mode"),
            ("@workflow(tags='a')\ndef f(): ...", 2, "error", "tags"),
            ("@workflow(retry_policy={'max_attempts': 0})\ndef f(): ...", 2, "error", "max_attempts"),
            ("@workflow(retry_policy={'backof': 'fixed'})\ndef f(): ...", 2, "warning", "backof"),
            ("@workflow(**{})\ndef f(): ...", 2, "error", "`**`"),
            ("@workflow\n@param('a', 'strin')\ndef f(a): ...", 3, "error", "strin"),
            ("@workflow\n@param('a')\ndef f(): ...", 3, "warning", "no argument `a`"),
            ("@workflow\n@param('a')\n@param('a')\ndef f(a): ...", 4, "error", "twice"),
            ("@param('a')\ndef f(a): ...", 2, "warning", "without @workflow"),
            ("@workflow\n@tool\ndef f(): ...", 3, "error", "more than one"),
            ("@workflow\ndef f(): ...\n@workflow(name='f')\ndef g(): ...", 4, "error", "line 2 already"),
            ("@workflow\ndef f(): ...\n@workflow(name='g')\ndef f(): ...", 3, "error", "defined again"),
            ("x = 1 is 1", 2, "warning", "literal"),
        ]
        for body, line, severity, text in cases:
            with self.subTest(body):
                found = self.problems(body)
                self.assertEqual(len(found), 1, found)
                self.assertEqual(found[0][:2], (line, severity), found)
                self.assertIn(text, found[0][2])

    def test_a_definition_with_an_error_is_not_used_and_others_are(self) -> None:
        found, _ = self.inspect(
            "from bifrost import workflow\n@workflow(timeout_seconds=-1)\ndef bad(): ...\n@workflow\ndef good(): ...\n"
        )
        self.assertEqual(set(found), {"good"})

    def test_odd_source_is_an_issue_and_nothing_worse(self) -> None:
        deep = ["1+" * 100_000 + "1", "-" * 100_000 + "1", "a" + ".b" * 100_000, "a" + "()" * 50_000, "(" * 10_000]
        for source in [*deep, "a\0b", "x = '\ud800'"]:
            for op in ("inspect", "check_code"):
                issues = self.ask(op=op, path="a.py", source=source)["issues"]
                self.assertEqual([i["severity"] for i in issues], ["error"], source[:10])
        issues = self.ask(op="inspect", path="a.py", source="#" * (1024 * 1024 + 1))["issues"]
        self.assertIn("1 MiB", issues[0]["message"])

    def test_check_code(self) -> None:
        self.assertEqual(self.ask(op="check_code", source="await x()\nreturn 1"), {"issues": [], "has_workflow": False})
        code = "from bifrost import workflow\n@workflow\ndef f(): ..."
        self.assertEqual(self.ask(op="check_code", source=code), {"issues": [], "has_workflow": True})
        issue = self.ask(op="check_code", source="x = 1\ny = (")["issues"][0]
        self.assertEqual((issue["line"], issue["severity"]), (2, "error"))

    def test_requests_that_are_wrong_get_an_answer(self) -> None:
        self.assertIn("unknown op", self.ask(op="dance")["error"])
        self.assertIn("KeyError", self.ask(op="inspect")["error"])
        self.assertIn("no folder", self.ask(op="scan", root=str(self.root / "absent"))["error"])

    def test_scan(self) -> None:
        self.write("a.py", GOOD)
        self.write("sub/b.py", "from bifrost import workflow\n@workflow\ndef onboard(): ...\n@workflow\ndef own(): ...\n")
        self.write("latin.py", "# ok\nx = 'ü'\n".encode("latin-1"))
        self.write("big.py", "#" * (1024 * 1024 + 1))
        self.write("broken.py", "def f(:\n")
        for ignored in (".git/x.py", "venv/x.py", "node_modules/x.py", "__pycache__/x.py", ".hidden.py", "data.csv"):
            self.write(ignored, "x = 1\n")
        outside = self.root.parent / "outside.py"
        outside.write_text("x = 1\n")
        os.symlink(outside, self.root / "leaves.py")
        os.symlink(self.root.parent, self.root / "up")
        os.symlink(self.root / "sub" / "b.py", self.root / "zz_link.py")
        os.mkfifo(self.root / "pipe.py")
        reply = self.ask(op="scan", root=str(self.root))
        files = {item["path"]: item for item in reply["files"]}
        self.assertEqual(set(files), {"a.py", "sub/b.py", "latin.py", "big.py", "broken.py", "zz_link.py"})
        self.assertEqual(len(files["a.py"]["definitions"]), 4)
        self.assertEqual(files["a.py"]["imports"], ["bifrost", "csv", "datetime", "enum", "os", "requests", "typing"])
        self.assertEqual(len(files["a.py"]["hash"]), 64)
        self.assertEqual([d["name"] for d in files["sub/b.py"]["definitions"]], ["own"])
        self.assertIn("a.py already", files["sub/b.py"]["issues"][0]["message"])
        self.assertEqual(files["latin.py"]["issues"][0]["line"], 2)
        self.assertIn("UTF-8", files["latin.py"]["issues"][0]["message"])
        self.assertIn("1 MiB", files["big.py"]["issues"][0]["message"])
        self.assertEqual(files["broken.py"]["issues"][0]["severity"], "error")

    def test_a_workspace_with_too_many_files(self) -> None:
        for number in range(5001):
            (self.root / f"f{number:05}.py").touch()
        files = self.ask(op="scan", root=str(self.root))["files"]
        self.assertEqual(len(files), 5001)
        self.assertIn("5000", files[-1]["issues"][0]["message"])
        self.assertTrue(all(not item["issues"] for item in files[:-1]))

    def test_snapshot(self) -> None:
        self.write("a.py", "x = 1\n")
        self.write("sub/b.py", "y = 2\n")
        self.write("broken.py", "def f(:\n")
        self.write("requirements.txt", "requests\n")
        self.write("data.csv", "1,2\n")
        first = self.ask(op="snapshot", root=str(self.root), target=str(self.target))
        self.assertEqual(first["version"], self.ask(op="scan", root=str(self.root))["version"])
        folder = Path(first["path"])
        self.assertEqual(folder, self.target / first["version"])
        names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}
        self.assertEqual(names, {"a.py", "sub/b.py", "broken.py", "requirements.txt"})
        code = list(folder.rglob("*.pyc"))
        self.assertEqual(len(code), 2)
        self.assertEqual(code[0].read_bytes()[4:8], b"\1\0\0\0")  # by hash, never checked
        for path in [folder, *folder.rglob("*")]:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o555 if path.is_dir() else 0o444)
        self.assertEqual(self.ask(op="snapshot", root=str(self.root), target=str(self.target)), first)
        same = self.ask(
            op="snapshot", root=str(self.root), target=str(self.target), paths=["sub/b.py", "a.py", "broken.py"]
        )
        self.assertEqual(same, first)
        self.write("data.csv", "3,4\n")
        self.assertEqual(self.ask(op="snapshot", root=str(self.root), target=str(self.target)), first)
        self.write("a.py", "x = 2\n")
        second = self.ask(op="snapshot", root=str(self.root), target=str(self.target))
        self.assertNotEqual(second["version"], first["version"])
        self.assertEqual((folder / "a.py").read_text(), "x = 1\n")
        self.assertEqual(sorted(os.listdir(self.target)), sorted([first["version"], second["version"]]))
        self.assertEqual(self.ask(op="compile", path=second["path"]), {"compiled": 0})
        self.assertIn("error", self.ask(op="snapshot", root=str(self.root), target=str(self.target), paths=["../x.py"]))

    def test_byte_code_names_the_final_path(self) -> None:
        self.write("a.py", "def where():\n    return where.__code__.co_filename\n")
        path = self.ask(op="snapshot", root=str(self.root), target=str(self.target))["path"]
        done = subprocess.run(
            [sys.executable, "-c", "import a; print(a.where(), a.__cached__)"],
            cwd="/", env={"PYTHONPATH": path}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.assertTrue(done.stdout.startswith(f"{path}/a.py {path}/__pycache__/"), done.stdout)


if __name__ == "__main__":
    unittest.main()
