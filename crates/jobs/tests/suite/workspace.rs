//! The workflows that the cases run.

/// Path and text of each file.
pub(crate) const FILES: &[(&str, &str)] = &[("main.py", MAIN), ("long.py", LONG), ("odd.py", ODD)];

/// A name that the catalog has no room for: the file's own fault, and nobody else's.
const LONG: &str = r#"
from bifrost import workflow

@workflow(name="long")
async def ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff():
    return None
"#;

/// Texts that no JSON of PostgreSQL holds.
const ODD: &str = r#"
from bifrost import workflow

@workflow
async def odd(text: str = "a\x00b", half: str = "\ud800", far: float = 1e999):
    """Shows \x00 and \udfff."""
    return [len(text), len(half), far > 1]
"#;

const MAIN: &str = r#"
from bifrost import UserError, config, workflow
import asyncio, logging, os, sys, time

logger = logging.getLogger(__name__)

@workflow
async def greet(name: str = "you"):
    print(f"hello {name}")
    logger.warning("two")
    logger.debug("three")
    return {"greeting": f"hello {name}"}

@workflow
async def noop():
    return None

@workflow
async def fails():
    print("before")
    raise RuntimeError("inside ü")

@workflow
async def refuses():
    raise UserError("the licences are used up")

@workflow
async def half():
    return {"success": False, "error": "one of two"}

@workflow(timeout_seconds=1)
async def slow():
    print("begun")
    await asyncio.sleep(60)

@workflow
async def sleeps(seconds: float = 60.0):
    print("begun")
    await asyncio.sleep(seconds)
    return "woke"

@workflow
def stubborn():
    print("begun")
    while True:
        try:
            time.sleep(60)
        except BaseException:
            print("no")

@workflow
async def leaves():
    print("last words")
    os._exit(3)

@workflow
async def many(count: int = 200000):
    for index in range(count):
        print(f"line {index}")
    return count

@workflow
async def long_line(length: int = 10000000):
    print("ü" + "x" * length)
    print("after")

@workflow
async def unfit():
    return {"nan": float("nan"), "infinity": float("inf"), "nul": "a\0b", "lone": "\ud800"}

@workflow
async def itself():
    value = []
    value.append(value)
    return value

@workflow
async def strange():
    return {"set": {1}, "bytes": b"\xff\x00"}

@workflow
async def large(size: int = 3000000):
    return {"text": "ü" * size}

@workflow(retry_policy={"max_attempts": 2, "initial_delay_seconds": 0.5})
async def tries():
    attempt = await config.get("attempts", 0) + 1
    await config.set("attempts", attempt)
    print(f"attempt {attempt}")
    logger.info("still here")
    if attempt < 2:
        raise ConnectionError("not yet")
    return attempt

@workflow(retry_policy={"max_attempts": 2, "initial_delay_seconds": 0.1})
async def never():
    raise ValueError("never")

@workflow(retry_policy={"max_attempts": 5, "initial_delay_seconds": 0.1, "retry_on": ["ConnectionError"]})
async def picky():
    raise ValueError("not this one")

@workflow(retry_policy={"max_attempts": 2, "initial_delay_seconds": 0.1}, timeout_seconds=60)
async def patient(seconds: float = 0.0):
    print("begun")
    await asyncio.sleep(seconds)
    return "done"
"#;
