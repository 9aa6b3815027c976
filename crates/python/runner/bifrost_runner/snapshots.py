"""Workspaces on disk: what is in them, and immutable copies of their code."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import py_compile
import shutil
import stat
import tempfile
import warnings
from typing import Any, Iterator

from .source import MAX_SOURCE, error, inspect_source, warning

MAX_FILES = 5000
MAX_FOLDERS = 20_000
MANIFESTS = ("requirements.txt", "pyproject.toml")
IGNORED = frozenset(("__pycache__", "venv", "env", "node_modules", "site-packages"))


def _walk(root: str) -> Iterator[str]:
    """Paths of code and manifests, relative with ``/``, sorted; nothing hidden, nothing that leads outside."""
    found = []
    folders = 0
    for folder, names, files in os.walk(root, followlinks=False):
        folders += 1
        if folders > MAX_FOLDERS:
            break
        names[:] = sorted(
            name for name in names if not name.startswith(".") and name not in IGNORED and _printable(name)
        )
        for name in files:
            if name.startswith(".") or not (name.endswith(".py") or name in MANIFESTS) or not _printable(name):
                continue
            full = os.path.join(folder, name)
            if os.path.islink(full) and not os.path.realpath(full).startswith(root + os.sep):
                continue
            if os.path.isfile(full):
                found.append(os.path.relpath(full, root).replace(os.sep, "/"))
    return iter(sorted(found))


def _printable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def scan(root: str) -> dict[str, Any]:
    """The report of every Python file, and the version that a snapshot of now would have."""
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        raise ValueError(f"there is no folder {root}")
    files: list[dict[str, Any]] = []
    version = hashlib.sha256()
    count = 0
    for path in _walk(root):
        is_code = path.endswith(".py")
        if is_code:
            count += 1
            if count > MAX_FILES:
                message = f"the workspace has more than {MAX_FILES} Python files: this one and later ones are not read"
                files.append({"path": path, "hash": "", "definitions": [], "issues": [error(1, message)], "imports": []})
                break
        report, digest = _file(root, path, is_code)
        if digest is not None:
            _add(version, path, digest)
        if report is not None:
            files.append(report)
    _unique(files)
    _providers(files)
    return {"files": files, "version": version.hexdigest()[:32]}


def _add(version: Any, path: str, digest: bytes) -> None:
    version.update(path.encode() + b"\0" + digest)


def _file(root: str, path: str, is_code: bool) -> tuple[dict[str, Any] | None, bytes | None]:
    report: dict[str, Any] = {"path": path, "hash": "", "definitions": [], "issues": [], "imports": []}
    try:
        with open(os.path.join(root, path), "rb") as file:
            data = file.read(MAX_SOURCE + 1)
    except OSError as problem:
        report["issues"] = [error(1, f"the file cannot be read: {problem.strerror}")]
        return (report if is_code else None), None
    digest = hashlib.sha256(data)
    report["hash"] = digest.hexdigest()
    if len(data) > MAX_SOURCE:
        report["issues"] = [error(1, "the file is larger than 1 MiB and is not read")]
        return (report if is_code else None), None
    if is_code:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            line = data[: problem.start].count(b"\n") + 1
            report["issues"] = [error(line, f"the file is not UTF-8 (byte {problem.start})")]
            return report, digest.digest()
        report.update(inspect_source(path, text))
    return (report if is_code else None), digest.digest()


def _unique(files: list[dict[str, Any]]) -> None:
    """Of two definitions with the same name the one in the later file is not used."""
    seen: dict[tuple[bool, str], str] = {}
    for report in files:
        kept = []
        for definition in report["definitions"]:
            key = (definition["kind"] == "data_provider", definition["name"])
            if key in seen:
                message = f"the name `{definition['name']}` is used in {seen[key]} already"
                report["issues"].append(error(definition["line"], message))
            else:
                seen[key] = report["path"]
                kept.append(definition)
        report["definitions"] = kept


def _providers(files: list[dict[str, Any]]) -> None:
    """Warns of a data provider that a parameter names and no file has."""
    known = {
        definition["name"] for report in files for definition in report["definitions"] if definition["kind"] == "data_provider"
    }
    for report in files:
        for definition in report["definitions"]:
            for parameter in definition["parameters"]:
                wanted = parameter["data_provider"]
                if wanted is not None and wanted not in known:
                    message = f"`{definition['name']}`: there is no data provider `{wanted}` for `{parameter['name']}`"
                    report["issues"].append(warning(definition["line"], message))


def snapshot(root: str, target: str, paths: list[str] | None) -> dict[str, Any]:
    """Copies the code to ``target/version``, at once or not at all. Files are 0444, folders 0555, byte code is made.

    ``paths`` names the Python files (all of them when it is missing); manifests always come along.
    """
    root = os.path.realpath(root)
    os.makedirs(target, exist_ok=True)
    making = tempfile.mkdtemp(prefix=".making-", dir=target)
    try:
        version = hashlib.sha256()
        count = 0
        if paths is not None:
            paths = sorted({*paths, *(path for path in _walk(root) if not path.endswith(".py"))})
        for path in paths if paths is not None else _walk(root):
            parts = path.split("/")
            if path.startswith("/") or ".." in parts or "" in parts:
                raise ValueError(f"`{path}` is not a path inside the workspace")
            count += path.endswith(".py")
            if count > MAX_FILES:
                break
            source = os.path.join(root, *parts)
            if not os.path.realpath(source).startswith(root + os.sep) or not os.path.isfile(source):
                continue
            with open(source, "rb") as file:
                data = file.read(MAX_SOURCE + 1)
            if len(data) > MAX_SOURCE:
                continue
            _add(version, path, hashlib.sha256(data).digest())
            copy = os.path.join(making, *parts)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            with open(copy, "wb") as file:
                file.write(data)
        name = version.hexdigest()[:32]
        final = os.path.join(target, name)
        if not os.path.isdir(final):
            compile_all(making, final)
            _seal(making)
            try:
                os.rename(making, final)
            except OSError:
                if not os.path.isdir(final):  # another process made the same snapshot at the same time
                    raise
        return {"version": name, "path": final}
    finally:
        _remove(making)


def compile_all(folder: str, final: str | None = None) -> int:
    """Writes byte code that is never checked against its source; a file that does not compile has none."""
    compiled = 0
    sealed = not os.stat(folder).st_mode & stat.S_IWUSR
    for path in _walk(os.path.realpath(folder)):
        if not path.endswith(".py"):
            continue
        file = os.path.join(folder, path)
        code = importlib.util.cache_from_source(file)
        if os.path.exists(code):
            continue
        if sealed:
            os.chmod(os.path.dirname(file), 0o755)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                py_compile.compile(
                    file,
                    cfile=code,
                    dfile=os.path.join(final or folder, path),
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
            compiled += 1
        except (py_compile.PyCompileError, ValueError, RecursionError, MemoryError, OverflowError, OSError):
            continue
        finally:
            if sealed:
                _seal(os.path.dirname(file))
    return compiled


def _seal(folder: str) -> None:
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.chmod(os.path.join(path, name), 0o444)
        os.chmod(path, 0o555)


def _remove(folder: str) -> None:
    if not os.path.isdir(folder):
        return
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
