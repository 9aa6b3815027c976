"""A new colleague: mailbox, groups, licence, device, letter.

Style B: parameters come from the signature, the context is imported, `files` is awaited. Each step is a line of the log with its
details as metadata; progress and variables can be watched while it runs.
"""

import asyncio
import csv
import io
import logging
import re
from datetime import date
from enum import Enum

from bifrost import UserError, context, files, param, workflow

logger = logging.getLogger(__name__)

SECONDS_PER_STEP = 0.2


class Licence(str, Enum):
    BUSINESS_BASIC = "business_basic"
    BUSINESS_PREMIUM = "business_premium"
    FRONTLINE = "frontline"


@workflow(category="People", tags=["onboarding", "microsoft-365"], timeout_seconds=300, time_saved=45)
@param("email", "email", label="E-mail address", required=True, help_text="name@customer-domain")
@param("full_name", required=True, validation={"pattern": r"\w", "max": 200, "message": "must be a name of 1 to 200 characters"})
@param("department", required=True, data_provider="departments")
@param("manager", data_provider="managers", help_text="The department's own manager when it is left out")
async def onboard_user(
    email: str,
    full_name: str,
    department: str,
    manager: str | None = None,
    licence: Licence = Licence.BUSINESS_BASIC,
    needs_laptop: bool = True,
    start_date: date | None = None,
):
    """Prepare everything that a new colleague needs on the first day.

    Args:
        email: Address of the new mailbox.
        full_name: Name as it appears in the address book.
        department: Decides the groups.
        manager: Who is told about it.
        licence: Which licence is assigned.
        needs_laptop: Whether a device is ordered.
        start_date: First working day; today when it is left out.
    """
    known = {row["code"]: row for row in csv.DictReader(io.StringIO(await files.read("people/departments.csv")))}
    if department not in known:
        raise UserError(f"There is no department `{department}`. Known are: {', '.join(sorted(known))}.")
    alias = mailbox_alias(full_name)
    groups = known[department]["groups"].split(";")
    manager = manager or known[department]["manager"]
    begins = start_date or date.today()

    steps = [
        ("create the mailbox", {"mailbox": email, "alias": alias}),
        *((f"add to the group {group}", {"group": group}) for group in groups),
        (f"assign the licence {licence.value}", {"licence": licence.value}),
    ]
    if needs_laptop:
        steps.append(("order a laptop", {"model": "standard", "deliver_to": manager}))
    steps.append((f"tell {manager}", {"recipient": manager}))

    completed = []
    for number, (step, details) in enumerate(steps, start=1):
        context.progress((number - 1) / len(steps), step)
        logger.info("%d/%d %s", number, len(steps), step, extra=details)
        await asyncio.sleep(SECONDS_PER_STEP)
        completed.append(step)
    context.progress(1.0, "done")
    context.roi.time_saved = 45

    print(f"{full_name} can start on {begins:%d %B %Y}")
    return {
        "email": email,
        "alias": alias,
        "manager": manager,
        "groups": groups,
        "start_date": begins,
        "steps": completed,
        "requested_by": context.executed_by_email,
    }


def mailbox_alias(full_name: str) -> str:
    """`Ada Byron King` becomes `ada.king`."""
    words = re.findall(r"\w+", full_name.lower())
    if not words:
        raise UserError("The name has no letters.")
    return words[0] if len(words) == 1 else f"{words[0]}.{words[-1]}"
