"""The workflow that is measured: it does nothing, so that only the platform's own share is left."""

from bifrost import workflow


@workflow(name="bench_noop", category="Bench", execution_mode="sync")
async def bench_noop(context):
    """Does nothing."""
    return None
