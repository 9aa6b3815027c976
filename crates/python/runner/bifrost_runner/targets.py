"""Finds the function that a call means: in a file of the snapshot, or in posted source."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import keyword
import linecache
import os
import sys
import types
from typing import Any, Callable

from bifrost import WorkflowError
from bifrost._decorators import MARK

from .posted import IN_SCOPE, KINDS, SCRIPT_FUNCTION, decorated, wrap

SCRIPT_MODULE = "__bifrost_script__"


class Target:
    """A function, and how to call it."""

    def __init__(self, function: Callable[..., Any], body_of: tuple[str, ...] | None = None) -> None:
        self.function = function
        # Of a posted body: the input keys that it takes as arguments.
        self.body_of = body_of


def enter_workspace(folder: str, before: str | None) -> None:
    """Puts the snapshot first on the path; modules of another snapshot are forgotten."""
    if sys.path[:1] == [folder]:
        return
    if before is not None:
        leave_workspace(before)
    sys.path.insert(0, folder)


def leave_workspace(folder: str) -> None:
    """Takes a snapshot off the path again, and forgets its modules."""
    sys.path[:] = [path for path in sys.path if path != folder]
    sys.path_importer_cache.pop(folder, None)
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin and origin.startswith(folder + os.sep):
            del sys.modules[name]
    from_file.cache_clear()


@functools.lru_cache(maxsize=256)
def from_file(workspace: str, path: str, function: str, workflow: str | None) -> Target:
    """The decorated function of a workspace file. Snapshots never change: what was found once is kept."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or not path.endswith(".py"):
        raise WorkflowError(f"`{path}` is not a Python file of the workspace")
    file = os.path.join(workspace, *parts)
    if not os.path.isfile(file):
        raise WorkflowError(f"the workspace has no file `{path}`")
    module = _import(workspace, file, parts)
    found = getattr(module, function, None)
    if callable(found):
        return Target(found)
    for candidate in vars(module).values():
        mark = getattr(candidate, MARK, None)
        if mark is not None and mark.name == workflow and callable(candidate):
            return Target(candidate)
    raise WorkflowError(f"`{path}` has no function `{function}`")


def _import(workspace: str, file: str, parts: list[str]) -> types.ModuleType:
    names = [*parts[:-1], parts[-1][:-3]]
    if names[-1] == "__init__" and len(names) > 1:
        names.pop()
    dotted = ".".join(names)
    plain = all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    # A file named like a standard module (email.py) must not be confused with it.
    if plain and names[0] not in sys.stdlib_module_names and _own(workspace, names[0]):
        loaded = sys.modules.get(dotted)
        if loaded is None:
            try:
                loaded = importlib.import_module(dotted)
            except ModuleNotFoundError as error:
                # A folder without __init__.py gives way to an installed package of its name.
                if error.name is None or not (dotted + ".").startswith(error.name + "."):
                    raise
        if getattr(loaded, "__file__", None) == file:
            return loaded
    name = "bifrost_workspace." + dotted
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == file:
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise WorkflowError(f"`{'/'.join(parts)}` cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _own(workspace: str, name: str) -> bool:
    loaded = sys.modules.get(name)
    if loaded is None:
        return True
    origin = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), "")
    return origin.startswith(workspace + os.sep)


def from_code(source: str, name: str, parameters: dict[str, Any]) -> Target:
    """The decorated function of posted source; without one the source itself, as the body of an async function."""
    shown = f"<{name}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[shown] = (len(source), None, lines, shown)
    tree = ast.parse(source, shown)
    module = types.ModuleType(SCRIPT_MODULE)
    module.__file__ = shown
    sys.modules[SCRIPT_MODULE] = module
    if any(decorated(node) for node in tree.body):
        exec(compile(tree, shown, "exec", dont_inherit=True), module.__dict__)
        for kind in KINDS:
            for value in vars(module).values():
                mark = getattr(value, MARK, None)
                if mark is not None and mark.kind == kind and getattr(value, "__module__", None) == SCRIPT_MODULE:
                    return Target(value)
    keys = tuple(
        key for key in parameters if key.isidentifier() and not keyword.iskeyword(key) and key not in IN_SCOPE
    )
    exec(compile(wrap(tree, (*IN_SCOPE, *keys)), shown, "exec", dont_inherit=True), module.__dict__)
    function = getattr(module, SCRIPT_FUNCTION)
    if inspect.isasyncgenfunction(function):
        raise WorkflowError("the code uses `yield` outside a function: use `return`")
    return Target(function, keys)
