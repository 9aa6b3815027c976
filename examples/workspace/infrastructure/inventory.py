"""A long sweep over many devices, which can be watched and cancelled.

A coroutine is cancelled as usual in Python: `asyncio.CancelledError` comes out of the `await` it waits in. It says what it has
found so far, and raises the error again.
"""

import asyncio
import logging
import random

from bifrost import context, param, workflow

logger = logging.getLogger(__name__)


@workflow(category="Infrastructure", tags=["inventory"], timeout_seconds=1800)
@param("devices", validation={"min": 1, "max": 10_000})
@param("seconds_per_device", validation={"min": 0, "max": 60})
async def inventory_sweep(devices: int = 120, seconds_per_device: float = 0.5):
    """Visit every device and count what runs on it. Cancel it at any time: what was found so far is logged.

    Args:
        devices: How many devices there are.
        seconds_per_device: How long one visit takes.
    """
    systems: dict[str, int] = {}
    visited = 0
    source = random.Random(7)
    try:
        for number in range(1, devices + 1):
            await asyncio.sleep(seconds_per_device)
            visited = number
            system = source.choice(["Windows 11", "Windows 10", "Windows Server 2022", "macOS 15", "Debian 12"])
            systems[system] = systems.get(system, 0) + 1
            context.progress(visited / devices, f"device {visited} of {devices}")
            if visited % 10 == 0:
                logger.info("%d of %d devices visited", visited, devices, extra={"systems": dict(systems)})
    except asyncio.CancelledError:
        logger.warning("cancelled after %d of %d devices: %s", visited, devices, systems)
        raise
    outdated = systems.get("Windows 10", 0)
    if outdated:
        logger.warning("%d devices still run Windows 10", outdated)
    return {"devices": visited, "systems": systems, "outdated": outdated}
