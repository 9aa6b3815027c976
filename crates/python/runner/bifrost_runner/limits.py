"""The limits of one process, and the words for a run that has reached one."""

from __future__ import annotations

import errno
import resource
from typing import Any

_MIB = 1 << 20
# Kept from a run's memory until it has reached its limit: what describes that end is memory, too.
_HEADROOM = 32 * _MIB
# A user's other programs go on while a run does: so many processes and threads may they begin meanwhile.
_OTHERS = 64
_LIMITS = (
    ("open_files", resource.RLIMIT_NOFILE),
    ("cpu_seconds", resource.RLIMIT_CPU),
    ("file_size_bytes", resource.RLIMIT_FSIZE),
)
_set: dict[str, Any] = {}
_room: tuple[int, int] | None = None


def apply(limits: dict[str, Any], user_has: int | None) -> None:
    """Sets the limits that are given, never above what the worker itself has.

    The kernel counts processes per user: a run with a user of its own gets its limit here. One that shares the worker's (``user_has``
    processes and threads by now) may begin a few more than its number; the zygote ends it a moment after it has (:mod:`watch`).
    """
    global _room
    _set.update(limits)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, number in _LIMITS:
        if limits.get(name) is not None:
            _lower(number, int(limits[name]))
    processes = limits.get("processes")
    if processes is not None and user_has is None:
        _lower(resource.RLIMIT_NPROC, int(processes))
    elif processes is not None:
        soft_processes(0, user_has, int(processes))
    memory = limits.get("memory_bytes")
    if memory is not None:
        hard = _lower(resource.RLIMIT_DATA, int(memory) + _HEADROOM)
        _room = (hard, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (min(int(memory), hard), hard))


def _lower(number: int, value: int) -> int:
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(number, (value, value))
    return value


def soft_processes(pid: int, user_has: int, processes: int) -> None:
    """How many processes and threads its user may have when ``pid`` (0: the caller) begins another one."""
    hard = resource.prlimit(pid, resource.RLIMIT_NPROC)[1]
    wanted = user_has + processes + _OTHERS
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.prlimit(pid, resource.RLIMIT_NPROC, (soft, hard))


def cap_user() -> None:
    """Closes the way above :func:`soft_processes`. To be called late: what is lowered here is never raised again, while the user's other
    programs come and go."""
    processes = _set.get("processes")
    if processes is None:
        return
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            everybodys = int(file.read().split()[3].partition("/")[2])
        lid = everybodys + int(processes) + 8 * _OTHERS
        soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        hard = lid if hard == resource.RLIM_INFINITY else min(lid, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (hard if soft == resource.RLIM_INFINITY else min(soft, hard), hard))
    except (OSError, ValueError, IndexError):
        pass  # no /proc, or a limit that is lower already


def give_room() -> None:
    """The memory limit was reached: what is left of the run may take a little more, to say so."""
    try:
        if _room is not None:
            resource.setrlimit(resource.RLIMIT_DATA, _room)
    except (OSError, ValueError):
        pass  # the run has lowered it itself


def explain(error: BaseException) -> str | None:
    """What an error says about a limit of the run, for its author; ``None`` when it has another reason."""
    if isinstance(error, MemoryError):
        return f"the run needs more memory than its limit of {_memory()} (RUN_MEMORY_MB)" if _set.get("memory_bytes") else None
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return f"the run has reached its limit of {_processes()}, or its memory of {_memory()} has no room for another thread's stack"
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.EAGAIN and _comes_from_fork(error):
        return f"the run has reached its limit of {_processes()}"
    if error.errno == errno.EMFILE:
        return f"the run has reached its limit of {_set.get('open_files')} open files (RUN_OPEN_FILES)"
    if error.errno == errno.EFBIG and _set.get("file_size_bytes"):
        return f"a file of a run may have {int(_set['file_size_bytes']) // _MIB} MiB"
    return None


def _memory() -> str:
    return f"{int(_set.get('memory_bytes') or 0) // _MIB} MiB"


def _processes() -> str:
    return f"{_set.get('processes')} processes and threads (RUN_PROCESSES)"


def _comes_from_fork(error: BaseException) -> bool:
    """The same number also means that a read would have to wait."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    names = {*code.co_names, code.co_name}
    return not names.isdisjoint({"fork", "forkpty", "_fork_exec", "fork_exec", "posix_spawn", "posix_spawnp"})
