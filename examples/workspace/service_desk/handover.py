"""A note for the next shift, as plain text."""

from typing import Literal

from bifrost import context, workflow
from service_desk.triage import MINUTES_TO_ANSWER, Priority, Ticket
from shared.tables import document

HOURS = {"early": "06:00 to 14:00", "late": "14:00 to 22:00", "night": "22:00 to 06:00"}


@workflow(category="Service desk", tags=["tickets"], execution_mode="sync")
def shift_handover(shift: Literal["early", "late", "night"], remarks: list[str] | None = None):
    """Write the note that the next shift reads first.

    Args:
        shift: The shift that takes over.
        remarks: What else they should know, a line each.
    """
    tickets = [Ticket(**ticket) for ticket in document("service_desk/tickets.json")]
    tickets.sort(key=lambda ticket: ticket.priority().value)
    lines = [f"Handover to the {shift} shift ({HOURS[shift]}), written by {context.name}", ""]
    for ticket in tickets:
        left = MINUTES_TO_ANSWER[ticket.priority()] - ticket.minutes_open
        state = f"{left} minutes left" if left >= 0 else f"late by {-left} minutes"
        lines.append(f"#{ticket.number}  {ticket.priority().name:<7} {state:<24} {ticket.subject}")
    urgent = sum(ticket.priority() is Priority.URGENT for ticket in tickets)
    lines += ["", f"{urgent} urgent, {len(tickets)} in all", *(f"- {remark}" for remark in remarks or [])]
    return "\n".join(lines)
