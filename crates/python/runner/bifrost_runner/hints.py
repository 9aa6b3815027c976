"""Parameters from a function's signature: types, options, defaults, descriptions."""

from __future__ import annotations

import ast
import copy
import re
from typing import Any, Callable

from .literals import NotLiteral, Scope, Unfit, weigh

CONTEXT_TYPES = ("ExecutionContext", "OrganizationContext")
_NAMES = {
    "str": "string", "int": "int", "float": "float", "bool": "bool", "list": "list", "List": "list", "tuple": "list",
    "Tuple": "list", "set": "list", "Set": "list", "frozenset": "list", "FrozenSet": "list", "Sequence": "list",
    "Iterable": "list", "dict": "json", "Dict": "json", "Mapping": "json", "MutableMapping": "json", "Any": "json",
    "object": "json", "datetime": "datetime", "date": "datetime", "EmailStr": "email", "Decimal": "string", "UUID": "string",
    "bytes": "string", "time": "string",
}  # fmt: skip
# What a value of the type has to look like besides.
_FORMATS = {
    "dict": "object", "Dict": "object", "Mapping": "object", "MutableMapping": "object", "time": "time", "UUID": "uuid",
    "Decimal": "decimal",
}  # fmt: skip
# Of these the child converts every item, to one type.
_ITEMS = frozenset(("list", "List", "Sequence", "Iterable", "set", "Set", "frozenset", "FrozenSet"))
_GOOGLE = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.+)$")
_SPHINX = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.+)$")
_LONGEST_LINE = 2_000  # both patterns try every split of a run of spaces


def label_of(name: str) -> str:
    """``user_email`` as a person reads it."""
    return " ".join(word.capitalize() for word in name.split("_") if word) or name


class Hint:
    """What an annotation says."""

    def __init__(self) -> None:
        self.type = "string"
        self.optional = False
        self.options: list[dict[str, Any]] | None = None
        self.format: str | None = None
        self.items: dict[str, Any] | None = None
        self.problems: list[str] = []

    def name(self, name: str) -> "Hint":
        """Takes the type that a name stands for."""
        self.type = _NAMES.get(name, "string")
        self.format = _FORMATS.get(name)
        return self

    def shape(self) -> dict[str, Any]:
        """What an item of a list has to be."""
        shape = {"type": self.type, "optional": self.optional, "options": self.options}
        return {**shape, "format": self.format, "items": self.items}


def read_hint(node: ast.expr | None, scope: Scope, depth: int = 0) -> Hint:
    """The declared type of an annotation."""
    hint = Hint()
    if node is None or depth > 10:
        return hint
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return read_hint(ast.parse(node.value, mode="eval").body, scope, depth + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return hint
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(_flatten(node), scope, depth)
    if isinstance(node, ast.Subscript):
        return _subscript(node, scope, depth)
    name = last_name(node)
    if isinstance(node, ast.Call):  # UserId = NewType("UserId", int)
        made = last_name(node.func) == "NewType" and len(node.args) == 2
        return read_hint(node.args[1] if made else None, scope, depth + 1)
    if isinstance(node, ast.Name):
        if name in scope.aliases:
            return _alias(name, scope, depth)
        name = scope.imported.get(name, name)
    if name in scope.enums:
        _choices(hint, [(value, label_of(member.lower())) for member, value in scope.enums[name].items()])
    elif name in scope.records:
        hint.type = "json"
        hint.format = "object" if name in scope.objects else None
    else:
        hint.name(name)
    return hint


def _alias(name: str, scope: Scope, depth: int) -> Hint:
    """Each alias is read once: one that names others many times, or itself, costs no more than its text."""
    if name not in scope.hints:
        scope.hints[name] = Hint()
        scope.hints[name] = read_hint(scope.aliases[name], scope, depth + 1)
    return copy.copy(scope.hints[name])


def _flatten(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_flatten(node.left), *_flatten(node.right)]
    return [node]


def _subscript(node: ast.Subscript, scope: Scope, depth: int) -> Hint:
    name = scope.imported.get(last_name(node.value), last_name(node.value))
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Optional":
        hint = read_hint(inner[0], scope, depth + 1)
        hint.optional = True
        return hint
    if name == "Union":
        return _union(inner, scope, depth)
    if name == "Annotated":
        return read_hint(inner[0], scope, depth + 1)
    hint = Hint()
    if name == "Literal":
        values = []
        for item in inner:
            try:
                values.append(scope.value(item))
            except NotLiteral:
                continue
        hint.optional = None in values
        _choices(hint, [(value, None) for value in values if value is not None])
        return hint
    hint.name(name)
    if name in _ITEMS and inner:
        of = read_hint(inner[0], scope, depth + 1)
        hint.items = None if of.type == "json" and not (of.format or of.options) else of.shape()
        hint.problems = of.problems
    return hint


def _union(parts: list[ast.expr], scope: Scope, depth: int) -> Hint:
    real = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is None)]
    hint = read_hint(real[0], scope, depth + 1) if real else Hint()
    if len(real) > 1:
        kinds = {read_hint(part, scope, depth + 1).type for part in real}
        hint.type = "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else "json"
        hint.options = hint.format = hint.items = None
    hint.optional = hint.optional or len(real) < len(parts)
    return hint


def _choices(hint: Hint, choices: list[tuple[Any, str | None]]) -> None:
    hint.options = []
    for value, label in choices:
        try:
            weigh(value)
        except Unfit as problem:
            hint.problems.append(str(problem))
        else:
            hint.options.append({"label": str(value) if label is None else label, "value": value})
    kinds = {type(option["value"]) for option in hint.options}
    if kinds == {int}:
        hint.type = "int"
    elif kinds in ({float}, {int, float}):
        hint.type = "float"
    elif kinds == {bool}:
        hint.type = "bool"
    elif not kinds <= {str}:
        hint.type = "json"


def last_name(node: ast.expr | None) -> str:
    """``c`` of ``a.b.c``; empty when it is something else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_context(argument: ast.arg, scope: Scope) -> bool:
    """Whether a first argument receives the context."""
    return argument.arg == "context" or _is_context_type(argument.annotation, scope, set(), 0)


def _is_context_type(node: ast.expr | None, scope: Scope, seen: set[str], depth: int) -> bool:
    if node is None or depth > 10:
        return False
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _is_context_type(ast.parse(node.value, mode="eval").body, scope, seen, depth + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return any(_is_context_type(part, scope, seen, depth + 1) for part in _flatten(node))
    if isinstance(node, ast.Subscript):
        if last_name(node.value) not in ("Optional", "Union", "Annotated"):
            return False
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return any(_is_context_type(part, scope, seen, depth + 1) for part in parts)
    name = last_name(node)
    if isinstance(node, ast.Name):
        if name in scope.aliases:
            if name in seen:
                return False
            seen.add(name)
            return _is_context_type(scope.aliases[name], scope, seen, depth + 1)
        name = scope.imported.get(name, name)
    return name in CONTEXT_TYPES


Report = Callable[[int, str], None]


def signature(
    function: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope, docstring: str, report: Report
) -> list[dict[str, Any]]:
    """The parameters that a function declares, in order, without the context; what is odd about them is reported."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults))
    if pairs and is_context(pairs[0][0], scope):
        pairs = pairs[1:]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults))
    texts = describe(docstring)
    return [_parameter(argument, default, scope, texts, report) for argument, default in pairs]


def _parameter(
    argument: ast.arg, default: ast.expr | None, scope: Scope, texts: dict[str, str], report: Report
) -> dict[str, Any]:
    hint = read_hint(argument.annotation, scope)
    for problem in hint.problems:
        report(argument.lineno, f"a choice of `{argument.arg}` {problem}; it is left out")
    value = None
    if default is not None:
        try:
            value = scope.value(default)
            weigh(value)
        except NotLiteral:
            value = None  # computed when the function is called
        except Unfit as problem:
            report(default.lineno, f"the default of `{argument.arg}` {problem}; it is not shown")
            value = None
    return {
        "name": argument.arg,
        "type": hint.type,
        "required": default is None and not hint.optional,
        "label": label_of(argument.arg),
        "data_provider": None,
        "default_value": value,
        "options": hint.options,
        "format": hint.format,
        "items": hint.items,
        "help_text": None,
        "validation": None,
        "description": texts.get(argument.arg),
    }


def describe(docstring: str) -> dict[str, str]:
    """What a docstring says of each argument (``Args:`` sections and ``:param name:``)."""
    found: dict[str, str] = {}
    inside = False
    for line in docstring.splitlines():
        line = line[:_LONGEST_LINE].rstrip()
        if match := _SPHINX.match(line):
            found[match[1]] = match[2].strip()
        elif line.strip().lower() in ("args:", "arguments:", "parameters:"):
            inside = True
        elif inside and line.strip() and not line[:1].isspace():
            inside = False
        elif inside and (match := _GOOGLE.match(line)):
            found.setdefault(match[1], match[2].strip())
    return found
