"""The morning look at last night's backups. A schedule is declared; by hand it runs at any time."""

import logging
from datetime import datetime, timedelta, timezone

from bifrost import UserError, param, workflow
from shared.tables import document

logger = logging.getLogger(__name__)


@workflow(category="Infrastructure", tags=["backup", "morning"], execution_mode="sync", schedule="0 8 * * *", time_saved=20)
@param("max_age_hours", validation={"min": 1, "max": 24 * 31})
@param("jobs", help_text="Only these jobs; all when it is left out")
def check_backups(max_age_hours: int = 26, jobs: list[str] | None = None, reference: datetime | None = None):
    """Find backups that failed or are too old.

    Args:
        max_age_hours: How old the last good backup may be.
        reference: The moment from which is counted; now when it is left out.
    """
    now = reference or datetime.now(timezone.utc)
    if now.tzinfo is None:
        now = now.replace(tzinfo=timezone.utc)
    found = {job["job"]: job for job in document("infrastructure/backups.json")}
    unknown = [name for name in jobs or [] if name not in found]
    if unknown:
        raise UserError(f"There is no backup job {', '.join(unknown)}.")

    attention = {}
    for name in jobs or found:
        job = found[name]
        age = now - datetime.fromisoformat(job["finished"].replace("Z", "+00:00"))
        if job["state"] == "failed":
            attention[name] = "failed"
        elif age > timedelta(hours=max_age_hours):
            attention[name] = f"is {age.days} days old" if age.days else f"is {age.seconds // 3600} hours old"
        elif job["state"] == "warning":
            logger.warning("%s ended with a warning", name, extra=job)
    for name, why in attention.items():
        logger.error("%s %s", name, why, extra=found[name])

    checked = len(jobs or found)
    summary = {"checked": checked, "good": checked - len(attention), "attention": attention}
    if attention:
        return {"success": False, "error": f"{len(attention)} of {checked} backups need attention", **summary}
    return {"success": True, **summary}
