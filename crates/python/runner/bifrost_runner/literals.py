"""Values that can be read from source without running it."""

from __future__ import annotations

import ast
import operator
from typing import Any

MAX_TEXT = 20_000
MAX_NUMBER = 10**15
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


class NotLiteral(Exception):
    """The expression has to be run to know its value."""


class Scope:
    """A module's constants and enumerations."""

    def __init__(self, tree: ast.Module) -> None:
        self.constants: dict[str, Any] = {}
        self.enums: dict[str, dict[str, Any]] = {}
        self.records: set[str] = set()
        for node in tree.body:
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

    def _class(self, node: ast.ClassDef) -> None:
        bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
        if not any(base.endswith("Enum") or base.endswith("Flag") for base in bases):
            self.records.add(node.name)
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
                if isinstance(name, (list, dict)):
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
