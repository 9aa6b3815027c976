"""Workflows in the newer style: parameters from the signature."""

import asyncio
import ctypes
import socket
import subprocess

from bifrost import UserError, context, workflow


@workflow(execution_mode="sync", category="Basics", tags=["first"])
def add(a: int, b: int = 2):
    """Adds two numbers."""
    print(f"adding {a} and {b}")
    return {"sum": a + b}


@workflow
async def count(lines: int = 10, pause: float = 0.0):
    """Says a number of lines."""
    for number in range(1, lines + 1):
        print(f"line {number}")
        await asyncio.sleep(pause)
    return {"lines": lines}


@workflow
async def stay(mark: str, seconds: float = 60.0):
    """Runs for a while, with a process of its own beside it; both can be found by `mark`."""
    ctypes.CDLL(None).prctl(15, mark[:15].encode(), 0, 0, 0)
    child = subprocess.Popen([mark, str(int(seconds) + 60)], executable="/bin/sleep")
    print("started")
    rounds = 0
    while rounds * 0.1 < seconds:
        rounds += 1
        print(f"round {rounds}")
        await asyncio.sleep(0.1)
    child.kill()
    return {"rounds": rounds}


@workflow
async def deaf(mark: str):
    """Does not let itself be cancelled."""
    import signal
    import time

    ctypes.CDLL(None).prctl(15, mark[:15].encode(), 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([mark, "600"], executable="/bin/sleep", start_new_session=True)
    print("started")
    while True:
        try:
            time.sleep(0.1)
        except BaseException:  # what a careless author writes
            pass


@workflow
def knock(port: int, word: str):
    """Leaves a trace outside: one connection with one word."""
    print(word)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(word.encode())
    return word


@workflow(execution_mode="sync")
def who():
    """Says who runs it and where."""
    organization = context.organization
    return {"email": context.email, "scope": context.scope, "organization": organization and organization.name}


@workflow(execution_mode="sync")
def refuse():
    """Ends with a message for everybody."""
    raise UserError("the customer has no mailbox")
