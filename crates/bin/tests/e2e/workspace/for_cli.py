"""Workflows whose output is hard to show."""

from bifrost import context, workflow


@workflow(execution_mode="sync")
def hostile():
    """Says what would steer a terminal."""
    print("\x1b[2J\x1b]0;title\x07cleared\rover\u202e\u009b31m")
    context.log("info", "first\n2026-01-01T00:00:00.000Z ERROR     faked")
    return {"text": "\u009b31m"}


@workflow(execution_mode="sync")
def exact(numbers: list, name: str, data: dict):
    """Gives back what it got."""
    return {"numbers": numbers, "name": name, "data": data}


@workflow(execution_mode="sync")
def page(customer: str = "Ünser Kunde"):
    """Returns HTML."""
    return f"<h1>{customer}</h1>"


@workflow(execution_mode="sync")
def partly():
    """Completes with errors."""
    return {"success": False, "left": 2}


@workflow
async def steps(count: int = 3):
    """Says how far it is."""
    for number in range(count):
        context.progress(number / count, f"step {number}")
        print(f"step {number}")
    return count
