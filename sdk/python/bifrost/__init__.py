"""Write workflows in plain Python and run them on Bifrost.

Two styles are accepted side by side: the context as first argument (style A), or ``from bifrost import context`` with
awaited modules (style B). See README.md.
"""

from . import config, files
from ._context import Caller, ExecutionContext, Organization, OrganizationContext, context
from ._decorators import data_provider, param, tool, workflow
from ._errors import ConfigurationError, IntegrationError, UserError, ValidationError, WorkflowError
from ._models import (
    ConfigType,
    ExecutionStatus,
    Form,
    FormFieldType,
    IntegrationType,
    OAuthCredentials,
    Role,
)
from ._results import Record

__version__ = "0.1.0"

__all__ = [
    "Caller",
    "ConfigType",
    "ConfigurationError",
    "ExecutionContext",
    "ExecutionStatus",
    "Form",
    "FormFieldType",
    "IntegrationError",
    "IntegrationType",
    "OAuthCredentials",
    "Organization",
    "OrganizationContext",
    "Record",
    "Role",
    "UserError",
    "ValidationError",
    "WorkflowError",
    "config",
    "context",
    "data_provider",
    "files",
    "param",
    "tool",
    "workflow",
]
