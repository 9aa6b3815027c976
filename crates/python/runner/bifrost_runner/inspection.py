"""The inspector's requests."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from . import posted, snapshots
from .source import MAX_SOURCE, error, inspect_source, issue_of


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request."""
    op = request.get("op")
    if op == "scan":
        return snapshots.scan(request["root"])
    if op == "inspect":
        report = inspect_source(request["path"], request["source"])
        return {"definitions": report["definitions"], "issues": report["issues"]}
    if op == "check_code":
        return check_code(request["source"])
    if op == "snapshot":
        return snapshots.snapshot(request["root"], request["target"], request.get("paths"))
    if op == "compile":
        return {"compiled": snapshots.compile_all(request["path"])}
    raise ValueError(f"unknown op {op!r}")


def check_code(source: str) -> dict[str, Any]:
    """What keeps posted code from running."""
    if len(source) > MAX_SOURCE:
        return {"issues": [error(1, f"the code has more than {MAX_SOURCE} characters")], "has_workflow": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, "<code>")
            has_workflow = any(posted.decorated(node) for node in tree.body)
            runnable = tree if has_workflow else posted.wrap(tree, posted.IN_SCOPE)
            compile(runnable, "<code>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as problem:
        return {"issues": [issue_of(problem)], "has_workflow": False}
    return {"issues": [], "has_workflow": has_workflow}
