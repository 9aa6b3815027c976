"""Values that can be read from source without running it."""

from __future__ import annotations

import ast
import math
import operator
import re
from typing import Any

MAX_TEXT = 20_000
MAX_VALUE = 100_000
MAX_NUMBER = 10**15
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


# PostgreSQL keeps neither in a text.
_ODD = re.compile("[\0\ud800-\udfff]")


_TYPES = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.Call)


class NotLiteral(Exception):
    """The expression has to be run to know its value."""


class Unfit(Exception):
    """The value is known and cannot be kept; the text says why, after its name."""


def cleaned(value: Any) -> Any:
    """``value`` with what no text in the store may have replaced."""
    if isinstance(value, str):
        return _ODD.sub("\ufffd", value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return value


def weigh(value: Any, most: int = MAX_VALUE) -> int:
    """Roughly the characters of ``value`` as JSON. Raises :class:`Unfit`.

    A value may be shared many times inside itself, so the weight is bounded while it is counted.
    """
    weight = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        weight += len(item) + 1 if isinstance(item, (str, list, dict)) else 1
        if weight > most:
            raise Unfit(f"has more than {most} characters")
        if isinstance(item, str):
            if _ODD.search(item):
                raise Unfit("has a NUL or half of a surrogate pair, which cannot be kept")
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += item
            waiting += item.values()
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise Unfit("has a whole number of more than 64 bits")
        elif isinstance(item, float) and not math.isfinite(item):
            raise Unfit("has a number that is not finite")
    return weight


# Where hints come from: names of these that were imported as something else are still known.
_HINT_MODULES = frozenset(
    ("typing", "typing_extensions", "dataclasses", "datetime", "decimal", "uuid", "collections.abc", "bifrost", "builtins")
)


# Decorators and bases of classes whose objects are given as JSON objects.
_OBJECTS = frozenset(("dataclass", "TypedDict"))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


class Scope:
    """A module's constants, enumerations, and names for types."""

    def __init__(self, tree: ast.Module) -> None:
        self.constants: dict[str, Any] = {}
        self.enums: dict[str, dict[str, Any]] = {}
        self.records: set[str] = set()
        self.objects: set[str] = set()  # of these: what is written as a JSON object
        self.aliases: dict[str, ast.expr] = {}  # `Size = Literal["s", "m"]`
        self.imported: dict[str, str] = {}  # `from datetime import datetime as dt`
        self.hints: dict[str, Any] = {}  # what the aliases were found to mean
        assigned: set[str] = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module in _HINT_MODULES:
                self.imported.update({alias.asname: alias.name for alias in node.names if alias.asname})
            elif type(node).__name__ == "TypeAlias":  # the `type` statement of Python 3.12
                self.aliases[node.name.id] = node.value  # type: ignore[attr-defined]
            if isinstance(node, ast.ClassDef):
                self._class(node)
                continue
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                targets = [node.target]
            if len(targets) == 1 and isinstance(targets[0], ast.Name):
                name = targets[0].id
                try:
                    # A name that is assigned twice has no one value.
                    value = self.value(node.value)  # type: ignore[union-attr, arg-type]
                    if name in self.constants:
                        raise NotLiteral
                    self.constants[name] = value
                except NotLiteral:
                    self.constants.pop(name, None)
                # The same goes for the name of a type.
                self.aliases.pop(name, None)
                if name not in assigned and isinstance(node.value, _TYPES):  # type: ignore[union-attr]
                    self.aliases[name] = node.value  # type: ignore[union-attr, assignment]
                assigned.add(name)

    def _class(self, node: ast.ClassDef) -> None:
        bases = {_last_name(base) for base in node.bases}
        if not any(base.endswith("Enum") or base.endswith("Flag") for base in bases):
            self.records.add(node.name)
            marks = {_last_name(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list}
            if {self.imported.get(name, name) for name in bases | marks} & _OBJECTS:
                self.objects.add(node.name)
            return
        members: dict[str, Any] = {}
        for item in node.body:
            if isinstance(item, ast.Assign) and len(item.targets) == 1 and isinstance(item.targets[0], ast.Name):
                name = item.targets[0].id
                if name.startswith("_"):
                    continue
                try:
                    members[name] = self.value(item.value)
                except NotLiteral:
                    automatic = isinstance(item.value, ast.Call) and "auto" in ast.dump(item.value.func)
                    if automatic:
                        members[name] = name.lower() if "StrEnum" in bases else len(members) + 1
        self.enums[node.name] = members

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """The value of an expression. Raises :class:`NotLiteral`."""
        if depth > 50:
            raise NotLiteral
        if isinstance(node, ast.Constant):
            if node.value is None or isinstance(node.value, (str, int, float, bool)):
                return node.value
            raise NotLiteral
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [self.value(item, depth + 1) for item in node.elts]
        if isinstance(node, ast.Dict):
            pairs = {}
            for key, item in zip(node.keys, node.values):
                if key is None:
                    raise NotLiteral
                name = self.value(key, depth + 1)
                if isinstance(name, (list, dict)) or (isinstance(name, int) and abs(name) > MAX_NUMBER):
                    raise NotLiteral
                pairs[str(name)] = self.value(item, depth + 1)
            return pairs
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        if isinstance(node, ast.Attribute):
            return self._member(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            number = self.value(node.operand, depth + 1)
            if isinstance(number, (int, float)):
                return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self._combined(node, depth)
        raise NotLiteral

    def _member(self, node: ast.Attribute) -> Any:
        if node.attr == "value" and isinstance(node.value, ast.Attribute):
            return self._member(node.value)
        if isinstance(node.value, ast.Name):
            members = self.enums.get(node.value.id, {})
            if node.attr in members:
                return members[node.attr]
        raise NotLiteral

    def _combined(self, node: ast.BinOp, depth: int) -> Any:
        left, right = self.value(node.left, depth + 1), self.value(node.right, depth + 1)
        numbers = all(isinstance(x, (int, float)) and abs(x) <= MAX_NUMBER for x in (left, right))
        texts = isinstance(left, str) and isinstance(right, str) and len(left) + len(right) <= MAX_TEXT
        if numbers or (texts and isinstance(node.op, ast.Add)):
            return _OPERATORS[type(node.op)](left, right)
        raise NotLiteral
