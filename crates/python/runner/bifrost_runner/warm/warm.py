"""What the zygote runs before the first fork, to have walked the way of a run once (see ``ahead.walk``)."""

import logging

from bifrost import context, workflow


@workflow(name="warm", description="Does nothing")
async def warm(number: int, text: str = "x"):
    """Does nothing."""
    logging.info("line %d", number, extra={"number": number})
    print(text)
    context.progress(0.5)
    return {"number": number}
