"""Errors that workflow code raises on purpose."""

from __future__ import annotations

from typing import Any


class WorkflowError(Exception):
    """A run cannot go on. Its text is for administrators."""

    # Whether the text is shown to the person who started the run.
    for_everybody = False

    def __init__(self, message: str = "", *args: Any, **details: Any) -> None:
        super().__init__(message, *args)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        # Further arguments (an error code) are kept in ``args``; the text stays what people are to read.
        return str(getattr(self, "message", self.args[0] if self.args else ""))


class UserError(WorkflowError):
    """A run cannot go on, and everybody may read why: the text is shown to the person who started it."""

    for_everybody = True


class ValidationError(WorkflowError):
    """A value that the workflow was given is not usable."""


class IntegrationError(WorkflowError):
    """Another system answered with an error, or not at all."""


class ConfigurationError(WorkflowError):
    """A setting that the workflow needs is missing or wrong."""


class NotFoundError(FileNotFoundError, ValueError):
    """A file is not there. Both a ``FileNotFoundError`` and the ``ValueError`` that every module raises for "not found"."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
