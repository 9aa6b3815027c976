"""Posted code without a decorated function is the body of an async function. Imports nothing of the SDK."""

from __future__ import annotations

import ast

SCRIPT_FUNCTION = "script"
IN_SCOPE = ("context", "logger", "parameters")
KINDS = ("workflow", "tool", "data_provider")


def decorated(node: ast.stmt) -> bool:
    """Whether a statement is a function that carries one of the SDK's decorators."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)
        if name in KINDS:
            return True
    return False


def wrap(tree: ast.Module, arguments: tuple[str, ...]) -> ast.Module:
    """A module whose one function has ``tree`` as its body; line numbers stay what they were."""
    outside: list[ast.stmt] = []
    body: list[ast.stmt] = []
    for node in tree.body:
        # These two are allowed at the top of a module only.
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        star = isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        (outside if future or star else body).append(node)
    wrapper = ast.parse(f"async def {SCRIPT_FUNCTION}({', '.join(arguments)}): pass")
    function = wrapper.body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    function.body = body or function.body
    return ast.Module(body=[*outside, function], type_ignores=[])
