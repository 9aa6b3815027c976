"""What to do about a disk that is filling up.

Style A in a plain `def`: the context is the first argument, `@param` describes the others, and what only a hint says (`role`) is
read from the signature. `UserError` is for what the person can mend; its text is shown to everybody. `isolation="reuse"` keeps
the process for the next alert: alerts come in swarms.
"""

import logging
from typing import Literal

from bifrost import UserError, param, workflow

logger = logging.getLogger(__name__)

GIB = 1024**3


@workflow(name="triage_disk_space", category="Infrastructure", tags=["monitoring"], execution_mode="sync", isolation="reuse")
@param("host", "string", required=True, label="Server", validation={"pattern": r"^[A-Za-z0-9.-]+$", "message": "must be a host's name"})
@param("used_bytes", "int", required=True, validation={"min": 0})
@param("total_bytes", "int", required=True, validation={"min": 1})
def triage_disk_space(context, host, used_bytes, total_bytes, role: Literal["file", "database", "terminal"] = "file"):
    """Turn a monitoring alert into a decision."""
    if used_bytes > total_bytes:
        raise UserError(f"The alert for {host} makes no sense: {used_bytes} of {total_bytes} bytes are used.")
    percent = round(100 * used_bytes / total_bytes, 1)
    free = total_bytes - used_bytes
    print(f"{host}: {percent} % used, {free / GIB:.1f} GiB free")

    if percent < 80:
        decision, priority = "nothing to do", None
    elif role == "database":
        decision, priority = "check log truncation and back-ups before anything is deleted", "high"
    elif percent < 95:
        decision, priority = "clean temporary files and old profiles", "normal"
    else:
        decision, priority = "extend the volume", "urgent"
    if priority == "urgent":
        logger.error("%s is almost full", host, extra={"percent": percent})
    elif priority:
        logger.warning("%s needs attention", host, extra={"percent": percent})
    return {
        "host": host,
        "percent_used": percent,
        "free_gib": round(free / GIB, 1),
        "decision": decision,
        "priority": priority,
        "asked_by": context.name,
    }
