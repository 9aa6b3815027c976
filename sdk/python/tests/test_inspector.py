"""The inspector, as the worker talks to it: a process, frames, no user code run."""

from __future__ import annotations

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from .worker import ROOT, RUNNER

# Python 3.13 does not compile a docstring with a lone surrogate: such a file runs nowhere, and is an error as a whole.
LONE = "\\ud800" if sys.version_info < (3, 13) else ""
LONE_DOCSTRING = (4, "warning", "docstring") if LONE else (1, "error", "surrogates")

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


PRELUDE = "from bifrost import workflow, param, data_provider, tool\n"


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
        _, issues = self.inspect(PRELUDE + body)
        return [(issue["line"], issue["severity"], issue["message"]) for issue in issues]

    def write(self, path: str, content: str | bytes = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def test_signals_to_the_whole_group_are_the_workers(self) -> None:
        self.inspect("")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.process.send_signal(number)
        self.assertEqual(self.problems("@workflow\ndef f(): ..."), [])

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

    def parameters(self, source: str) -> dict[str, dict[str, Any]]:
        found, issues = self.inspect(source)
        self.assertEqual(issues, [])
        (definition,) = found.values()
        return {item["name"]: item for item in definition["parameters"]}

    def test_the_order_is_that_of_the_signature(self) -> None:
        found = self.parameters(
            "from bifrost import param, workflow\n@workflow\n@param('late', 'string')\n@param('c', 'email', required=True)\n"
            "def f(a: int, b: str, c: str, **more): ...\n"
        )
        self.assertEqual(list(found), ["a", "b", "c", "late"])
        self.assertEqual((found["c"]["type"], found["c"]["required"]), ("email", True))

    def test_the_readme_shows_errors_in_that_order(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        (line,) = (line for line in text.splitlines() if line.startswith('{"type":"about:blank"'))
        path = ROOT / "examples" / "workspace" / "people" / "onboarding.py"
        reply = self.ask(op="inspect", path="a.py", source=path.read_text(encoding="utf-8"))
        (found,) = (item for item in reply["definitions"] if item["name"] == "onboard_user")
        required = [f"input_data.{item['name']}" for item in found["parameters"] if item["required"]]
        shown = json.loads(line)
        self.assertEqual([error["path"] for error in shown["errors"]], required)
        self.assertTrue(shown["detail"].startswith(f"`{required[0]}`"))

    def test_choices_have_the_type_of_their_values(self) -> None:
        found = self.parameters(
            "import enum\nfrom typing import Literal\nfrom bifrost import workflow\n"
            "class Speed(enum.Enum):\n  SLOW = 0.5\n  FAST = 2\n"
            "class Mixed(enum.Enum):\n  ONE = 1\n  AUTO = 'auto'\n"
            "@workflow\ndef f(a: Speed, b: Mixed, c: Literal[1, 'x', True], d: Literal[True], e: Literal[1, 2], g: Literal['a']): ...\n"
        )
        self.assertEqual([item["type"] for item in found.values()], ["float", "json", "json", "bool", "int", "string"])
        self.assertEqual([option["value"] for option in found["b"]["options"]], [1, "auto"])
        self.assertEqual([option["value"] for option in found["c"]["options"]], [1, "x", True])

    def test_names_that_stand_for_types(self) -> None:
        source = (
            "from __future__ import annotations\nimport datetime as d, uuid\nfrom datetime import datetime as dt, time\n"
            "from decimal import Decimal\nfrom typing import Dict, List, Literal as L, NewType, Optional, Union\n"
            "from bifrost import workflow\n"
            "Size = L['s', 'm']\nSizes = List[Size]\nMaybe = Optional[int]\nUserId = NewType('UserId', int)\n"
            "Loop = Union['Loop', 'Loop']\nTwice = int\nTwice = str\n"
            "@workflow\ndef f(size: Size, sizes: Sizes, maybe: Maybe, user: UserId, loop: Loop, twice: Twice, when: dt,\n"
            "      at: time, also: d.time, table: Dict[str, int], plain: dict, many: list[list[Maybe]], some: list,\n"
            "      key: uuid.UUID, price: Decimal, rows: list[dict], any: list[object], either: dict | list[int]): ...\n"
        )
        found = self.parameters(source)
        kinds = {name: (item["type"], item["format"], item["required"]) for name, item in found.items()}
        self.assertEqual(kinds["size"], ("string", None, True))
        self.assertEqual(kinds["maybe"], ("int", None, False))
        self.assertEqual((kinds["user"], kinds["when"]), (("int", None, True), ("datetime", None, True)))
        self.assertEqual((kinds["at"], kinds["also"]), (("string", "time", True),) * 2)
        self.assertEqual((kinds["table"], kinds["plain"]), (("json", "object", True),) * 2)
        self.assertEqual((kinds["key"], kinds["price"]), (("string", "uuid", True), ("string", "decimal", True)))
        self.assertEqual((kinds["either"], found["either"]["items"]), (("json", None, True), None))
        self.assertEqual([option["value"] for option in found["size"]["options"]], ["s", "m"])
        self.assertEqual([option["value"] for option in found["sizes"]["items"]["options"]], ["s", "m"])
        inner = {"type": "int", "optional": True, "options": None, "format": None, "items": None}
        self.assertEqual(found["many"]["items"]["items"], inner)
        self.assertEqual(found["rows"]["items"]["format"], "object")
        self.assertEqual((found["some"]["items"], found["any"]["items"]), (None, None))

    def test_classes_whose_objects_are_json_objects(self) -> None:
        found = self.parameters(
            "import dataclasses, typing\nfrom dataclasses import dataclass as dc\nfrom typing import TypedDict\nfrom bifrost import workflow\n"
            "@dataclasses.dataclass(frozen=True)\nclass A: x: int\n@dc\nclass B: x: int\nclass C(TypedDict): x: int\nclass D: ...\n"
            "@workflow\ndef f(a: A, b: B, c: C | None, d: D, many: list[A]): ...\n"
        )
        shapes = {name: (item["type"], item["format"]) for name, item in found.items()}
        self.assertEqual(shapes["a"], ("json", "object"))
        self.assertEqual((shapes["b"], shapes["c"], shapes["d"]), (("json", "object"), ("json", "object"), ("json", None)))
        self.assertEqual(found["many"]["items"]["format"], "object")

    def test_names_for_types_cost_no_more_than_their_text(self) -> None:
        lines = ["from bifrost import workflow", "A0 = int | str"]
        lines += [f"A{n + 1} = Union[{', '.join([f'A{n}'] * 200)}]" for n in range(50)]
        began = time.monotonic()
        self.parameters("\n".join([*lines, "@workflow", "def f(first: A50, a: A9, b: list[A9]): ...\n"]))
        self.assertLess(time.monotonic() - began, 2)

    def test_the_context_under_every_name(self) -> None:
        for written in (
            "ctx: ExecutionContext | None = None", "ctx: Optional[ExecutionContext] = None", "ctx: 'Ctx | None' = None",
            "ctx: Ctx", "ctx: b.OrganizationContext", "ctx: Named", "ctx: Union[None, 'b.ExecutionContext']", "context",
        ):  # fmt: skip
            with self.subTest(written):
                found = self.parameters(
                    "import bifrost as b\nfrom typing import Optional, Union\n"
                    "from bifrost import ExecutionContext, ExecutionContext as Ctx, workflow\nNamed = Optional[Ctx]\n"
                    f"@workflow\ndef f({written}, n: int = 1): ...\n".replace(", n", ", *, n")
                )
                self.assertEqual(list(found), ["n"])
        self.assertEqual(list(self.parameters("from bifrost import workflow\n@workflow\ndef f(ctx: list[int]): ...\n")), ["ctx"])

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
            ("@workflow\n@param('a', label='A')\ndef f(a: str): ...", 3, "warning", "`a` is `str` and not required"),
            ("@workflow\n@param('a', validation='x')\ndef f(a): ...", 3, "error", "has to be a dict"),
            ("@workflow\n@param('a', validation={'min': '1'})\ndef f(a): ...", 3, "error", "`min` has to be a number"),
            ("@workflow\n@param('a', validation={'max': True})\ndef f(a): ...", 3, "error", "`max` has to be a number"),
            ("@workflow\n@param('a', validation={'pattern': 1})\ndef f(a): ...", 3, "error", "`pattern` has to be a text"),
            (f"@workflow\n@param('a', validation={{'message': '{'x' * 1001}'}})\ndef f(a): ...", 3, "error", "1000 characters"),
            ("@workflow\n@param('a', validation={'minimum': 1})\ndef f(a): ...", 3, "warning", "does not know minimum"),
            ("@workflow\n@tool\ndef f(): ...", 3, "error", "more than one"),
            ("@workflow\ndef f(): ...\n@workflow(name='f')\ndef g(): ...", 4, "error", "line 2 already"),
            ("@workflow\ndef f(): ...\n@workflow(name='g')\ndef f(): ...", 3, "error", "defined again"),
            ("x = 1 is 1", 2, "warning", "literal"),
            ("@workflow\ndef f():\n  x = 1\n  yield x", 5, "error", "uses `yield`"),
            ("@workflow\nasync def f():\n  if 1:\n    x = yield", 5, "error", "uses `yield`"),
            ("@workflow\ndef f():\n  return [(yield)]", 4, "error", "uses `yield`"),
            ("class A:\n  @workflow\n  def f(self): ...", 3, "warning", "not at the top"),
            ("for x in ():\n  @workflow(name='x')\n  def f(): ...", 3, "warning", "not at the top"),
            ("match 1:\n  case 1:\n    @tool\n    def f(): ...", 4, "warning", "not at the top"),
            ("def g():\n  @data_provider\n  def f(): ...", 3, "warning", "not at the top"),
        ]
        for body, line, severity, text in cases:
            with self.subTest(body):
                found = self.problems(body)
                self.assertEqual(len(found), 1, found)
                self.assertEqual(found[0][:2], (line, severity), found)
                self.assertIn(text, found[0][2])

    def test_a_parameter_that_may_be_left_out(self) -> None:
        for argument, more in (
            ("a", ""), ("a: str | None", ""), ("a: str = ''", ""), ("a: str", ", required=True"), ("a: str", ", required=False"),
            ("a: str", ", default_value='x'"), ("context, a: Optional[str]", ""), ("**a", ""),
        ):  # fmt: skip
            with self.subTest(argument + more):
                name = "a" if argument != "**a" else "b"
                self.assertEqual(self.problems(f"@workflow\n@param('{name}'{more})\ndef f({argument}): ..."), [])

    def test_a_definition_with_an_error_is_not_used_and_others_are(self) -> None:
        found, _ = self.inspect(
            "from bifrost import workflow\n@workflow(timeout_seconds=-1)\ndef bad(): ...\n@workflow\ndef good(): ...\n"
        )
        self.assertEqual(set(found), {"good"})

    def test_a_yield_of_another_function_is_fine(self) -> None:
        found, issues = self.inspect(
            "import contextlib\nfrom bifrost import workflow\n"
            "@workflow\ndef f():\n  def g():\n    yield 1\n  return list(g()), [x for x in g()], lambda: (yield)\n"
            "@workflow\n@contextlib.contextmanager\ndef managed():\n  yield 1\n"
            "try:\n  pass\nexcept ImportError:\n  @workflow\n  def below(): ...\n"
        )
        self.assertEqual((set(found), issues), ({"f", "managed", "below"}, []))

    def test_odd_source_is_an_issue_and_nothing_worse(self) -> None:
        deep = ["1+" * 100_000 + "1", "-" * 100_000 + "1", "a" + ".b" * 100_000, "a" + "()" * 50_000, "(" * 10_000]
        for source in [*deep, "a\0b", "x = '\ud800'"]:
            for op in ("inspect", "check_code"):
                issues = self.ask(op=op, path="a.py", source=source)["issues"]
                self.assertEqual([i["severity"] for i in issues], ["error"], source[:10])
        issues = self.ask(op="inspect", path="a.py", source="#" * (1024 * 1024 + 1))["issues"]
        self.assertIn("1 MiB", issues[0]["message"])

    def test_nested_source_is_an_issue_and_nothing_worse(self) -> None:
        bodies = [opening * 10_000 + closing * 10_000 for opening, closing in ("()", "[]", ("f(", ")"), ("{1:", "}"))]
        bodies += [
            "if a:\n  pass\n" + "elif a:\n  pass\n" * 20_000,
            "not " * 100_000 + "1",
            "@workflow\ndef f(a: " + "int | " * 50_000 + "int): ...",
            "@workflow(timeout_seconds=" + "1 + " * 50_000 + "1)\ndef f(): ...",
        ]
        for body in bodies:
            with self.subTest(body[:10]):
                self.assertEqual([severity for _, severity, _ in self.problems(body)], ["error"])
        wide = "x = [" + "[" * 90 + "]" * 90 + ", 1" * 200_000 + "]"
        self.assertEqual(self.problems(wide), [])

    def test_values_that_cannot_be_kept_are_issues_with_their_line(self) -> None:
        digits = "1" + "0" * 3_999
        hexadecimal = "0x" + "f" * 4_000
        cases = [
            ("@workflow\ndef f(a: float = 1e999): ...", 3, "warning", "not finite"),
            ("@workflow\ndef f(a: float = -1e999): ...", 3, "warning", "not finite"),
            (f"@workflow\ndef f(\n  a: int = {digits},\n): ...", 4, "warning", "64 bits"),
            (f"@workflow\ndef f(a: int = {hexadecimal}): ...", 3, "warning", "64 bits"),
            (f"@workflow\ndef f(a={{'b': [{digits}]}}): ...", 3, "warning", "64 bits"),
            ("@workflow\ndef f(a: str = '\\x00'): ...", 3, "warning", "NUL"),
            ("@workflow\ndef f(a: str = '\\ud800'): ...", 3, "warning", "surrogate"),
            ("@workflow\ndef f(a={'\\x00': 1}): ...", 3, "warning", "NUL"),
            ("@workflow\ndef f():\n  '''A \\x00.'''", 4, "warning", "docstring"),
            ("@workflow\ndef f():\n  '''A \\ud800.'''", *LONE_DOCSTRING),
            ("@workflow\ndef f(a: Literal['a', '\\0'] = 'a'): ...", 3, "warning", "choice"),
            (f"class E(Enum):\n  A = {digits}\n  B = 2\n@workflow\ndef f(a: E): ...", 6, "warning", "choice"),
            ("@workflow(description='\\0')\ndef f(): ...", 2, "warning", "ignored"),
            ("@workflow(name='\\0')\ndef f(): ...", 2, "error", "NUL"),
            ("@workflow(timeout_seconds=1e999)\ndef f(): ...", 2, "error", "not finite"),
            ("@workflow\n@param('a', default_value=1e999)\ndef f(a): ...", 3, "error", "not finite"),
            ("@workflow\n@param('a', options=['\\0'])\ndef f(a): ...", 3, "error", "NUL"),
            ("@workflow\n@param('a', '\\ud800')\ndef f(a): ...", 3, "error", "surrogate"),
            ("@workflow(retry_policy={'\\ud800': 1})\ndef f(): ...", 2, "error", "surrogate"),
            (f"@workflow\ndef f(a='{'x' * 100_001}'): ...", 3, "warning", "100000 characters"),
            (f"@workflow(id='{'i' * 201}')\ndef f(): ...", 2, "error", "200 characters"),
            (f"@workflow\ndef {'f' * 250}(): ...", 2, "error", "200 characters"),
            (f"@workflow(name='short')\ndef {'f' * 250}(): ...", 3, "error", "200 characters"),
            (f"@workflow\ndef f({'a' * 201}): ...", 3, "error", "200 characters"),
        ]
        for body, line, severity, text in cases:
            with self.subTest(body[:80]):
                found = self.problems(body)
                self.assertEqual([item[:2] for item in found], [(line, severity)], found)
                self.assertIn(text, found[0][2])
        self.assertEqual(self.problems(f"@workflow\ndef f(a={{{hexadecimal}: 1}}): ..."), [])

    def test_what_can_be_kept_is_kept(self) -> None:
        body = f"@workflow\ndef f(a='\\0', b: int = {10**3_999}, c=1e999, *, d=2**63):\n  '''A \\0{LONE} b.'''"
        found, _ = self.inspect(PRELUDE + body)
        self.assertEqual([(p["required"], p["default_value"]) for p in found["f"]["parameters"]], [(False, None)] * 4)
        self.assertEqual(found["f"]["description"], "A \ufffd\ufffd b." if LONE else "A \ufffd b.")
        bounds = f"@workflow\ndef f(a={2**63 - 1}, b=-{2**63 - 1}, c=1e308, d='{'x' * 99_999}'): ..."
        found, issues = self.inspect(PRELUDE + bounds)
        self.assertEqual((issues, found["f"]["parameters"][0]["default_value"]), ([], 2**63 - 1))
        found, issues = self.inspect(PRELUDE + f"@workflow\ndef {'f' * 200}(): ...")
        self.assertEqual((issues, list(found)), ([], ["f" * 200]))

    def test_what_a_file_declares_is_bounded_however_it_is_shared(self) -> None:
        shared = "".join(f"{b} = [{', '.join([a] * 10)}]\n" for a, b in zip("ABCDEFGH", "BCDEFGHI"))
        problem = self.problems(f"A = ['x', 'y']\n{shared}@workflow\ndef f(a=I): ...")[0]
        self.assertIn("100000 characters", problem[2])
        big = f"X = '{'x' * 90_000}'\n" + "".join(f"@workflow\ndef f{n}(a=X): ...\n" for n in range(100))
        found, issues = self.inspect(PRELUDE + big)
        self.assertEqual((len(found), len(issues)), (44, 56))
        self.assertIn("4000000 characters", issues[0]["message"])
        spaces = "@workflow\ndef f(a):\n  '''A.\n\n  Args:\n    a" + " " * 1_000_000 + "'''"
        self.assertEqual(self.problems(spaces), [])

    def test_a_path_that_is_too_long(self) -> None:
        reply = self.ask(op="inspect", path="a" * 1025, source=GOOD)
        self.assertEqual((reply["definitions"], len(reply["issues"])), ([], 1))
        self.assertIn("1024 characters", reply["issues"][0]["message"])
        self.assertEqual(self.ask(op="inspect", path="a" * 1024, source=GOOD)["issues"], [])

    def test_a_file_that_cannot_be_kept_breaks_only_itself(self) -> None:
        self.write("a.py", PRELUDE + f"@workflow\ndef {'f' * 250}(): ...\n@workflow\ndef other(): ...\n")
        self.write("b.py", PRELUDE + f"@workflow\ndef nul(a='\\x00'):\n  '''A \\x00 b {LONE}.'''\n")
        self.write("c.py", PRELUDE + "@workflow\ndef good(): ...\n")
        files = {item["path"]: item for item in self.ask(op="scan", root=str(self.root))["files"]}
        names = {path: [d["name"] for d in item["definitions"]] for path, item in files.items()}
        self.assertEqual(names, {"a.py": ["other"], "b.py": ["nul"], "c.py": ["good"]})
        lines = {path: [issue["line"] for issue in item["issues"]] for path, item in files.items()}
        self.assertEqual(lines, {"a.py": [2], "b.py": [3, 4], "c.py": []})

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

    def test_a_data_provider_that_is_nowhere(self) -> None:
        self.write("providers.py", "from bifrost import data_provider\n@data_provider\ndef sites(customer: str): ...\n")
        self.write("sites.py", "from bifrost import workflow\n@workflow\ndef sites(): ...\n")
        body = "@workflow\n@param('a', data_provider='sites')\n@param('b', data_provider='sitse')\ndef f(a, b): ...\n"
        self.write("w.py", PRELUDE + body)
        reply = self.ask(op="scan", root=str(self.root))
        files = {item["path"]: item for item in reply["files"]}
        self.assertEqual([len(files[path]["definitions"]) for path in ("providers.py", "sites.py", "w.py")], [1, 1, 1])
        issue = {"line": 2, "message": "`f`: there is no data provider `sitse` for `b`", "severity": "warning"}
        self.assertEqual([item["issues"] for item in files.values()], [[], [], [issue]])

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
