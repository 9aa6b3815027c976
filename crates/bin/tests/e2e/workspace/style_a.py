"""A workflow in the older style: context first, parameters declared."""

from bifrost import ExecutionContext, param, workflow


@workflow("greet", "Greets somebody", category="People", execution_mode="sync")
@param("name", "string", label="Who", required=True)
@param("times", "int", default_value=1)
async def greet(context: ExecutionContext, name: str, times: int):
    for _ in range(times):
        context.log("info", f"hello {name}")
    return {"greeted": name, "times": times, "by": context.email}
