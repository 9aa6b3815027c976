"""Departments of the customer, as choices for a form."""

import csv
import io

from bifrost import data_provider, files


@data_provider(name="departments", category="People", cache_ttl_seconds=600)
async def departments():
    """Departments that a user can be put into."""
    rows = csv.DictReader(io.StringIO(await files.read("people/departments.csv")))
    return [
        {"label": row["name"], "value": row["code"], "metadata": {"manager": row["manager"], "groups": row["groups"].split(";")}}
        for row in rows
    ]
