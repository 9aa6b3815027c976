"""Licences that are paid for and not used.

Style A in an `async def`: one workflow, the context first, every parameter described by `@param`, `files` called without `await`.
"""

import csv
import html
import io
import logging

from bifrost import ExecutionContext, UserError, files, param, workflow

logger = logging.getLogger(__name__)


@workflow("licence_report", "Unused licences and what they cost per month", category="Reports", tags=["licences"])
@param("customer", "string", label="Customer", help_text="Leave empty for all customers")
@param("inactive_days", "int", label="Inactive for days", default_value=30, validation={"min": 1})
@param("as_html", "bool", label="As a page", default_value=False)
async def licence_report(context: ExecutionContext, customer: str | None, inactive_days: int, as_html: bool):
    """Reads the bundled export and adds up what nobody has used."""
    rows = list(csv.DictReader(io.StringIO(files.read("licences/licences.csv"))))
    if customer:
        rows = [row for row in rows if row["customer"].lower() == customer.lower()]
        if not rows:
            raise UserError(f"The export has no customer `{customer}`.")
    unused = [row for row in rows if int(row["days_since_use"]) >= inactive_days]
    for row in unused:
        logger.info("%s: %s has not used %s", row["customer"], row["user"], row["licence"], extra=row)

    totals: dict[str, float] = {}
    for row in unused:
        totals[row["customer"]] = round(totals.get(row["customer"], 0) + float(row["monthly_cost"]), 2)
    saving = round(sum(totals.values()), 2)
    logger.info("%d of %d licences are unused, %.2f per month", len(unused), len(rows), saving)
    context.set_variable("totals", totals)

    if as_html:
        return page(unused, saving)
    return {"licences": len(rows), "unused": len(unused), "monthly_saving": saving, "by_customer": totals}


def page(rows: list[dict[str, str]], saving: float) -> str:
    """The report as a page."""
    cells = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(row[name])}</td>" for name in ("customer", "user", "licence", "days_since_use"))
        + "</tr>"
        for row in rows
    )
    head = "<tr><th>Customer</th><th>User</th><th>Licence</th><th>Days without use</th></tr>"
    return f"<h1>Unused licences</h1><p>{saving:.2f} per month could be saved.</p><table>{head}{cells}</table>"
