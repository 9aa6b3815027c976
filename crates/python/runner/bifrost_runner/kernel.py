"""System calls that Python's ``os`` does not offer on every supported version, through libc."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000

_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18

# Numbers of linux/capability.h, and the version of its structures that has 64 of them.
CAPABILITIES = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
_CAPABILITY_VERSION_3 = 0x20080522

_NR_CLOSE_RANGE = 436
_NR_LANDLOCK_CREATE, _NR_LANDLOCK_ADD, _NR_LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_long = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int, what: str) -> None:
    """``prctl(option, value, 0, 0, 0)``."""
    _check(_libc.prctl(option, _long(value), _long(0), _long(0), _long(0)), what)


def set_dumpable(dumpable: bool) -> None:
    """Whether others of the same user may look into this process."""
    prctl(_PR_SET_DUMPABLE, int(dumpable), "prctl(PR_SET_DUMPABLE)")


def set_child_subreaper() -> None:
    """Orphaned descendants become children of this process."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1, "prctl(PR_SET_CHILD_SUBREAPER)")


def prefer_to_kill() -> None:
    """When the machine has no memory left, this process and all that come from it go before others."""
    dumpable = _check(_libc.prctl(_PR_GET_DUMPABLE, _long(0), _long(0), _long(0), _long(0)), "prctl(PR_GET_DUMPABLE)")
    # The file of a process that is not dumpable belongs to root.
    set_dumpable(True)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # a /proc that may not be written: the kernel chooses by size alone
    finally:
        set_dumpable(dumpable == 1)


def go_first(first: bool) -> None:
    """While ``first`` this process waits for no processor that others want, where that is allowed; what it forks is scheduled as usual."""
    policy, priority = (os.SCHED_RR | os.SCHED_RESET_ON_FORK, 1) if first else (os.SCHED_OTHER, 0)
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError:
        pass  # needs CAP_SYS_NICE


def die_with_parent(signal: int) -> None:
    """``signal`` comes when the parent ends."""
    prctl(_PR_SET_PDEATHSIG, signal, "prctl(PR_SET_PDEATHSIG)")


def no_new_privileges() -> None:
    """Set-uid programs gain nothing from now on."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")


def missing_capabilities() -> list[str]:
    """Which of :data:`CAPABILITIES` are not in effect."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        effective = next((int(line.split()[1], 16) for line in file if line.startswith("CapEff:")), 0)
    return [name for name, number in CAPABILITIES.items() if not effective >> number & 1]


def drop_capabilities() -> None:
    """Gives up every capability; the ambient ones go with them."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(bytes(24))), "capset")


def unshare(flags: int) -> None:
    """Own namespaces (``os.unshare`` exists from Python 3.12 only)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Enters a namespace (``os.setns`` exists from Python 3.12 only)."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), "setns")


def close_from(first: int) -> None:
    """Closes every descriptor from ``first`` on."""
    if _syscall(_long(_NR_CLOSE_RANGE), _long(first), _long(0x7FFFFFFF), _long(0)) < 0:
        os.closerange(first, 65536)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind and kind.encode(), ctypes.c_ulong(flags), data and data.encode()
    )
    _check(result, f"mount {target}")


def private_mounts() -> None:
    """A mount namespace of our own, from which nothing leaks back, with a ``/proc`` of our own PID namespace."""
    unshare(CLONE_NEWNS)
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


# Numbers up to here are given once, to the first processes of a namespace, and never again (RESERVED_PIDS of the kernel).
_RESERVED_PIDS = 300


def bounds_pids() -> bool:
    """Whether each PID namespace has a ``pid_max`` of its own, as from Linux 6.14 on; before, a child's would be the machine's."""
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (6, 14)


def bound_pids(most: int) -> None:
    """At most ``most`` processes and threads at a time in the own PID namespace, besides those among its first 300. Needs
    :func:`bounds_pids` and a ``/proc`` of the namespace's own."""
    file = os.open("/proc/sys/kernel/pid_max", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, b"%d" % (_RESERVED_PIDS + most))
    finally:
        os.close(file)


def bind(source: str, target: str) -> None:
    """Shows the folder ``source`` at ``target``."""
    _mount(source, target, None, _MS_BIND)


def small_tmpfs(target: str) -> None:
    """An empty file system of 16 MiB in memory at ``target``."""
    _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "size=16m,mode=1777")


_FS_EXECUTE, _FS_WRITE_FILE, _FS_READ_FILE, _FS_READ_DIR = 1, 2, 4, 8
_FS_TRUNCATE, _FS_IOCTL_DEV = 1 << 14, 1 << 15
READ = _FS_EXECUTE | _FS_READ_FILE | _FS_READ_DIR
WRITE = (1 << 16) - 1
_OF_FILES = _FS_EXECUTE | _FS_WRITE_FILE | _FS_READ_FILE | _FS_TRUNCATE | _FS_IOCTL_DEV
# Access rights known to each version of landlock; a kernel refuses rights that it does not know.
_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_RULE = struct.Struct("=Qi")
# From this version on abstract sockets and signals do not leave the ruleset's processes.
LANDLOCK_SCOPES = 6
_SCOPE_ALL = 3


def landlock_version() -> int:
    """The kernel's landlock version. Raises ``OSError`` when there is none."""
    return _check(
        _syscall(_long(_NR_LANDLOCK_CREATE), None, _long(0), _long(_LANDLOCK_VERSION)), "landlock_create_ruleset"
    )


# A path, and what is allowed beneath it.
Beneath = tuple[str, int]


def beneath(path: str, access: int) -> Beneath:
    """A rule for :func:`landlock`. Whether ``path`` is a folder is asked now: a file takes fewer rights."""
    return path, access if os.path.isdir(path) else access & _OF_FILES


def landlock(rules: list[Beneath], version: int) -> None:
    """From now on this thread, and all that come from it, reach nothing but what the rules allow.

    What does not exist is passed over. ``no_new_privileges`` must have been called.
    """
    known = _KNOWN.get(version, (1 << 16) - 1)
    attributes = struct.pack("=QQQ", known, 0, _SCOPE_ALL if version >= LANDLOCK_SCOPES else 0)
    size = 24 if version >= LANDLOCK_SCOPES else 16 if version >= 4 else 8
    ruleset = _check(
        _syscall(_long(_NR_LANDLOCK_CREATE), ctypes.c_char_p(attributes), _long(size), _long(0)),
        "landlock_create_ruleset",
    )
    try:
        rule = ctypes.create_string_buffer(_RULE.size)
        add = functools.partial(_syscall, _long(_NR_LANDLOCK_ADD), _long(ruleset), _long(1), rule, _long(0))
        for path, access in rules:
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                _RULE.pack_into(rule, 0, access & known, descriptor)
                if add() < 0:
                    _check(-1, f"landlock_add_rule {path}")
            finally:
                os.close(descriptor)
        _check(_syscall(_long(_NR_LANDLOCK_RESTRICT), _long(ruleset), _long(0)), "landlock_restrict_self")
    finally:
        os.close(ruleset)
