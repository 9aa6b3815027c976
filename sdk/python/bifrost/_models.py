"""Enumerations and objects that the modules hand out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class ExecutionStatus(str, Enum):
    """Where a run stands."""

    SCHEDULED = "Scheduled"
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESS = "Success"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    FAILED = "Failed"
    TIMEOUT = "Timeout"
    CANCELLING = "Cancelling"
    CANCELLED = "Cancelled"


class ConfigType(str, Enum):
    """Type of a setting's value."""

    STRING = "string"
    INT = "int"
    BOOL = "bool"
    JSON = "json"
    SECRET = "secret"


class FormFieldType(str, Enum):
    """Kind of a form's field."""

    TEXT = "text"
    EMAIL = "email"
    NUMBER = "number"
    SELECT = "select"
    CHECKBOX = "checkbox"
    TEXTAREA = "textarea"
    RADIO = "radio"
    DATETIME = "datetime"
    DATE = "date"
    MARKDOWN = "markdown"
    HTML = "html"
    FILE = "file"
    MULTI_SELECT = "multi_select"


class IntegrationType(str, Enum):
    """A kind of system that workflows talk to."""

    MSGRAPH = "msgraph"
    HALOPSA = "halopsa"


class _Fields:
    """Attributes that can also be read with brackets."""

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except (AttributeError, TypeError):
            raise KeyError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute, or ``default`` when there is none of that name."""
        return getattr(self, name, default)


@dataclass
class OAuthCredentials(_Fields):
    """A connection's client and tokens. ``repr`` shows no secret."""

    connection_name: str
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    authorization_url: str | None = None
    token_url: str | None = None
    scopes: list[str] = field(default_factory=list)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: str | None = None

    def get_auth_header(self) -> str:
        """The value of an ``Authorization`` header."""
        return f"Bearer {self.access_token}"


@dataclass
class Role(_Fields):
    """A role that users and forms are assigned to."""

    id: str
    name: str
    description: str | None = None
    permissions: Any = None
    is_active: bool = True


@dataclass
class Form(_Fields):
    """A form that starts a workflow."""

    id: str
    name: str
    description: str | None = None
    workflow_id: str | None = None
    form_schema: Any = None
    is_active: bool = True
