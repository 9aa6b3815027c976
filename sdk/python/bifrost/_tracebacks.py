"""Tracebacks as a workflow's author knows the code: own files by their workspace path, no frames of the platform."""

from __future__ import annotations

import os
import traceback

from ._json import clean_text

MAX_TRACEBACK = 131_072
_ASYNCIO = os.path.dirname(os.path.abspath(__import__("asyncio").__file__)) + os.sep
_hidden: list[str] = []


def hide(folder: str) -> None:
    """Leaves out frames of files below ``folder`` from now on."""
    _hidden.append(folder.rstrip(os.sep) + os.sep)


def format_error(error: BaseException, workspace: str | None) -> str:
    """The whole traceback as text."""
    try:
        told = traceback.TracebackException.from_exception(error, compact=True)
        _own_frames(told, 0)
        text = "".join(told.format()).rstrip()
    except Exception:
        text = "".join(traceback.format_exception_only(type(error), error)).rstrip()
    return clean_text(cut(shorten(text, workspace), MAX_TRACEBACK))


def shorten(text: str, workspace: str | None) -> str:
    """``text`` with the files of the workspace under the names that their author knows."""
    return text.replace(workspace + os.sep, "") if workspace else text


def cut(text: str, most: int) -> str:
    """``text`` without its middle when it is longer than ``most``."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… [{len(text) - 2 * half} characters left out]\n{text[-half:]}"


def _own_frames(told: traceback.TracebackException, depth: int) -> None:
    kept = [frame for frame in told.stack if not _is_ours(frame.filename)]
    while kept and kept[0].filename.startswith(_ASYNCIO):
        kept.pop(0)
    told.stack[:] = kept
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if other is not None and depth < 50:
            _own_frames(other, depth + 1)


def _is_ours(filename: str) -> bool:
    return filename.startswith((*_hidden, "<frozen importlib")) or filename.endswith(
        (f"importlib{os.sep}__init__.py", f"concurrent{os.sep}futures{os.sep}thread.py")
    )
