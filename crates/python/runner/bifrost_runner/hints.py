"""Parameters from a function's signature: types, options, defaults, descriptions."""

from __future__ import annotations

import ast
import re
from typing import Any

from .literals import NotLiteral, Scope

CONTEXT_TYPES = ("ExecutionContext", "OrganizationContext")
_NAMES = {
    "str": "string", "int": "int", "float": "float", "bool": "bool", "list": "list", "List": "list", "tuple": "list",
    "Tuple": "list", "set": "list", "Set": "list", "frozenset": "list", "FrozenSet": "list", "Sequence": "list",
    "Iterable": "list", "dict": "json", "Dict": "json", "Mapping": "json", "MutableMapping": "json", "Any": "json",
    "object": "json", "datetime": "datetime", "date": "datetime", "EmailStr": "email", "Decimal": "string", "UUID": "string",
    "bytes": "string",
}  # fmt: skip
_GOOGLE = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.+)$")
_SPHINX = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.+)$")


def label_of(name: str) -> str:
    """``user_email`` as a person reads it."""
    return " ".join(word.capitalize() for word in name.split("_") if word) or name


class Hint:
    """What an annotation says."""

    def __init__(self) -> None:
        self.type = "string"
        self.optional = False
        self.options: list[dict[str, Any]] | None = None


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
    if name in scope.enums:
        _choices(hint, [(label_of(member.lower()), value) for member, value in scope.enums[name].items()])
    elif name in scope.records:
        hint.type = "json"
    else:
        hint.type = _NAMES.get(name, "string")
    return hint


def _flatten(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_flatten(node.left), *_flatten(node.right)]
    return [node]


def _subscript(node: ast.Subscript, scope: Scope, depth: int) -> Hint:
    name = last_name(node.value)
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
        _choices(hint, [(str(value), value) for value in values if value is not None])
        return hint
    hint.type = _NAMES.get(name, "string")
    return hint


def _union(parts: list[ast.expr], scope: Scope, depth: int) -> Hint:
    real = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is None)]
    hint = read_hint(real[0], scope, depth + 1) if real else Hint()
    if len(real) > 1:
        kinds = {read_hint(part, scope, depth + 1).type for part in real}
        hint.type = "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else "json"
        hint.options = None
    hint.optional = len(real) < len(parts)
    return hint


def _choices(hint: Hint, choices: list[tuple[str, Any]]) -> None:
    if choices and all(isinstance(value, int) and not isinstance(value, bool) for _, value in choices):
        hint.type = "int"
    hint.options = [{"label": label, "value": value} for label, value in choices]


def last_name(node: ast.expr | None) -> str:
    """``c`` of ``a.b.c``; empty when it is something else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_context(argument: ast.arg) -> bool:
    """Whether a first argument receives the context."""
    if argument.arg == "context":
        return True
    note = argument.annotation
    if isinstance(note, ast.Constant) and isinstance(note.value, str):
        return note.value.rpartition(".")[2].strip("'\" ") in CONTEXT_TYPES
    return last_name(note) in CONTEXT_TYPES


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope, docstring: str) -> list[dict[str, Any]]:
    """The parameters that a function declares, in order, without the context."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults))
    if pairs and is_context(pairs[0][0]):
        pairs = pairs[1:]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults))
    texts = describe(docstring)
    return [_parameter(argument, default, scope, texts) for argument, default in pairs]


def _parameter(argument: ast.arg, default: ast.expr | None, scope: Scope, texts: dict[str, str]) -> dict[str, Any]:
    hint = read_hint(argument.annotation, scope)
    value = None
    if default is not None:
        try:
            value = scope.value(default)
        except NotLiteral:
            value = None  # computed when the function is called
    return {
        "name": argument.arg,
        "type": hint.type,
        "required": default is None and not hint.optional,
        "label": label_of(argument.arg),
        "data_provider": None,
        "default_value": value,
        "options": hint.options,
        "help_text": None,
        "validation": None,
        "description": texts.get(argument.arg),
    }


def describe(docstring: str) -> dict[str, str]:
    """What a docstring says of each argument (``Args:`` sections and ``:param name:``)."""
    found: dict[str, str] = {}
    inside = False
    for line in docstring.splitlines():
        if match := _SPHINX.match(line):
            found[match[1]] = match[2].strip()
        elif line.strip().lower() in ("args:", "arguments:", "parameters:"):
            inside = True
        elif inside and line.strip() and not line[:1].isspace():
            inside = False
        elif inside and (match := _GOOGLE.match(line)):
            found.setdefault(match[1], match[2].strip())
    return found
