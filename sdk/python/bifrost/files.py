"""Files of the workspace, uploads, and the run's own temporary folder.

Every function may be called with or without ``await``. ``location`` is ``workspace``, ``uploads`` or ``temp``; the last is
a folder of this run alone and is read and written here, without asking the platform.
"""

from __future__ import annotations

import base64
import os
import tempfile
from typing import Any

from . import _transport
from ._errors import NotFoundError
from ._results import AwaitableBool, AwaitableBytes, AwaitableList, AwaitableStr, Done

LOCATIONS = ("workspace", "temp", "uploads")


def read(path: str, location: str = "workspace", *, encoding: str = "utf-8") -> AwaitableStr:
    """The file's text."""
    return AwaitableStr(_read(path, location).decode(encoding))


def read_bytes(path: str, location: str = "workspace") -> AwaitableBytes:
    """The file's bytes."""
    return AwaitableBytes(_read(path, location))


def write(path: str, content: str, location: str = "workspace", *, encoding: str = "utf-8") -> Done:
    """Writes text; folders on the way are made."""
    return _write(path, location, str(content).encode(encoding))


def write_bytes(path: str, content: bytes, location: str = "workspace") -> Done:
    """Writes bytes; folders on the way are made."""
    return _write(path, location, bytes(content))


def list(directory: str = "", location: str = "workspace") -> AwaitableList:  # noqa: A001 - the name is the contract
    """Names in a folder, sorted; folders end in ``/``."""
    path = _checked(directory, location, folder=True)
    if location == "temp":
        try:
            with os.scandir(_local(path)) as entries:
                names = [entry.name + ("/" if entry.is_dir() else "") for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"there is no folder `{path}` in temp") from None
        return AwaitableList(sorted(names))
    return AwaitableList(_ask("files.list", path, location))


def delete(path: str, location: str = "workspace") -> Done:
    """Removes a file."""
    path = _checked(path, location)
    if location == "temp":
        try:
            os.remove(_local(path))
        except FileNotFoundError:
            raise NotFoundError(f"there is no file `{path}` in temp") from None
    else:
        _ask("files.delete", path, location)
    return Done()


def exists(path: str, location: str = "workspace") -> AwaitableBool:
    """Whether there is a file or folder of that name."""
    path = _checked(path, location, folder=True)
    if location == "temp":
        return AwaitableBool(os.path.exists(_local(path)))
    return AwaitableBool(bool(_ask("files.exists", path, location)))


def _read(path: str, location: str) -> bytes:
    path = _checked(path, location)
    if location == "temp":
        try:
            with open(_local(path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise NotFoundError(f"there is no file `{path}` in temp") from None
    return base64.b64decode(_ask("files.read", path, location)["base64"])


def _write(path: str, location: str, content: bytes) -> Done:
    path = _checked(path, location)
    if location == "temp":
        target = _local(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(content)
    else:
        _ask("files.write", path, location, base64=base64.b64encode(content).decode())
    return Done()


def _ask(method: str, path: str, location: str, **more: Any) -> Any:
    params = {"path": path, "location": location, **more}
    try:
        return _transport.current(method).request(method, params)
    except _transport.NotFound as error:
        raise NotFoundError(str(error)) from None


def _checked(path: Any, location: str, folder: bool = False) -> str:
    if location not in LOCATIONS:
        raise ValueError(f"location `{location}` is not one of {', '.join(LOCATIONS)}")
    text = os.fspath(path).replace("\\", "/")
    while text.startswith("./"):
        text = text[2:]
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or "\0" in text or ".." in parts or (parts and ":" in parts[0]):
        raise ValueError(f"`{path}` leaves the {location} folder")
    if not parts and not folder:
        raise ValueError("a file name is missing")
    return "/".join(parts)


def _local(path: str) -> str:
    root = os.path.realpath(tempfile.gettempdir())
    target = os.path.realpath(os.path.join(root, path))
    if target != root and not target.startswith(root + os.sep):
        raise ValueError(f"`{path}` leaves the temp folder")
    return target
