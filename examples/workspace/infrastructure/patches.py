"""How many devices have all their patches. The form's three fields depend on each other: customer, site, device."""

import logging

from bifrost import UserError, param, workflow
from shared.tables import rows

logger = logging.getLogger(__name__)


@workflow(category="Infrastructure", tags=["patching", "compliance"], execution_mode="sync")
@param("customer", required=True, data_provider="customers")
@param("site", data_provider="sites", help_text="All sites when it is left out")
@param("device", data_provider="devices", help_text="All devices when it is left out")
@param("target_percent", label="Target in percent", validation={"min": 0, "max": 100})
def patch_compliance(customer: str, site: str | None = None, device: str | None = None, target_percent: float = 95.0):
    """Summarise which devices lack patches."""
    devices = [
        row
        for row in rows("customers/devices.csv")
        if row["customer"] == customer and site in (None, row["site"]) and device in (None, row["host"])
    ]
    if not devices:
        raise UserError(f"There is no such device: customer {customer}, site {site or 'any'}, device {device or 'any'}.")

    behind = [row for row in devices if int(row["missing_patches"]) > 0]
    for row in behind:
        level = logging.ERROR if int(row["critical_patches"]) else logging.WARNING
        logger.log(level, "%s lacks %s patches", row["host"], row["missing_patches"], extra=row)
    percent = round(100 * (len(devices) - len(behind)) / len(devices), 1)
    print(f"{percent} % of {len(devices)} devices are complete, the target is {target_percent:g} %")
    return {
        "devices": len(devices),
        "complete": len(devices) - len(behind),
        "percent": percent,
        "on_target": percent >= target_percent,
        "missing": {row["host"]: int(row["missing_patches"]) for row in behind},
        "critical": sorted(row["host"] for row in behind if int(row["critical_patches"])),
    }
