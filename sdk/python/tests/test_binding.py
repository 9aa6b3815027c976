"""How parameters reach a function's arguments."""

from __future__ import annotations

import unittest
from typing import Any

from .cases import RunCase

BINDING = '''
import dataclasses, datetime, decimal, enum, pathlib, typing, uuid
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


async def collections(tags: set[str], ids: frozenset[int], pair: tuple[str, int], many: tuple[float, ...], bare: tuple,
                      counts: dict[int, list[float]], path: pathlib.Path,
                      any_dict: typing.Dict, any_set: typing.Set):
    assert (type(tags), type(ids), type(pair), type(many), type(bare)) == (set, frozenset, tuple, tuple, tuple)
    return [sorted(tags), sorted(ids), pair, many, bare, [[*pair] for pair in counts.items()], path.parent.name, any_dict, list(any_set)]


@dataclasses.dataclass
class Device:
    host: str
    role: Speed = Speed.FAST
    ports: list[int] = dataclasses.field(default_factory=list)
    seen: "datetime.date | None" = None
    label: str = dataclasses.field(init=False, default="x")

    def __post_init__(self):
        if not self.host:
            raise bifrost.UserError("a device needs a host")
        if self.host == "localhost":
            raise ValueError("not this one")


async def objects(device: Device, others: list[Device] = [], maybe: Optional[Device] = None):
    return [device, [other.host for other in others], maybe and maybe.seen.year]


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
            self.assertIn(f"parameter `{name}", self.refused("shapes", {**given, name: bad}))
        self.assertIn("parameter `numbers[1]`: 'x' is not a valid int", self.refused("shapes", {**given, "numbers": [1, "x"]}))

    def test_sets_tuples_mappings_and_paths(self) -> None:
        given = {"tags": ["b", "a", "a"], "ids": '["1"]', "pair": ["x", "1"], "many": [1, "2.5"], "bare": [None], "counts": {"1": ["2"]}, "path": "a/b"}
        given |= {"any_dict": {"a": None}, "any_set": [None]}
        shown = [["a", "b"], [1], ["x", 1], [1.0, 2.5], [None], [[1, [2.0]]], "a", {"a": None}, [None]]
        self.assertEqual(self.result_of("collections", given), shown)
        for name, bad, why in (
            ("tags", 5, "`tags`: 5 is not a valid set[str]"), ("ids", [1, "x"], "`ids[1]`: 'x' is not a valid int"),
            ("pair", [1], "`pair`: it has to have 2 items, not 1"), ("pair", ["x", "x"], "`pair[1]`: 'x' is not a valid int"),
            ("many", ["x"], "`many[0]`: 'x' is not a valid float"), ("bare", {}, "`bare`: {} is not a valid tuple"),
            ("counts", {"1": ["2", "x"]}, "`counts.1[1]`: 'x' is not a valid float"),
        ):  # fmt: skip
            with self.subTest(name):
                self.assertIn(f"parameter {why}", self.refused("collections", {**given, name: bad}))

    def test_a_dataclass_is_made_of_an_object(self) -> None:
        device = {"host": "fs1", "role": 0.5, "ports": ["22", 443]}
        shown = {"host": "fs1", "role": 0.5, "ports": [22, 443], "seen": None, "label": "x"}
        given = {"device": device, "others": [{"host": "a"}], "maybe": '{"host": "b", "seen": "2026-03-04"}'}
        self.assertEqual(self.result_of("objects", given), [shown, ["a"], 2026])
        for bad, why in (
            ({"ports": []}, "`device`: `host` is missing"),
            ({"host": "a", "prots": []}, "`device`: it has no `prots`, only host, role, ports, seen"),
            ({"host": "a", "ports": [1, "x"]}, "`device.ports[1]`: 'x' is not a valid int"),
            ({"host": "a", "seen": "soon"}, "`device.seen`: 'soon' is not a valid date"),
            ("text", "`device`: 'text' is not a valid Device"),
            ([], "`device`: [] is not a valid Device"),
            ({"host": "localhost"}, "is not a valid Device"),
        ):
            with self.subTest(bad):
                self.assertIn(why, self.refused("objects", {"device": bad}))
        refused = self.refused("objects", {"device": device, "others": [device, {}]})
        self.assertEqual(refused, "parameter `others[1]`: `host` is missing")
        refused = self.refused("objects", {"device": device, "maybe": 5})
        self.assertEqual(refused, "parameter `maybe`: 5 is not a valid Device")
        result, _ = self.run_file("objects", {"device": {"host": ""}}, path="b.py")
        self.assertEqual((result["error_type"], result["user_message"]), ("UserError", "a device needs a host"))

    def test_everybody_may_read_which_parameter_was_wrong(self) -> None:
        for function, given in (("without", {}), ("choices", {"speed": 2, "mixed": 3, "size": "s"})):
            result, _ = self.run_file(function, given, path="b.py")
            self.assertIn("parameter `", result["user_message"])
            self.assertEqual(result["user_message"], result["error_message"])

    def test_a_generator_fails_instead_of_doing_nothing(self) -> None:
        for function in ("generates", "makes"):
            result, child = self.run_file(function, path="b.py")
            self.assertEqual((result["status"], result["error_type"]), ("Failed", "WorkflowError"))
            self.assertIn(f"`{function}` uses `yield`", result["error_message"])
            self.assertEqual(child.messages("INFO"), [])


if __name__ == "__main__":
    unittest.main()
