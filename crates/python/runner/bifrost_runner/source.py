"""Definitions and issues of one source file, by its syntax tree alone."""

from __future__ import annotations

import ast
import inspect
import warnings
from typing import Any

from . import hints
from .literals import NotLiteral, Scope, Unfit, cleaned, weigh
from .options import (
    ENDPOINT_DEFAULTS,
    LONGEST_NAME,
    LONGEST_PATH,
    ORDERS,
    PARAM_TYPES,
    PLAIN_TEXT,
    allowed_options,
    check_name,
    check_option,
)

MAX_SOURCE = 1024 * 1024
MAX_ISSUES = 100
MAX_DEFINITIONS = 500
MAX_DECLARED = 4_000_000
LONGEST_DOCSTRING = 20_000
LONGEST_MESSAGE = 2_000
# Of these @param has to say one when the argument's hint does not admit None.
_SAYS_WHAT_IF_ABSENT = frozenset(("required", "default_value"))
_KINDS = ("workflow", "data_provider", "tool", "param")


def error(line: int, message: str) -> dict[str, Any]:
    """Something because of which a file or definition is not used."""
    return {"line": max(1, line), "message": cleaned(message[:LONGEST_MESSAGE]), "severity": "error"}


def warning(line: int, message: str) -> dict[str, Any]:
    """Something that works otherwise than written."""
    return {"line": max(1, line), "message": cleaned(message[:LONGEST_MESSAGE]), "severity": "warning"}


def issue_of(problem: BaseException) -> dict[str, Any]:
    """The issue that a failed parse is."""
    if isinstance(problem, SyntaxError):
        return error(problem.lineno or 1, f"syntax error: {problem.msg}")
    if isinstance(problem, (RecursionError, MemoryError)):
        return error(1, "the code is nested too deep to be read")
    return error(1, f"the code cannot be read: {problem}")


def inspect_source(path: str, source: str) -> dict[str, Any]:
    """``definitions``, ``issues`` and ``imports`` of a file's text."""
    empty: dict[str, Any] = {"definitions": [], "issues": [], "imports": []}
    if len(source) > MAX_SOURCE:
        return {**empty, "issues": [error(1, "the file is larger than 1 MiB and is not read")]}
    if len(path) > LONGEST_PATH:
        return {**empty, "issues": [error(1, f"the file's path has more than {LONGEST_PATH} characters")]}
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            tree = ast.parse(source, path)
            compile(tree, path, "exec", dont_inherit=True)
        file = _File(tree)
        file.issues += [warning(w.lineno or 1, str(w.message)) for w in said if w.category is SyntaxWarning]
        file.read()
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as problem:
        return {**empty, "issues": [issue_of(problem)]}
    issues = sorted(file.issues, key=lambda item: item["line"])
    if len(issues) > MAX_ISSUES:
        issues = [*issues[:MAX_ISSUES], warning(1, f"{len(issues) - MAX_ISSUES} further issues are not listed")]
    return {"definitions": file.definitions, "issues": issues, "imports": sorted(file.imports)}


class _File:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.scope = Scope(tree)
        self.definitions: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.imports: set[str] = set()
        self.names: dict[str, str] = {}  # local name to decorator
        self.modules: set[str] = set()  # local names of the package itself

    def read(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                self._import(node)
            elif isinstance(node, ast.ImportFrom):
                self._import_from(node)
        functions = list(_functions(self.tree.body))
        self._elsewhere({id(function) for function in functions})
        last = {function.name: function.lineno for function in functions}
        seen: dict[tuple[bool, str], int] = {}
        room = MAX_DECLARED
        for function in functions:
            definition = self._definition(function)
            if definition is None:
                continue
            if last[function.name] != function.lineno:
                self.issues.append(
                    error(function.lineno, f"`{function.name}` is defined again in line {last[function.name]}")
                )
                continue
            key = (definition["kind"] == "data_provider", definition["name"])
            if key in seen:
                self.issues.append(
                    error(definition["line"], f"the name `{definition['name']}` is used in line {seen[key]} already")
                )
                continue
            if len(self.definitions) >= MAX_DEFINITIONS:
                self.issues.append(error(definition["line"], f"a file may define at most {MAX_DEFINITIONS}"))
                break
            seen[key] = definition["line"]
            try:
                room -= weigh(definition, room)
            except Unfit:
                message = f"what the file declares has more than {MAX_DECLARED} characters: `{function.name}` is not used"
                self.issues.append(error(definition["line"], message))
                continue
            self.definitions.append(definition)

    def _elsewhere(self, found: set[int]) -> None:
        """Warns of decorated functions where nobody looks for them."""
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and id(node) not in found:
                for decorator in node.decorator_list:
                    if (kind := self._kind(decorator)) not in (None, "param"):
                        message = f"@{kind} on `{node.name}` is ignored: the function is not at the top of the file"
                        self.issues.append(warning(decorator.lineno, message))

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imports.add(alias.name.partition(".")[0])
            if alias.name == "bifrost" or (alias.name.startswith("bifrost.") and alias.asname is None):
                self.modules.add((alias.asname or alias.name).partition(".")[0])

    def _import_from(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        self.imports.add(node.module.partition(".")[0])
        if node.module == "bifrost" or node.module.startswith("bifrost."):
            for alias in node.names:
                if alias.name == "*":
                    self.names.update({kind: kind for kind in _KINDS})
                elif alias.name in _KINDS:
                    self.names[alias.asname or alias.name] = alias.name

    def _kind(self, decorator: ast.expr) -> str | None:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(target, ast.Name):
            return self.names.get(target.id)
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            if target.value.id in self.modules and target.attr in _KINDS:
                return target.attr
        return None

    def _definition(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Any] | None:
        kinds = [(kind, node) for node in function.decorator_list if (kind := self._kind(node))]
        marks = [(kind, node) for kind, node in kinds if kind != "param"]
        if not marks:
            if kinds:
                self.issues.append(warning(kinds[0][1].lineno, f"@param without @workflow on `{function.name}`"))
            return None
        if len(marks) > 1:
            self.issues.append(error(marks[1][1].lineno, f"`{function.name}` has more than one of @workflow, @tool …"))
            return None
        kind, mark = marks[0]
        before = sum(issue["severity"] == "error" for issue in self.issues)
        line = _yields(function)
        if line is not None and len(function.decorator_list) == len(kinds):
            self.issues.append(error(line, f"`{function.name}` uses `yield`, so that nothing of it would run: use `return`"))
        given = self._given(kind, mark, allowed_options(kind))
        docstring = self._docstring(function)
        definition = self._assemble(kind, mark, function, given, docstring)
        self._parameters(definition, function, docstring, [node for name, node in kinds if name == "param"])
        if sum(issue["severity"] == "error" for issue in self.issues) > before:
            return None
        return definition

    def _docstring(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        written = (ast.get_docstring(function, clean=True) or "")[:LONGEST_DOCSTRING]
        docstring = str(cleaned(written))
        if docstring != written:
            message = f"the docstring of `{function.name}` has a NUL or half of a surrogate pair; it is shown without"
            self.issues.append(warning(function.body[0].lineno, message))
        return docstring

    def _given(self, kind: str, node: ast.expr, allowed: dict[str, Any]) -> dict[str, Any]:
        """The options written at a decorator, checked."""
        if not isinstance(node, ast.Call):
            return {}
        pairs: list[tuple[str, ast.expr]] = []
        order = ORDERS[kind]
        for index, value in enumerate(node.args):
            if isinstance(value, ast.Starred):
                self.issues.append(error(value.lineno, f"@{kind}: `*` cannot be read without running the file"))
            elif index < len(order):
                pairs.append((order[index], value))
            else:
                self.issues.append(warning(value.lineno, f"@{kind} takes {len(order)} arguments without a name"))
        for keyword in node.keywords:
            if keyword.arg is None:
                self.issues.append(error(keyword.value.lineno, f"@{kind}: `**` cannot be read without running the file"))
            elif keyword.arg not in allowed:
                self.issues.append(
                    warning(keyword.value.lineno, f"@{kind} does not know `{keyword.arg}`; it is ignored")
                )
            else:
                pairs.append((keyword.arg, keyword.value))
        given: dict[str, Any] = {}
        for name, value in pairs:
            self._option(kind, name, value, given)
        return given

    def _option(self, kind: str, name: str, node: ast.expr, given: dict[str, Any]) -> None:
        try:
            value = self.scope.value(node)
            weigh(value)
        except (NotLiteral, Unfit) as problem:
            text = f"@{kind}: the value of `{name}` {str(problem) or 'is not a literal'}"
            if name in PLAIN_TEXT:
                self.issues.append(warning(node.lineno, text + "; it is ignored"))
            else:
                self.issues.append(error(node.lineno, text))
            return
        problem, soft = check_option(kind, name, value)
        if problem is not None:
            self.issues.append((warning if soft else error)(node.lineno, f"@{kind}: {problem}"))
            if not soft:
                return
        given[name] = value

    def _assemble(
        self,
        kind: str,
        mark: ast.expr,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        given: dict[str, Any],
        docstring: str,
    ) -> dict[str, Any]:
        lines = docstring.strip().splitlines()
        definition = {
            "kind": kind,
            **{name: (list(value) if isinstance(value, list) else value) for name, value in ENDPOINT_DEFAULTS.items()},
            **{name: value for name, value in given.items() if value is not None},
            "function": function.name,
            "line": mark.lineno,
            "is_async": isinstance(function, ast.AsyncFunctionDef),
            "docstring": inspect.cleandoc(docstring) if docstring else None,
            "parameters": [],
            "accepts_extra": function.args.kwarg is not None,
        }
        definition["name"] = given.get("name") or function.name
        definition["description"] = given.get("description") or (lines[0].strip()[:2000] if lines else None)
        definition["allowed_methods"] = [method.upper() for method in definition["allowed_methods"]]
        if kind == "data_provider":
            definition["cache_ttl_seconds"] = given.get("cache_ttl_seconds", 300)
        if kind == "tool":
            definition["is_tool"] = True
        if len(function.name) > LONGEST_NAME and given.get("name"):
            length = len(function.name)
            self.issues.append(
                error(function.lineno, f"a function's name may have {LONGEST_NAME} characters, this one has {length}")
            )
        problem = check_name(definition["name"])
        if problem is not None:
            self.issues.append(error(mark.lineno, problem))
        return definition

    def _parameters(
        self,
        definition: dict[str, Any],
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        docstring: str,
        decorators: list[ast.expr],
    ) -> None:
        def report(line: int, message: str) -> None:
            self.issues.append(warning(line, message))

        declared = {item["name"]: item for item in hints.signature(function, self.scope, docstring, report)}
        for name in declared:
            if len(name) > LONGEST_NAME:
                self.issues.append(
                    error(function.lineno, f"`{name[:20]}…`: a parameter's name may have {LONGEST_NAME} characters")
                )
        described: dict[str, dict[str, Any]] = {}
        written = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        arguments = {item.arg: item.annotation for item in written}
        for node in decorators:
            given = self._given("param", node, PARAM_TYPES)
            name = given.get("name")
            if not isinstance(name, str):
                if not any(issue["line"] == node.lineno for issue in self.issues):
                    self.issues.append(error(node.lineno, "@param needs a name"))
                continue
            if name in described:
                self.issues.append(error(node.lineno, f"@param `{name}` is given twice"))
                continue
            base = declared.get(name)
            if base is None and function.args.kwarg is None:
                self.issues.append(
                    warning(node.lineno, f"`{function.name}` has no argument `{name}`: it arrives in context.parameters")
                )
            described[name] = _merged(name, base, given)
            argument = arguments.get(name)
            if base is not None and argument is not None and base["required"] and not given.keys() & _SAYS_WHAT_IF_ABSENT:
                message = (
                    f"`{name}` is `{ast.unparse(argument)[:200]}` and not required, since @param says so without `required=True`: "
                    "it is None when it is left out"
                )
                self.issues.append(warning(node.lineno, message))
        # In the order of the signature; what only a decorator names comes last.
        definition["parameters"] = list({**declared, **described}.values())


def _merged(name: str, base: dict[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    empty = {"label": hints.label_of(name), "type": "string", "options": None, "format": None, "items": None}
    parameter = dict(base) if base else empty
    default = given.get("default_value", parameter.get("default_value"))
    if (given.get("type") or parameter["type"]) != parameter["type"]:
        parameter["format"] = parameter["items"] = None
    parameter.update(
        name=name,
        type=given.get("type") or parameter["type"],
        required=bool(given.get("required", False)),
        label=given.get("label") or parameter["label"],
        data_provider=given.get("data_provider"),
        default_value=default,
        options=_options(given["options"]) if given.get("options") else parameter["options"],
        help_text=given.get("help_text"),
        validation=given.get("validation"),
        description=given.get("description") or parameter.get("description"),
    )
    return parameter


def _options(values: list[Any]) -> list[dict[str, Any]]:
    return [
        {"label": str(item.get("label", item.get("value"))), "value": item.get("value")}
        if isinstance(item, dict)
        else {"label": str(item), "value": item}
        for item in values
    ]


def _functions(body: list[ast.stmt]) -> Any:
    """Functions at the top of a module, also below ``if`` and ``try``."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        elif isinstance(node, (ast.If, ast.Try, ast.With)) or type(node).__name__ == "TryStar":
            for part in ("body", "orelse", "finalbody"):
                yield from _functions(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _functions(handler.body)


def _yields(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int | None:
    """The first line with a ``yield`` of the function's own."""
    waiting: list[ast.AST] = list(function.body)
    lines = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            lines.append(node.lineno)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)
    return min(lines, default=None)
