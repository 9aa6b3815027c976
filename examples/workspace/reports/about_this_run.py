"""What a run knows about itself and may reach: the first thing to start when something looks wrong in an organization."""

import logging

from bifrost import config, context, files, workflow

logger = logging.getLogger(__name__)


@workflow(category="Reports", tags=["diagnosis"], execution_mode="sync")
async def about_this_run(**anything):
    """Show who runs this where, which settings it sees and which files it reads."""
    organization = context.organization
    settings = await config.list()
    # Names only: what is secret reads as `[SECRET]` in the list, and values are nobody's business here.
    logger.info("%d settings, in scope %s", len(settings), context.scope, extra={"settings": sorted(settings)})
    folders = [name.rstrip("/") for name in await files.list() if name.endswith("/")]
    await files.write("proof.txt", f"written by {context.execution_id}", location="temp")
    proof = await files.read("proof.txt", location="temp")
    return {
        "execution_id": context.execution_id,
        "workflow": context.workflow_name,
        "attempt": context.attempt,
        "user": {"email": context.email, "name": context.name, "is_platform_admin": context.is_platform_admin},
        "organization": {"id": organization.id, "name": organization.name} if organization else None,
        "scope": context.scope,
        "settings": sorted(settings),
        "folders": folders,
        "can_write": proof.endswith(context.execution_id),
        "input": anything,
    }
