"""How parameters reach a function's arguments."""

from __future__ import annotations

import unittest
from typing import Any

from .cases import RunCase

BINDING = '''
import datetime, decimal, enum, typing, uuid
from typing import Annotated, Iterable, List, Literal, NewType, Optional, Union
import bifrost
from bifrost import ExecutionContext as Ctx, param, workflow

if typing.TYPE_CHECKING:
    from nowhere import Absent


class Speed(enum.Enum):
    SLOW = 0.5
    FAST = 2.0


class Mixed(enum.Enum):
    ONE = 1
    AUTO = "auto"
    PAIR = (1, 2)


UserId = NewType("UserId", int)
Size = Literal["s", 1, 2.5, None]


async def without(a: "int | None", b: Optional[str], c: Annotated[Optional[int], "x"], d: Size, e: Union[int, str]):
    return [a, b, c, d, e]


async def quoted(a: "int | None", b: "Absent" = None):
    return a


async def optional_context(ctx: Optional[Ctx] = None, n: int = 0):
    return [ctx.email, n]


async def newer_context(ctx: "Ctx | None" = None):
    return ctx.email


async def dotted_context(run: "bifrost.ExecutionContext | None"):
    return run.email


async def hidden_context(run: "Optional[ExecutionContext]", other: "Absent" = 1):
    return run.email


@workflow
@param("since", "datetime", default_value="2026-01-02T03:04:05Z")
@param("count", "int", default_value="5")
@param("rate", "float", default_value="0.5")
@param("nothing", "int")
async def defaults(since: datetime.datetime, count: int, rate, nothing: int):
    return [since.year, count, rate, nothing]


async def choices(speed: Speed, mixed: Mixed, size: Size):
    return [speed.name, mixed.name, size]


async def shapes(numbers: List[int], table: dict, typed: dict[str, int], user: UserId, at: datetime.time):
    return [numbers, table, typed, user, at.hour]


async def generates():
    yield 1


def makes():
    print("never")
    yield 1
'''


class Binding(RunCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folders.write("b.py", BINDING)

    def result_of(self, function: str, parameters: dict[str, Any] | None = None) -> Any:
        result, _ = self.run_file(function, parameters, path="b.py")
        self.assertEqual(result["status"], "Success", result["error_message"])
        return result["result"]

    def refused(self, function: str, parameters: dict[str, Any]) -> str:
        result, _ = self.run_file(function, parameters, path="b.py")
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "ValidationError"), result)
        return result["error_message"]

    def test_what_may_be_none_may_be_left_out(self) -> None:
        self.assertEqual(self.result_of("without", {"e": 1}), [None, None, None, None, 1])
        self.assertEqual(self.result_of("without", {"a": "4", "d": "2.5", "e": "x"}), [4, None, None, 2.5, "x"])
        self.assertIn("`e` is missing", self.refused("without", {}))
        self.assertIsNone(self.result_of("quoted"))
        self.assertEqual(self.result_of("quoted", {"a": "7"}), 7)

    def test_an_optional_context(self) -> None:
        self.assertEqual(self.result_of("optional_context", {"n": "3"}), ["ada@example.com", 3])
        for function in ("newer_context", "dotted_context", "hidden_context"):
            self.assertEqual(self.result_of(function), "ada@example.com", function)

    def test_defaults_of_param_are_converted(self) -> None:
        self.assertEqual(self.result_of("defaults"), [2026, 5, 0.5, None])
        self.assertEqual(self.result_of("defaults", {"rate": "2", "nothing": "1"}), [2026, 5, 2.0, 1])

    def test_choices_that_are_not_text(self) -> None:
        self.assertEqual(self.result_of("choices", {"speed": 0.5, "mixed": 1, "size": 1}), ["SLOW", "ONE", 1])
        self.assertEqual(self.result_of("choices", {"speed": "2.0", "mixed": "1", "size": 2.5}), ["FAST", "ONE", 2.5])
        self.assertEqual(self.result_of("choices", {"speed": 2, "mixed": [1, 2], "size": "s"}), ["FAST", "PAIR", "s"])
        self.assertIn("`mixed`", self.refused("choices", {"speed": 2, "mixed": 3, "size": "s"}))

    def test_lists_objects_and_names_for_types(self) -> None:
        given = {"numbers": '["1", 2]', "table": '{"a": 1}', "typed": {"b": 2}, "user": "9", "at": "08:30Z"}
        self.assertEqual(self.result_of("shapes", given), [[1, 2], {"a": 1}, {"b": 2}, 9, 8])
        for name, bad in (("numbers", ["x"]), ("table", [1]), ("typed", "text"), ("user", "me"), ("at", "noon")):
            self.assertIn(f"`{name}`", self.refused("shapes", {**given, name: bad}))

    def test_a_generator_fails_instead_of_doing_nothing(self) -> None:
        for function in ("generates", "makes"):
            result, child = self.run_file(function, path="b.py")
            self.assertEqual((result["status"], result["error_type"]), ("Failed", "WorkflowError"))
            self.assertIn(f"`{function}` uses `yield`", result["error_message"])
            self.assertEqual(child.messages("INFO"), [])


if __name__ == "__main__":
    unittest.main()
