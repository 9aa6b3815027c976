"""What a run uses with all its processes together.

The kernel's limits count one process (memory), or all that one user has (processes). The zygote looks at each run's family now and then,
and ends a run that is past its limits: nothing here is exact to the byte or the moment.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

PERIOD = 0.5
# How often it is asked whether many processes have begun: a run that begins them without end has doubled theirs within milliseconds.
GLANCE_PERIOD = 0.05
# So many more on the whole machine are a reason to look.
MANY = 32
# How often it is counted what the worker's user has in all.
COUNT_PERIOD = 5.0
# How long the shares of one family are read.
SHARES_SECONDS = 1.0
# Processes and threads of one family that are looked at.
MOST = 4096
# A process at its own limit gets a MemoryError, which says more than being ended: only what is clearly past it is ended here.
_SLACK = 64 << 20


def family(pid: int, enough: int = MOST) -> list[tuple[int, int]]:
    """``pid`` and all its descendants that are alive, each with its number of threads; not many more than are ``enough``.

    Whoever begins processes faster than they are listed would never be listed whole.
    """
    found: list[tuple[int, int]] = []
    threads_found = 0
    waiting = [pid]
    while waiting and threads_found <= enough:
        one = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        found.append((one, len(threads)))
        threads_found += len(threads)
        for thread in threads:
            try:
                with open(f"/proc/{one}/task/{thread}/children", "rb", buffering=0) as file:
                    waiting += map(int, file.readall().split())
            except (OSError, ValueError):
                continue
    return found


def are_too_many(members: list[tuple[int, int]], limits: dict[str, Any]) -> bool:
    """Whether a run with this family has more processes and threads than it may."""
    most = limits.get("processes")
    return most is not None and sum(threads for _, threads in members) > int(most)


def uses_too_much(members: list[tuple[int, int]], limits: dict[str, Any], crowd: Crowd) -> bool:
    """Whether a run with this family has more memory than it may."""
    most = limits.get("memory_bytes")
    return most is not None and uses_more([one for one, _ in members], int(most) + _SLACK, crowd)


def end(members: list[tuple[int, int]]) -> None:
    """Ends all of them. They are stopped before the first is ended: none of them begins another one meanwhile."""
    for which in (signal.SIGSTOP, signal.SIGKILL):
        for pid, _ in members:
            try:
                os.kill(pid, which)
            except OSError:
                continue


class Crowd:
    """How many processes and threads the machine has, of whomever."""

    def __init__(self) -> None:
        try:
            self.file = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.file = -1  # it never grows
        self.fewest = self.count()

    def count(self) -> int:
        """The number now; always the same where it cannot be read."""
        try:
            return int(os.pread(self.file, 100, 0).split()[3].partition(b"/")[2])
        except (OSError, ValueError, IndexError):
            return 0

    def has_grown(self) -> bool:
        """Whether many have begun since it was asked, and true, for the last time."""
        count = self.count()
        self.fewest = min(self.fewest, count)
        if count < self.fewest + MANY:
            return False
        self.fewest = count
        return True


def threads_of(user: int) -> int:
    """How many processes and threads a user has on this machine, as far as they can be seen."""
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}/task").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def uses_more(pids: list[int], most: int, crowd: Crowd) -> bool:
    """Whether these processes hold more memory of their own than ``most``."""
    if sum(map(_held, pids)) <= most:
        return False
    # What forked processes still share with each other was counted for each of them.
    return len(pids) == 1 or _shares_more(pids, most, crowd)


def _shares_more(pids: list[int], most: int, crowd: Crowd) -> bool:
    """Stops when many processes begin meanwhile, and after a second: what was not read is read next time."""
    end, before = time.monotonic() + SHARES_SECONDS, crowd.count()
    total = 0
    for pid in pids:
        total += _share(pid)
        if total > most:
            return True
        if crowd.count() >= before + MANY or time.monotonic() >= end:
            break
    return False


def _held(pid: int) -> int:
    return _sum(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:"))


def _share(pid: int) -> int:
    """As much of what it holds as falls to this process; 0 when this may not be read."""
    return _sum(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))


def can_share(pid: int) -> None:
    """Raises when the shares of a process cannot be read."""
    with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
        if b"Pss_Anon:" not in file.readall():
            raise OSError("the kernel does not tell what processes share (Linux 5.9 does)")


def _sum(path: str, names: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb", buffering=0) as file:
            lines = file.readall().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) for line in lines if line.startswith(names)) << 10
