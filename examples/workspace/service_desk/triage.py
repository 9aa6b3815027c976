"""Puts tickets in order. Each ticket is a dataclass: what is posted as a JSON object arrives as `Ticket`, checked."""

import logging
from dataclasses import dataclass
from enum import Enum

from bifrost import UserError, param, workflow
from shared.tables import document

logger = logging.getLogger(__name__)


class Priority(Enum):
    URGENT = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4


MINUTES_TO_ANSWER = {Priority.URGENT: 15, Priority.HIGH: 60, Priority.NORMAL: 480, Priority.LOW: 2400}
SECURITY = ("suspicious", "phishing", "malware", "ransom", "clicked")
OUTAGE = ("nobody can", "down", "outage", "offline")
WISH = ("please", "request", "install", "new ")


@dataclass
class Ticket:
    number: int
    subject: str
    customer: str = ""
    affected: int = 1
    minutes_open: int = 0

    def __post_init__(self):
        if not self.subject.strip():
            raise UserError(f"Ticket {self.number} has no subject.")

    def priority(self) -> Priority:
        """By what it is about and how many it keeps from working."""
        words = self.subject.lower()
        if any(word in words for word in SECURITY) or (self.affected >= 10 and any(word in words for word in OUTAGE)):
            return Priority.URGENT
        if self.affected >= 5:
            return Priority.HIGH
        return Priority.LOW if any(word in words for word in WISH) else Priority.NORMAL


@workflow(category="Service desk", tags=["tickets"], execution_mode="sync", is_tool=True)
@param("tickets", help_text="The open tickets on file when it is left out", validation={"max": 1000})
@param("lowest", label="Down to")
def triage_tickets(tickets: list[Ticket] | None = None, lowest: Priority = Priority.LOW):
    """Sort tickets by priority and say which are late."""
    if tickets is None:
        tickets = [Ticket(**ticket) for ticket in document("service_desk/tickets.json")]
    queue = []
    for ticket in sorted(tickets, key=lambda ticket: (ticket.priority().value, -ticket.minutes_open)):
        priority = ticket.priority()
        if priority.value > lowest.value:
            continue
        is_late = ticket.minutes_open > MINUTES_TO_ANSWER[priority]
        logger.log(
            logging.WARNING if is_late else logging.INFO,
            "#%d %s: %s",
            ticket.number,
            priority.name.lower(),
            ticket.subject,
            extra={"customer": ticket.customer, "minutes_open": ticket.minutes_open},
        )
        queue.append({"number": ticket.number, "priority": priority.name.lower(), "is_late": is_late})
    return {"queue": queue, "late": sum(entry["is_late"] for entry in queue)}
