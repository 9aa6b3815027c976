"""Somebody leaves: the account is closed, and what the law or a colleague still needs is kept.

A run that did not do everything says so: `{"success": False}` ends it as `CompletedWithErrors`, with its `error` as the message.
"""

import logging
from datetime import date, timedelta

from bifrost import UserError, context, param, workflow
from shared.tables import rows

logger = logging.getLogger(__name__)


@workflow(category="People", tags=["offboarding", "microsoft-365"], execution_mode="sync", timeout_seconds=120)
@param("email", "email", label="E-mail address", required=True)
@param("keep_mailbox_days", label="Keep the mailbox for days", validation={"min": 0, "max": 365})
@param("forward_to", "email", help_text="Who gets the mail from now on; nobody when it is left out")
async def offboard_user(email: str, last_day: date, keep_mailbox_days: int = 30, forward_to: str | None = None):
    """Close the account of somebody who leaves."""
    staff = {row["email"]: row for row in rows("people/staff.csv")}
    person = staff.get(email)
    if person is None:
        raise UserError(f"Nobody has the address {email}.")
    if forward_to is not None and forward_to not in staff:
        raise UserError(f"Mail cannot go to {forward_to}: nobody has that address.")

    mailbox_until = last_day + timedelta(days=keep_mailbox_days)
    done = ["block the sign-in", "end all sessions", "take away the groups"]
    not_done = []
    if forward_to:
        done.append(f"forward mail to {forward_to}")
    if person["has_hold"] == "yes":
        # The licence keeps the mailbox alive, and the mailbox is evidence.
        not_done.append("free the licence: the mailbox is on litigation hold")
    else:
        done += ["free the licence", f"delete the mailbox on {mailbox_until}"]
    context.set_variable("checklist", {"done": done, "not_done": not_done})

    for step in done:
        logger.info("%s: %s", person["name"], step)
    for step in not_done:
        logger.warning("%s: cannot %s", person["name"], step)
    result = {"name": person["name"], "last_day": last_day, "mailbox_until": mailbox_until, "done": done, "not_done": not_done}
    if not_done:
        return {"success": False, "error": f"{len(not_done)} step needs a person: {not_done[0]}", **result}
    return {"success": True, **result}
