"""The walls around a run: which of them stand on this machine, and how a fresh child puts itself behind them."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from typing import Any, Callable

from . import kernel, limits as run_limits, watch

PROBE_UID = 60000
PROBE_SECONDS = 10.0
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/proc", "/sys",
    "/run/systemd/resolve", "/run/resolvconf", "/run/nscd",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts")


class Walls:
    """What was found once at start, and the folders that a run may see."""

    def __init__(self, snapshots: str | None, own: list[str]) -> None:
        self.snapshots = os.path.realpath(snapshots) if snapshots else None
        self.own = [os.path.realpath(path) for path in own]
        self.prefixes = _prefixes()
        self.landlock_version = 0
        self.namespace = -1
        self.bounds_pids = kernel.bounds_pids()
        self.found: dict[str, bool | str] = {}
        self.readable: list[kernel.Beneath] = []
        self.devices: list[kernel.Beneath] = []
        self.needed = [*self.own, *self.prefixes, *([self.snapshots] if self.snapshots else [])]
        # What lies below /tmp would be hidden by the run's own /tmp.
        self.own_tmp = not any(_inside(path, "/tmp") for path in self.needed)

    def probe(self) -> dict[str, bool | str]:
        """Tries every wall in a process that is thrown away: ``True``, or why it does not stand."""
        try:
            self.namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.namespace = -1
        found = self.found
        found["pid_namespace"] = attempt(self._try_pid_namespace)
        found["mount_namespace"] = (
            attempt(self._try_mount_namespace)
            if found["pid_namespace"] is True
            else "needs a PID namespace of the run's own"
        )
        found["own_uid"] = attempt(self._try_uid)
        found["landlock"] = attempt(self._try_landlock)
        found["no_new_privs"] = attempt(kernel.no_new_privileges)
        found["memory_limit"] = attempt(_try_memory)
        found["memory_sum"] = attempt(lambda: _try_memory_sum(found["own_uid"] is True))
        found["signals"] = attempt(self._try_signals)
        if found["landlock"] is True:
            self.landlock_version = kernel.landlock_version()
            hidden = os.path.dirname(self.snapshots) if self.snapshots else None
            folders = [*_SYSTEM, *self.prefixes]
            readable = [path for folder in folders for path in _around(folder, hidden)] + self.own
            if self.snapshots:
                readable.append(self.snapshots)
            existing = _outermost([path for path in readable if os.path.exists(path)])
            self.readable = [kernel.beneath(path, kernel.READ) for path in existing]
            self.devices = [kernel.beneath(path, kernel.WRITE) for path in _DEVICES if os.path.exists(path)]
        return found

    def before_fork(self) -> None:
        """The next fork's child is the first process of a PID namespace; the caller stays where it is."""
        if self.found.get("pid_namespace") is True:
            kernel.setns(self.namespace, kernel.CLONE_NEWPID)
            kernel.unshare(kernel.CLONE_NEWPID)

    def after_fork(self) -> None:
        """Back to the own namespace: a fork into one whose first process has ended would fail."""
        if self.found.get("pid_namespace") is True:
            kernel.setns(self.namespace, kernel.CLONE_NEWPID)

    def enter(
        self, temp: str, uid: int | None, limits: dict[str, Any], user_has: int, alive: Callable[[], bool]
    ) -> None:
        """Puts this fresh child behind the walls. The order matters (docs/worker-protocol.md)."""
        kernel.prefer_to_kill()
        run_limits.apply(limits, user_has if uid is None else None)
        writable = [temp]
        if self.found.get("mount_namespace") is True:
            kernel.private_mounts()
            if uid is None and self.bounds_pids and limits.get("processes"):
                _bound_pids(int(limits["processes"]))
            if self.own_tmp and not _inside(temp, "/tmp"):
                kernel.bind(temp, "/tmp")
                writable.append("/tmp")
            try:
                kernel.small_tmpfs("/dev/shm")
                writable.append("/dev/shm")
            except OSError:
                pass  # without it only multiprocessing's semaphores are missing
        if uid is not None:
            become(uid)
        # Only a change from root takes them away, and the worker may be another user that was given some.
        kernel.drop_capabilities()
        kernel.die_with_parent(signal.SIGKILL)
        if not alive():
            os._exit(0)
        if uid is not None:
            # The change of user made the process undumpable, which hides its own /proc/self from it.
            kernel.set_dumpable(True)
        if self.found.get("no_new_privs") is True:
            kernel.no_new_privileges()
        if self.landlock_version:
            own = [kernel.beneath(path, kernel.WRITE) for path in writable]
            kernel.landlock([*self.readable, *self.devices, *own], self.landlock_version)

    def _try_pid_namespace(self) -> None:
        if self.namespace < 0:
            raise OSError("/proc/self/ns/pid cannot be opened")
        kernel.setns(self.namespace, kernel.CLONE_NEWPID)
        kernel.unshare(kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if os.getpid() == 1 else 1)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
            raise OSError("a child is not the first process of its namespace")

    def _try_mount_namespace(self) -> None:
        kernel.unshare(kernel.CLONE_NEWPID)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                kernel.private_mounts()
                if not os.path.exists("/proc/1") or len([x for x in os.listdir("/proc") if x.isdigit()]) != 1:
                    raise OSError("/proc shows other processes")
            except BaseException as error:
                os.write(writer, _reason(error))
            os._exit(0)
        os.close(writer)
        reason = os.read(reader, 4096)
        os.waitpid(pid, 0)
        if reason:
            raise OSError(reason.decode("utf-8", "replace"))

    def _try_signals(self) -> None:
        if self.found["pid_namespace"] is not True and (
            self.found["landlock"] is not True or kernel.landlock_version() < kernel.LANDLOCK_SCOPES
        ):
            raise OSError("needs a PID namespace or landlock 6 (Linux 6.12)")

    def _try_uid(self) -> None:
        missing = kernel.missing_capabilities()
        if missing:
            raise OSError(f"the worker may not change users: it has no {', '.join(missing)}")
        become(PROBE_UID)
        kernel.drop_capabilities()
        for path in self.needed:
            try:
                if os.path.exists(path) or not os.access(os.path.dirname(path), os.X_OK):
                    os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
            except OSError as error:
                raise OSError(f"other users may not read {path} ({error.strerror})") from None

    def _try_landlock(self) -> None:
        if self.snapshots is None:
            raise OSError("the zygote was not told where the snapshots are (--snapshots)")
        version = kernel.landlock_version()
        kernel.no_new_privileges()
        kernel.landlock([kernel.beneath("/usr", kernel.READ)], version)
        try:
            os.listdir("/etc")
        except PermissionError:
            return
        raise OSError("a forbidden folder can still be listed")


def become(uid: int) -> None:
    """Gives up every group and user but ``uid``."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _bound_pids(most: int) -> None:
    """A lid above the limit, which the zygote enforces by looking: a family does not grow past it while nobody looks."""
    try:
        kernel.bound_pids(most)
    except OSError:
        pass  # a /proc/sys that may not be written: what is left is the look


def attempt(action: Callable[[], Any]) -> bool | str:
    """Runs ``action`` in a throw-away child: ``True``, or the reason why it failed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            action()
            os.write(writer, b"+")
        except BaseException as error:
            os.write(writer, b"-" + _reason(error))
        finally:
            os._exit(0)
    os.close(writer)
    answer = b""
    deadline = time.monotonic() + PROBE_SECONDS
    while (left := deadline - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        data = os.read(reader, 4096)
        if not data:
            break
        answer += data
    os.close(reader)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if answer[:1] == b"+":
        return True
    return answer[1:].decode("utf-8", "replace") or "the attempt ended without an answer"


def _reason(error: BaseException) -> bytes:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).encode("utf-8", "replace")[:1000]


def _try_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, 256 << 20))
    try:
        bytearray(512 << 20)
    except MemoryError:
        return
    raise OSError("memory beyond the limit was given")


def _try_memory_sum(own_uid: bool) -> None:
    """Whether the memory of a run's processes can be counted together, as the zygote would have to."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if own_uid:
            become(PROBE_UID)
        kernel.set_dumpable(own_uid)
        os.write(writer, b"+")
        time.sleep(PROBE_SECONDS)
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    try:
        watch.can_share(pid)
    except PermissionError:
        raise OSError("the worker may not read what other processes use: it has no CAP_SYS_PTRACE") from None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _prefixes() -> list[str]:
    """Every folder that Python itself is made of."""
    paths = [sys.base_prefix, sys.prefix, sys.base_exec_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    paths += [path for path in sys.path if path and os.path.isdir(path)]
    return _outermost([os.path.realpath(path) for path in paths])


def _outermost(paths: list[str]) -> list[str]:
    """Each path once, without those that lie inside another one."""
    return [path for path in dict.fromkeys(paths) if not any(path != x and _inside(path, x) for x in paths)]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _around(folder: str, hidden: str | None) -> list[str]:
    """``folder``; or, when ``hidden`` lies in it, everything in it that does not lead there."""
    folder = os.path.realpath(folder)
    if hidden is None or not _inside(hidden, folder):
        return [folder]
    if hidden == folder:
        return []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [path for name in names for path in _around(os.path.join(folder, name), hidden)]
