"""Fetches a distributor's prices through a gateway that is often overloaded: the run is tried again by its retry policy.

What is tried again is the whole function, in a fresh process; `context.attempt` counts. `retry_on` names error types exactly: a
wrong token would fail four times the same way, so `ConfigurationError` is not among them.
"""

import logging

from bifrost import ConfigurationError, IntegrationError, config, context, param, workflow
from shared.tables import rows

logger = logging.getLogger(__name__)


@workflow(
    category="Integrations",
    tags=["prices"],
    timeout_seconds=60,
    retry_policy={
        "max_attempts": 4,
        "backoff": "exponential",
        "initial_delay_seconds": 0.2,
        "max_delay_seconds": 1,
        "retry_on": ["IntegrationError"],
    },
)
@param("failing_attempts", validation={"min": 0, "max": 10})
async def sync_price_list(failing_attempts: int = 2):
    """Read the distributor's price list, however often it takes.

    Args:
        failing_attempts: How many attempts the pretended gateway refuses; from 4 on the run fails.
    """
    token = await config.get("distributor_token", default="public-demo")
    if not isinstance(token, str) or not token.strip():
        raise ConfigurationError("the setting distributor_token is empty")
    logger.info("attempt %d with the token %s", context.attempt, token)
    prices = fetch_prices(token, fails=context.attempt <= failing_attempts)
    logger.info("%d prices read in attempt %d", len(prices), context.attempt, extra={"attempt": context.attempt})
    return {"attempt": context.attempt, "prices": prices}


def fetch_prices(token: str, fails: bool) -> dict[str, float]:
    """What the gateway answers, from a file. A real one would be asked over HTTPS, with the token."""
    if fails:
        raise IntegrationError("the gateway answered 503 Service Unavailable")
    return {row["licence"]: float(row["monthly_cost"]) for row in rows("licences/licences.csv")}
