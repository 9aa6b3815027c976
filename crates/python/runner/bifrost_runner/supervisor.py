"""The zygote's loop: forks on request, reaps, and ends every child when the worker's lease runs out."""

from __future__ import annotations

import collections
import errno
import gc
import json
import os
import platform
import select
import signal
import socket
import sys
import time
from typing import Any

from . import child, kernel, limits as run_limits, watch
from .walls import Walls

CONTROL = 3
PACKET = 65536
PROTOCOL = 1
SWEEP_SECONDS = 2.0


class Supervisor:
    """Owns the control socket and the children."""

    def __init__(self, walls: Walls, left_out: list[str]) -> None:
        self.walls = walls
        self.left_out = left_out
        self.control = socket.socket(fileno=CONTROL)
        self.control.setblocking(False)
        self.children: dict[int, int] = {}  # pid to id
        self.pids: dict[int, int] = {}  # id to pid
        self.limits: dict[int, dict[str, Any]] = {}  # by pid
        self.shared: set[int] = set()  # pids of children that share their user with the worker
        self.sizes: dict[int, int] = {}  # pid to the processes of its run when they were last looked at
        self.over: dict[int, str] = {}  # pid to the limit for which it was ended
        self.next_look = 0.0
        self.next_glance = 0.0
        self.crowd = watch.Crowd()
        self.is_first = False
        self.next_count = 0.0
        self.user_has = watch.threads_of(os.geteuid())
        self.unswept = False  # orphans were left when the time for a sweep was over
        self.outgoing: collections.deque[tuple[bytes, int | None]] = collections.deque()
        self.lease_end: float | None = None
        self.lease_lost = False
        self.own_pid = -1
        self.wake_reader, self.wake_writer = -1, -1

    def serve(self) -> None:
        """Runs until ``shutdown`` or until the control socket closes; no child is alive when it returns."""
        os.set_inheritable(CONTROL, False)
        found = self.walls.probe()
        child.clear_environment()
        kernel.set_dumpable(False)
        if found["pid_namespace"] is not True:
            kernel.set_child_subreaper()
        # The worker decides when runs end: a signal sent to the whole group must not reach them through the zygote.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.wake_reader, self.wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.own_pid = os.pidfd_open(os.getpid())
        gc.collect()
        gc.freeze()
        gc.disable()
        self.send(
            {
                "type": "ready",
                "protocol": PROTOCOL,
                "python": platform.python_version(),
                "walls": found,
                "left_out": self.left_out[:200],
            }
        )
        try:
            self.loop()
        finally:
            self.kill_all()
            self.reap_all()

    def loop(self) -> None:
        """Waits for packets, ended children and the lease."""
        poll = select.poll()
        poll.register(self.wake_reader, select.POLLIN)
        while True:
            poll.register(self.control, select.POLLIN | (select.POLLOUT if self.outgoing else 0))
            events = dict(poll.poll(self.pause()))
            if self.lease_is_over() and not self.receive():
                return
            if self.lease_is_over():
                self.lease_end = None
                self.lease_lost = True
                self.kill_all()
            if self.wake_reader in events:
                try:
                    os.read(self.wake_reader, 65536)
                except BlockingIOError:
                    pass
                self.reap()
            self.watch()
            state = events.get(CONTROL, 0)
            if state & select.POLLOUT:
                self.flush()
            if state & (select.POLLIN | select.POLLHUP | select.POLLERR) and not self.receive():
                return

    def lease_is_over(self) -> bool:
        """Whether its end is reached; a renewal may wait unread when this process had no processor for a while."""
        return self.lease_end is not None and time.monotonic() >= self.lease_end

    def pause(self) -> int | None:
        """How long nothing has to be done by itself, in milliseconds."""
        times = [] if self.lease_end is None else [self.lease_end]
        if self.children:
            times.append(self.next_look)
        if self.shared or self.is_first:
            times.append(self.next_glance)
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1) if times else None

    def watch(self) -> None:
        """Looks at the runs when it is time to, and at once when many processes have begun that only a look can bound."""
        now = time.monotonic()
        if (self.shared or self.is_first) and now >= self.next_glance:
            grown = self.crowd.has_grown()
            if grown != self.is_first:
                # Not always: what it does for every run would then hold up the runs that there are.
                kernel.go_first(grown)
                self.is_first = grown
            if grown:
                self.end_crowds()
            self.next_glance = time.monotonic() + watch.GLANCE_PERIOD
        if self.children and now >= self.next_look:
            self.look()

    def end_crowds(self) -> bool:
        """Ends the runs that have more processes than they may, and tells whether there was one."""
        found = False
        for pid in list(self.shared):
            members = watch.family(pid, int(self.limits[pid].get("processes") or watch.MOST))
            if watch.are_too_many(members, self.limits[pid]):
                self.end(pid, "processes", members)
                found = True
        return found

    def look(self) -> None:
        """Ends the runs that use more than they may, all their processes together."""
        begun = time.monotonic()
        # What grows first: whatever else is done takes the longer, the more of them there are.
        ended = self.end_crowds()
        for pid, limits in list(self.limits.items()):
            members = watch.family(pid, int(limits.get("processes") or watch.MOST))
            # To read what processes share waits for those that fork just now. A family that grows is ended for that, or grows no more.
            size, before = len(members), self.sizes.get(pid, len(members))
            self.sizes[pid] = size
            if size <= before and watch.uses_too_much(members, limits, self.crowd):
                self.end(pid, "memory", members)
            if self.shared and self.crowd.has_grown():
                ended = self.end_crowds() or ended
        if self.has_no_namespaces():
            self.thin_out()
        if self.shared and not ended and begun >= self.next_count:
            self.count_user()
        # A machine in trouble is slow to look at: the lease and the worker go first.
        now = time.monotonic()
        self.next_look = now + max(watch.PERIOD, (now - begun) * 4)

    def end(self, pid: int, over: str, members: list[tuple[int, int]]) -> None:
        """Ends a run that is past a limit."""
        self.over.setdefault(pid, over)
        if self.has_no_namespaces():
            watch.end(members)
        self.kill(self.children[pid], signal.SIGKILL)

    def count_user(self) -> None:
        """Keeps what runs without a user of their own may begin close to what the worker's user has now."""
        self.user_has = watch.threads_of(os.geteuid())
        self.next_count = time.monotonic() + watch.COUNT_PERIOD
        for pid in self.shared:
            processes = self.limits[pid].get("processes")
            try:
                if processes is not None:
                    run_limits.soft_processes(pid, self.user_has, int(processes))
            except (OSError, ValueError):
                continue  # it has ended

    def thin_out(self) -> None:
        """Ends orphans that no run can be asked about any more, when they are more than one run may have."""
        most = min((limits["processes"] for limits in self.limits.values() if limits.get("processes")), default=None)
        if self.unswept or (most is not None and len(self.orphans()) > most):
            self.sweep()

    def has_no_namespaces(self) -> bool:
        """Whether runs are not the first processes of namespaces of their own, which would end with them."""
        return self.walls.found.get("pid_namespace") is not True

    def receive(self) -> bool:
        """Handles every packet that is there; false when the worker is gone or wants an end."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.control, PACKET, 4)
            except BlockingIOError:
                return True
            except OSError:
                return False
            try:
                if not data:
                    return False
                try:
                    message = json.loads(data)
                    kind = message["type"]
                except (ValueError, KeyError, TypeError):
                    print("the worker sent a packet that is not a message", file=sys.stderr, flush=True)
                    return False
                if kind == "shutdown":
                    return False
                self.handle(kind, message, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def handle(self, kind: str, message: dict[str, Any], descriptors: list[int]) -> None:
        """One message other than ``shutdown``."""
        if kind == "lease":
            self.lease_end = int(message["until_ms"]) / 1000
            self.lease_lost = False
        elif kind == "kill":
            self.kill(message.get("id"), int(message["signal"]))
        elif kind == "fork":
            number = message["id"]
            try:
                if self.lease_lost:
                    raise RuntimeError("the worker's lease has run out")
                if number in self.pids:
                    raise RuntimeError(f"there is a child {number} already")
                if not descriptors:
                    raise RuntimeError("the run socket is missing")
                self.fork(number, message, descriptors[0])
            except Exception as error:
                self.send({"type": "fork_failed", "id": number, "message": str(error) or type(error).__name__})

    def fork(self, number: int, message: dict[str, Any], run_socket: int) -> None:
        """Starts a child and sends its pidfd."""
        temp = message["temp"]
        uid = message.get("uid")
        limits = message.get("limits") or {}
        self.walls.before_fork()
        try:
            pid = os.fork()
            if pid == 0:
                self.become_child(run_socket, temp, uid, limits)
        finally:
            self.walls.after_fork()
        self.children[pid] = number
        self.pids[number] = pid
        self.limits[pid] = limits
        if uid is None:
            self.shared.add(pid)
        self.send({"type": "forked", "id": number, "pid": pid}, os.pidfd_open(pid))

    def become_child(self, run_socket: int, temp: str, uid: int | None, limits: dict[str, Any]) -> None:
        """The fresh child: never returns."""
        try:
            self.control.detach()
            child.main(self.walls, run_socket, self.own_pid, temp, uid, limits, self.user_has)
        except BaseException as error:
            try:
                line = f"a child could not be set up: {type(error).__name__}: {error}\n"
                os.write(2, line.encode("utf-8", "replace"))
            finally:
                os._exit(71)
        os._exit(0)

    def kill(self, number: Any, which: int) -> None:
        """Sends a signal to a child that has not been reaped."""
        pid = self.pids.get(number)
        if pid is None:
            return
        os.kill(pid, which)
        if which == signal.SIGKILL:
            self.kill_session(pid)

    def kill_all(self) -> None:
        """Ends every child."""
        for number in list(self.pids):
            self.kill(number, signal.SIGKILL)

    def kill_session(self, pid: int) -> None:
        """Without a PID namespace: ends what is in the run's process group."""
        if self.has_no_namespaces():
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass

    def reap(self) -> None:
        """Reports the children that have ended."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended(pid, status, usage)

    def reap_all(self) -> None:
        """Waits for the children that were killed."""
        deadline = time.monotonic() + 5
        while self.children and time.monotonic() < deadline:
            select.select([self.wake_reader], [], [], 0.05)
            self.reap()

    def ended(self, pid: int, status: int, usage: Any) -> None:
        """One child has ended; it is reported when nothing of its run is left."""
        number = self.children.pop(pid, None)
        if number is None:
            return  # an orphan that was swept
        del self.pids[number], self.limits[pid]
        self.shared.discard(pid)
        self.sizes.pop(pid, None)
        if self.has_no_namespaces():
            self.kill_session(pid)
            self.sweep()
        code = os.waitstatus_to_exitcode(status)
        self.send(
            {
                "type": "exited",
                "id": number,
                "code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "over": self.over.pop(pid, None),
                "peak_memory_bytes": usage.ru_maxrss * 1024,
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6),
            }
        )

    def orphans(self) -> list[int]:
        """Processes that were re-parented to the zygote and belong to no session of a living child."""
        return [pid for pid in _children() if pid not in self.children and _session(pid) not in self.children]

    def sweep(self) -> None:
        """Ends orphans with all that comes from them."""
        deadline = time.monotonic() + SWEEP_SECONDS
        while orphans := self.orphans():
            if time.monotonic() >= deadline:
                break
            for orphan in orphans:
                watch.end(watch.family(orphan))
            time.sleep(0.001)
            for orphan in orphans:
                try:
                    os.waitpid(orphan, os.WNOHANG)
                except OSError:
                    pass
        self.unswept = bool(orphans)

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Queues a packet, and the descriptor that goes with it (closed once it is sent)."""
        self.outgoing.append((json.dumps(message).encode(), descriptor))
        self.flush()

    def flush(self) -> None:
        """Sends what the socket takes. The zygote never waits for the worker: the lease must go on."""
        while self.outgoing:
            data, descriptor = self.outgoing[0]
            try:
                if descriptor is None:
                    self.control.send(data)
                else:
                    socket.send_fds(self.control, [data], [descriptor])
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    print(f"a packet was not sent: {error}", file=sys.stderr, flush=True)
            self.outgoing.popleft()
            if descriptor is not None:
                os.close(descriptor)


def _children() -> list[int]:
    own = os.getpid()
    try:
        with open(f"/proc/self/task/{own}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        pass  # a kernel without CONFIG_PROC_CHILDREN
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _stat(int(name))[1] == own:
            found.append(int(name))
    return found


def _session(pid: int) -> int:
    return _stat(pid)[3]


def _stat(pid: int) -> list[int]:
    """State (as 0), parent, process group and session of a process; zeros when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return [0, int(fields[1]), int(fields[2]), int(fields[3])]
    except (OSError, IndexError, ValueError):
        return [0, 0, 0, 0]
