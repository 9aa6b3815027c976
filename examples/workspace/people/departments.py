"""Departments and their managers, as choices for a form: who may be chosen depends on the department chosen before."""

import csv
import io

from bifrost import UserError, data_provider, files


@data_provider(name="departments", category="People", cache_ttl_seconds=600)
async def departments():
    """Departments that a user can be put into."""
    table = csv.DictReader(io.StringIO(await files.read("people/departments.csv")))
    return [
        {"label": row["name"], "value": row["code"], "metadata": {"manager": row["manager"], "groups": row["groups"].split(";")}}
        for row in table
    ]


@data_provider(name="managers", category="People", cache_ttl_seconds=600)
async def managers(department: str):
    """Managers of one department."""
    table = csv.DictReader(io.StringIO(await files.read("people/staff.csv")))
    found = [row for row in table if row["department"] == department and row["is_manager"] == "yes"]
    if not found:
        raise UserError(f"Nobody manages a department `{department}`.")
    return [{"label": row["name"], "value": row["email"]} for row in found]
