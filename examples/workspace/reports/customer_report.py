"""The monthly page for a customer. A text that begins with a tag is shown as HTML, so whatever comes from outside is escaped."""

import html
import logging

from bifrost import UserError, context, param, workflow
from shared.tables import document, rows

logger = logging.getLogger(__name__)

STYLE = "font-family: sans-serif; border-collapse: collapse"


@workflow(category="Reports", tags=["monthly", "html"], execution_mode="sync")
@param("customer", required=True, data_provider="customers")
@param("prepared_for", help_text="The customer's contact when it is left out", validation={"max": 200})
def customer_report(customer: str, prepared_for: str | None = None) -> str:
    """Write one page about devices, certificates and tickets of a customer."""
    found = next((row for row in rows("customers/customers.csv") if row["code"] == customer), None)
    if found is None:
        raise UserError(f"There is no customer `{customer}`.")
    devices = [row for row in rows("customers/devices.csv") if row["customer"] == customer]
    certificates = [row for row in rows("security/certificates.csv") if row["customer"] == customer]
    tickets = [ticket for ticket in document("service_desk/tickets.json") if ticket["customer"] == customer]
    logger.info("%s: %d devices, %d certificates, %d tickets", customer, len(devices), len(certificates), len(tickets))
    context.set_variable("counts", {"devices": len(devices), "certificates": len(certificates), "tickets": len(tickets)})

    body = [
        tag("h1", found["name"]),
        tag("p", f"Prepared for {prepared_for or found['contact']} by {context.name}"),
        table(
            "Devices",
            ["Host", "Site", "System", "Missing patches"],
            [[row["host"], row["site"], row["system"], row["missing_patches"]] for row in devices],
        ),
        table("Certificates", ["Host", "Ends"], [[row["host"], row["not_after"]] for row in certificates]),
        table("Open tickets", ["Number", "Subject"], [[ticket["number"], ticket["subject"]] for ticket in tickets]),
    ]
    return f'<article style="{STYLE}">{"".join(body)}</article>'


def tag(name: str, text: object) -> str:
    """An element around a text, whatever the text has in it."""
    return f"<{name}>{html.escape(str(text))}</{name}>"


def table(title: str, head: list[str], lines: list[list[object]]) -> str:
    """A titled table; a sentence when it would be empty."""
    if not lines:
        return tag("h2", title) + tag("p", "None.")
    cells = ["".join(tag("td", cell) for cell in line) for line in lines]
    top = "".join(tag("th", cell) for cell in head)
    return f"{tag('h2', title)}<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"
