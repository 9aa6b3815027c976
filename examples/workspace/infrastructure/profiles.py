"""Clears old user profiles from a terminal server: a long job in a plain function.

A plain function runs in a thread and cannot be interrupted from outside: it looks at `context.cancelled` between two steps, and
raises `asyncio.CancelledError` to end as `Cancelled`. Whoever does not look is ended, hard, a moment later.
"""

import asyncio
import json
import logging

from bifrost import context, files, param, workflow

logger = logging.getLogger(__name__)

JOURNAL = "journal.json"


@workflow(category="Infrastructure", tags=["terminal-server"], timeout_seconds=3600)
@param("profiles", validation={"min": 1, "max": 5000})
@param("seconds_per_profile", validation={"min": 0, "max": 60})
def clean_old_profiles(host: str = "RDS01", profiles: int = 200, seconds_per_profile: float = 0.5):
    """Remove profiles that nobody has used for a year. It can be cancelled between two profiles."""
    removed = 0
    try:
        for number in range(1, profiles + 1):
            # In the run's own temporary folder: nobody else sees it, and it goes with the run.
            files.write(JOURNAL, json.dumps({"host": host, "removing": number}), location="temp")
            if context.cancelled.wait(seconds_per_profile):
                raise asyncio.CancelledError
            removed = number
            context.progress(removed / profiles, f"{removed} of {profiles} profiles on {host}")
            if removed % 50 == 0:
                logger.info("%d profiles removed", removed, extra={"host": host})
    finally:
        files.delete(JOURNAL, location="temp")
        logger.info("%s: the journal is closed after %d of %d profiles", host, removed, profiles)
    return {"host": host, "removed": removed}
