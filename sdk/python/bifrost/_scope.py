"""Which organization a call means."""

from __future__ import annotations

import uuid
from typing import Any

GLOBAL = "GLOBAL"


def is_scope(value: Any) -> bool:
    """Whether ``value`` names an organization (a UUID, also as ``org-{uuid}``) or ``GLOBAL``."""
    if isinstance(value, uuid.UUID):
        return True
    if not isinstance(value, str):
        return False
    if value == GLOBAL:
        return True
    try:
        uuid.UUID(value[4:] if value.startswith("org-") else value)
    except ValueError:
        return False
    return True


def pick(org_id: Any, scope: Any) -> str | None:
    """The scope on the wire; ``None`` is the run's own organization, then global."""
    chosen = scope if scope is not None else org_id
    if chosen is None:
        return None
    text = str(chosen)
    return text[4:] if text.startswith("org-") else text
