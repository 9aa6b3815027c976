"""Customers, their sites, and the devices at a site: three lists for a form, each narrowed by the choice before."""

from bifrost import UserError, data_provider
from shared.tables import rows


@data_provider(name="customers", category="Customers", cache_ttl_seconds=3600)
def customers():
    """Customers by name."""
    return [
        {"label": row["name"], "value": row["code"], "metadata": {"domain": row["domain"], "contact": row["contact"]}}
        for row in sorted(rows("customers/customers.csv"), key=lambda row: row["name"])
    ]


@data_provider(name="sites", category="Customers", cache_ttl_seconds=3600)
def sites(customer: str):
    """Sites of one customer, with the number of devices there."""
    counts: dict[str, int] = {}
    for row in rows("customers/devices.csv"):
        if row["customer"] == customer:
            counts[row["site"]] = counts.get(row["site"], 0) + 1
    if not counts:
        raise UserError(f"There is no customer `{customer}` with devices.")
    return [{"label": f"{site} ({counts[site]})", "value": site} for site in sorted(counts)]


@data_provider(name="devices", category="Customers", cache_ttl_seconds=300)
def devices(customer: str, site: str | None = None):
    """Devices of one customer, at one site or at all."""
    return [
        {"label": f"{row['host']} · {row['system']}", "value": row["host"], "metadata": {"site": row["site"]}}
        for row in rows("customers/devices.csv")
        if row["customer"] == customer and site in (None, row["site"])
    ]
