"""A workspace and a zygote for tests of runs."""

from __future__ import annotations

import unittest
from typing import Any

from .worker import Child, Folders, Zygote

WORKFLOWS = '''
import asyncio, datetime, enum, logging, os, sys, warnings
from typing import Literal, Optional
import bifrost
from bifrost import ExecutionContext, UserError, config, context, files, param, workflow


class Color(enum.Enum):
    RED = "red"


@workflow
async def style_b(email: str, count: int = 2, color: Color = Color.RED, when: Optional[datetime.datetime] = None):
    return {"email": email, "count": count, "color": color, "year": when and when.year, "who": context.email,
            "extra": context.parameters}


@workflow("style_a", "The older style", category="Tests")
@param("email", "string", required=True)
@param("note", "string")
async def style_a(context: ExecutionContext, email: str, note):
    text = files.read("notes.txt")
    return {"email": email, "note": note, "text": text, "org": context.org_name, "startup": context.startup}


@workflow
async def annotated(ctx: "ExecutionContext", **kwargs):
    return {"who": ctx.email, "kwargs": kwargs}


@workflow
def plain(mode: Literal["fast", "slow"] = "fast"):
    doubled = mode * 2
    return doubled


@workflow
async def reads_settings():
    first = await config.get("endpoint", "none")
    try:
        await context.get_config("absent")
    except KeyError as error:
        missing = str(error)
    both = await asyncio.gather(config.get("a"), config.get("b"))
    token = await config.get("token")
    print("the token is", token)
    logging.getLogger("x").warning("again %s", token, extra={"field": token})
    context.progress(0.5, "with " + token)
    bifrost.context.set_variable("copy", token)
    return {"first": first.url, "missing": missing, "both": both, "token": token}


@workflow
async def denied():
    await config.set("x", 1)


@workflow
async def logs():
    print("one\\ntwo")
    print("no end", end="")
    print("err", file=sys.stderr)
    logging.info("info %d", 1, extra={"rows": 3})
    logging.debug("debug")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("failed")
    warnings.warn("careful")
    context.log("error", "by context", {"a": 1})
    sys.stdout.buffer.write("bytes ü\\n".encode())


@workflow
async def user_error():
    secret = 1
    raise UserError("The mailbox is full")


def helper(depth):
    return 1 / depth


@workflow
async def breaks():
    rows = [1, 2, 3]
    helper(0)


@workflow
async def not_well():
    return {"success": False, "error": "two of three failed"}


@workflow
async def roi():
    context.roi.time_saved = 15
    context.roi.value = 2.5
    return "<div>done</div>"


@workflow
async def exits(code: int):
    sys.exit(code)


@workflow
async def interrupts():
    raise KeyboardInterrupt


@workflow
async def vanishes():
    print("last words")
    os._exit(3)


@workflow
async def variables():
    rows = list(range(500))
    text = "x" * 10_000
    _hidden = 1
    password = "hunter2-hunter2"
    function = helper
    module = os
    nested = {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}
    await asyncio.sleep(0.6)
    later = Color.RED
    return "text"


@workflow
async def subprocesses():
    import subprocess
    done = subprocess.run("echo from sh; echo to err >&2; printf unfinished", shell=True)
    os.write(1, b"raw\\n")
    return done.returncode
'''


class RunCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folders = Folders()
        cls.addClassCleanup(cls.folders.remove)
        cls.folders.write("w.py", WORKFLOWS)
        cls.folders.write("pack/__init__.py", "")
        cls.folders.write("pack/part.py", "from pack import other\nasync def go():\n    return other.VALUE\n")
        cls.folders.write("pack/other.py", "VALUE = __name__\n")
        cls.folders.write("email.py", "async def go():\n    return __name__\n")
        cls.folders.write("with-dash.py", "async def go():\n    return 'dash'\n")
        cls.folders.write("broken.py", "import nothing_of_this_name\n\nasync def go(): pass\n")
        cls.folders.write("syntax.py", "x = 1\ndef go(:\n")
        cls.zygote = Zygote(cls.folders)
        cls.addClassCleanup(cls.zygote.close)

    def run_file(
        self, function: str, parameters: dict[str, Any] | None = None, path: str = "w.py", **more: Any
    ) -> tuple[dict[str, Any], Child]:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.answers = more.pop("answers", None)
        child.file(path, function, parameters, **more)
        return child.result(), child

    def run_code(self, source: str, parameters: dict[str, Any] | None = None, **more: Any) -> tuple[dict[str, Any], Child]:
        child = self.zygote.fork(limits=more.pop("rlimits", None))
        self.addCleanup(child.close)
        child.code(source, parameters, **more)
        return child.result(), child
