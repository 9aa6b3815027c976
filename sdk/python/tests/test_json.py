"""Any value becomes JSON that every reader accepts."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import unittest
import uuid
from typing import Any

from bifrost._json import MAX_DEPTH, NotSerializable, encode
from bifrost._masking import Mask


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


class Model:
    def model_dump(self) -> dict[str, Any]:
        return {"a": 1}


class Odd:
    def __str__(self) -> str:
        return "odd"


class Broken:
    def __str__(self) -> str:
        raise ValueError


def plain(value: Any, mask: Mask | None = None) -> tuple[Any, list[str]]:
    data, notes = encode(value, mask or Mask())
    return json.loads(data.decode(), parse_constant=lambda name: 1 / 0), notes


class Encode(unittest.TestCase):
    def test_a_forgotten_await_is_named(self) -> None:
        async def value() -> int:
            return 1

        coroutine = value()
        self.addCleanup(coroutine.close)
        _, notes = plain({"a": coroutine})
        self.assertEqual(notes, ["result.a: coroutine became text (is an `await` missing?)"])

    def test_what_json_knows_goes_through(self) -> None:
        value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": "d"}}
        self.assertEqual(plain(value), (value, []))

    def test_conversions_without_loss_say_nothing(self) -> None:
        number = uuid.uuid4()
        value = {
            "t": datetime.datetime(2026, 1, 2, 3, 4, 5),
            "d": decimal.Decimal("1.5"),
            "i": decimal.Decimal("7"),
            "long": decimal.Decimal("1.23456789012345678901"),
            "s": {3, 1, 2},
            "e": Color.RED,
            "p": Point(1, datetime.date(2026, 1, 2)),
            "m": Model(),
            "u": number,
            "b": b"text",
            5: "int key",
            None: "none key",
            True: "true key",
            ("a", 1): "tuple key",
        }
        cleaned, notes = plain(value)
        self.assertEqual(notes, [])
        self.assertEqual(
            cleaned,
            {
                "t": "2026-01-02T03:04:05", "d": 1.5, "i": 7, "long": "1.23456789012345678901", "s": [1, 2, 3], "e": "red",
                "p": {"x": 1, "when": "2026-01-02"}, "m": {"a": 1}, "u": str(number), "b": "text", "true": "true key",
                "5": "int key", "null": "none key", "('a', 1)": "tuple key",
            },
        )  # fmt: skip

    def test_what_is_lost_is_named_by_its_path(self) -> None:
        value = {"rows": [{"price": float("nan")}, {"price": float("-inf")}], "text": "a\0b\ud800", "o": Odd(), "n": 2**64}
        cleaned, notes = plain(value)
        self.assertEqual(cleaned["rows"], [{"price": None}, {"price": None}])
        self.assertEqual((cleaned["text"], cleaned["o"], cleaned["n"]), ("a\ufffdb\ufffd", "odd", str(2**64)))
        said = "\n".join(notes)
        for path in ("result.rows[0].price", "result.rows[1].price", "result.text", "result.o", "result.n"):
            self.assertIn(path, said)

    def test_odd_values(self) -> None:
        self.assertEqual(plain([Broken()])[0], ["<Broken>"])
        self.assertEqual(plain([b"\xff"])[0], ["/w=="])
        self.assertTrue(plain([10**5000])[0][0].startswith("0x"))
        self.assertEqual(plain([2**63 - 1, -(2**63)]), ([2**63 - 1, -(2**63)], []))
        self.assertEqual(plain({"a": {"b": 1}.keys()})[0], {"a": ["b"]})

    def test_notes_are_bounded(self) -> None:
        self.assertLessEqual(len(plain([float("nan")] * 1000)[1]), 21)

    def test_cycles_and_depth(self) -> None:
        loop: list[Any] = []
        loop.append({"again": loop})
        with self.assertRaisesRegex(NotSerializable, r"result\[0\]\.again"):
            plain(loop)
        fits: Any = 1
        for _ in range(MAX_DEPTH):
            fits = [fits]
        self.assertEqual(plain(fits)[0], fits)
        with self.assertRaises(NotSerializable):
            plain([fits])
        deep: Any = 1
        for _ in range(100_000):
            deep = [deep]
        with self.assertRaises(NotSerializable):
            plain(deep)
        while isinstance(deep, list):  # taken apart here, or its own destruction would recurse
            deep = deep.pop()

    def test_many_containers_that_are_not_deep(self) -> None:
        value = [[i] for i in range(1000)]
        self.assertEqual(plain(value), (value, []))

    def test_masks_reach_keys_and_values(self) -> None:
        cleaned, _ = plain({"key hunter2": ["hunter2", {"x": "a hunter2 b"}]}, Mask(["hunter2"]))
        self.assertEqual(cleaned, {"key ***": ["***", {"x": "a *** b"}]})


if __name__ == "__main__":
    unittest.main()
