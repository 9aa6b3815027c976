"""Who has to change a password soon.

The setting `password_max_age_days` of the customer's organization (or the global one) decides; without one it is 90. Unless it
is a dry run the notices are queued as a file among the organization's uploads.
"""

import csv
import io
import logging
from datetime import date, timedelta

from bifrost import ConfigurationError, config, files, param, workflow
from shared.tables import rows

logger = logging.getLogger(__name__)


@workflow(category="People", tags=["password"], execution_mode="sync", schedule="0 7 * * 1-5")
@param("days_ahead", help_text="Tell whose password ends within so many days", validation={"min": 1, "max": 90})
@param("dry_run", label="Only show who would be told")
async def password_expiry_notice(days_ahead: int = 14, reference_date: date | None = None, dry_run: bool = True):
    """Tell people whose password ends soon.

    Args:
        reference_date: The day from which is counted; today when it is left out.
    """
    today = reference_date or date.today()
    max_age_days = await config.get("password_max_age_days", default=90)
    if not isinstance(max_age_days, int) or max_age_days < 1:
        raise ConfigurationError(f"password_max_age_days has to be a whole number from 1 on, not {max_age_days!r}")

    notices = []
    for row in rows("people/staff.csv"):
        ends = date.fromisoformat(row["password_changed"]) + timedelta(days=max_age_days)
        days_left = (ends - today).days
        if days_left <= days_ahead:
            notices.append({"email": row["email"], "ends": ends.isoformat(), "days_left": days_left})
    notices.sort(key=lambda notice: notice["days_left"])
    for notice in notices:
        says = "has ended" if notice["days_left"] < 0 else f"ends in {notice['days_left']} days"
        logger.info("the password of %s %s", notice["email"], says, extra=notice)

    queued = None
    if notices and not dry_run:
        queued = f"notices/{today}.csv"
        await files.write(queued, as_csv(notices), location="uploads")
        logger.info("%d notices are queued in %s", len(notices), queued)
    return {"max_age_days": max_age_days, "notices": notices, "dry_run": dry_run, "queued": queued}


def as_csv(notices: list[dict]) -> str:
    """The notices as the mail gateway reads them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=["email", "ends", "days_left"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(notices)
    return text.getvalue()
