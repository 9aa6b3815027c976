"""Certificates that end soon.

`certificates.csv` is the list that a collector keeps with `openssl x509 -enddate`; nothing is asked of the network here.
"""

import logging
import ssl
from datetime import date, datetime, timezone

from bifrost import UserError, context, param, workflow
from shared.tables import rows

logger = logging.getLogger(__name__)


@workflow(category="Security", tags=["certificates"], execution_mode="sync", schedule="30 6 * * *")
@param("hosts", help_text="Only these hosts; all when it is left out", validation={"max": 500})
@param("warn_days", label="Warn so many days ahead", validation={"min": 1, "max": 365})
def certificate_expiry(hosts: list[str] | None = None, warn_days: int = 30, reference_date: date | None = None):
    """Sort certificates into expired, ending soon and good.

    Args:
        reference_date: The day from which is counted; today when it is left out.
    """
    today = reference_date or date.today()
    known = {row["host"]: row for row in rows("security/certificates.csv")}
    unknown = [host for host in hosts or [] if host not in known]
    if unknown:
        raise UserError(f"Not in the list of certificates: {', '.join(unknown)}.")

    expired, ending, good = [], [], []
    for number, host in enumerate(hosts or known, start=1):
        row = known[host]
        not_after = datetime.fromtimestamp(ssl.cert_time_to_seconds(row["not_after"]), timezone.utc).date()
        days_left = (not_after - today).days
        found = {"host": f"{host}:{row['port']}", "customer": row["customer"], "not_after": not_after, "days_left": days_left}
        if days_left < 0:
            expired.append(found)
            logger.error("%s ended %d days ago", host, -days_left, extra=found)
        elif days_left <= warn_days:
            ending.append(found)
            logger.warning("%s ends in %d days", host, days_left, extra=found)
        else:
            good.append(found)
        context.progress(number / len(hosts or known), host)
    for group in (expired, ending, good):
        group.sort(key=lambda found: found["days_left"])
    return {"reference_date": today, "expired": expired, "ending": ending, "good": good}
