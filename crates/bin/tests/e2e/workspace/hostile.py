"""Workflows that do their worst: to their process, to others, to the machine. Each case says `armed` before it begins."""

import asyncio
import atexit
import ctypes
import errno
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from bifrost import workflow

MIB = 1 << 20
BEYOND = 10_000


def name(mark):
    """Gives this process, and what comes from it, a name to be found by."""
    ctypes.CDLL(None).prctl(15, mark[:15].encode(), 0, 0, 0)


def sleeper(mark, **how):
    """A process that outlives everything."""
    return subprocess.Popen([mark, "1000"], executable="/bin/sleep", **how)


def daemons(mark):
    """Three processes that have nothing to do with their parent any more."""
    sleeper(mark, start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/bin/sleep", [mark, "1000"])
        os._exit(0)
    os.wait()
    subprocess.Popen(["/bin/sh", "-c", f"nohup /bin/sh -c 'sleep 1000; : {mark}' >/dev/null 2>&1 &"])


def try_to_kill(pid):
    """SIGKILL, whether it may or not."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        print(error)


def ignore_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def block_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def sleep_on():
    while True:
        try:
            time.sleep(1)
        except BaseException:  # what a careless author writes
            pass


# ---- what ends by itself


def exits(mark):
    sys.exit(3)


def leaves(mark):
    os._exit(3)


def aborts(mark):
    os.abort()


def crashes(mark):
    ctypes.string_at(0)


def kills_itself(mark):
    os.kill(os.getpid(), signal.SIGKILL)
    return "went on"


def kills_its_group(mark):
    if os.fork() == 0:
        os.killpg(0, signal.SIGKILL)
    os.wait()
    return "went on"


def kills_its_parent(mark):
    try_to_kill(os.getppid())
    try_to_kill(1)
    time.sleep(0.3)
    return "went on"


def kills_everybody(mark):
    try_to_kill(-1)
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            try_to_kill(int(pid))
    time.sleep(0.3)
    return "went on"


def closes_files(mark):
    os.closerange(0, BEYOND)
    time.sleep(0.5)
    return "went on"


def closes_files_and_stays(mark):
    os.closerange(0, BEYOND)
    time.sleep(1000)


def writes_everywhere(mark):
    for descriptor in range(3, 100):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            pass
    time.sleep(1000)


def takes_memory(mark):
    kept = []
    while True:
        kept.append(bytearray(MIB))


def takes_memory_in_small_parts(mark):
    kept = []
    while True:
        kept.append(str(len(kept)) * 9)


def takes_memory_at_once(mark):
    return len(bytearray(100 << 30))


def takes_memory_in_a_grandchild(mark):
    code = "kept = []\nwhile True: kept.append(str(len(kept)) * 9)"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode


def takes_shared_memory(mark):
    kept = []
    for _ in range(1000):
        kept.append(mmap.mmap(-1, 4 * MIB))
        kept[-1].write(b"x" * (4 * MIB))
        time.sleep(0.01)


def takes_memory_in_a_family(mark):
    for _ in range(6):
        if os.fork() == 0:
            kept = bytearray(80 * MIB)
            time.sleep(1000 + len(kept))
    time.sleep(6)
    return "went on"


def forks_on_and_on(mark):
    while True:
        os.fork()


def forks_daemons_on_and_on(mark):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            pass
    time.sleep(1000)


def begins_threads(mark):
    for _ in range(10_000):
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


def opens_files(mark):
    return len([open("/dev/null") for _ in range(100_000)])


def writes_a_large_file(mark):
    with open("large", "wb") as file:
        file.seek(4 << 30)
        file.write(b"x")


def calls_itself(mark):
    return calls_itself(mark)


class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")

    __repr__ = __str__


def raises_what_cannot_be_told(mark):
    raise Mute()


class Stubborn:
    def __del__(self):
        raise ValueError("from a finaliser")


def has_a_bad_finaliser(mark):
    Stubborn()
    return "went on"


def hangs_at_exit(mark):
    atexit.register(time.sleep, 1000)
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    return "went on"


def leaves_daemons(mark):
    daemons(mark)
    return "went on"


def leaves_daemons_and_fails(mark):
    daemons(mark)
    raise ValueError("failed")


def leaves_daemons_and_dies(mark):
    daemons(mark)
    os._exit(3)


def leaves_its_output_open(mark):
    sleeper(mark)
    return "went on"


def lets_others_print(mark):
    subprocess.Popen(["/bin/sh", "-c", f"while :; do echo yes; sleep 0.01; done; : {mark}"])
    time.sleep(0.3)
    return "went on"


def prints_without_end(mark):
    for _ in range(200):
        print("x" * 50_000, end="")
    return "went on"


def prints_bytes(mark):
    for _ in range(8):
        os.write(1, bytes(range(256)) * 1000)
        os.write(2, b"\xff\x00" * 30_000)
    return "went on"


def returns_a_deep_list(mark):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested


class Trap(dict):
    def items(self):
        raise ValueError("a trap")


def returns_a_trap(mark):
    return Trap(a=1)


def leaves_deep_folders(mark):
    for _ in range(1500):
        os.mkdir("a folder")
        os.chdir("a folder")
    os.mkdir("closed", 0)
    return "went on"


def leaves_closed_folders(mark):
    os.makedirs("a/b/c")
    with open("a/b/c/file", "w") as file:
        file.write("x")
    os.symlink("/etc", "a/link")
    os.mkfifo("a/fifo")
    for path, mode in (("a/b/c/file", 0), ("a/b/c", 0), ("a/b", 0o555), ("a", 0o111), (".", 0)):
        os.chmod(path, mode)
    return "went on"


# ---- what has to be ended


def ignores_signals(mark):
    ignore_signals()
    daemons(mark)
    sleep_on()


def blocks_signals(mark):
    block_signals()
    sleeper(mark)
    sleep_on()


def is_lost_in_a_pattern(mark):
    re.match(r"(a+)+$", "a" * 64 + "b")


def waits_for_a_thread(mark):
    thread = threading.Thread(target=time.sleep, args=(1000,))
    thread.start()
    thread.join()


@workflow
async def hostile(what: str, mark: str):
    """Runs a case in the main thread."""
    name(mark)
    print("armed")
    await asyncio.sleep(0)
    return globals()[what](mark)


@workflow
def hostile_in_a_thread(what: str, mark: str):
    """Runs a case where plain functions run."""
    name(mark)
    print("armed")
    return globals()[what](mark)


@workflow(timeout_seconds=2)
async def hostile_for_a_moment(what: str, mark: str):
    """Runs a case that has to be ended by its time limit."""
    name(mark)
    print("armed")
    return globals()[what](mark)


@workflow(timeout_seconds=2)
def hostile_for_a_moment_in_a_thread(what: str, mark: str):
    """The same, where plain functions run."""
    name(mark)
    print("armed")
    return globals()[what](mark)


# ---- a disk without room, for as long as somebody outside wants it


def tell_and_wait(port, word):
    """Says a word outside, where it needs no room, and waits for the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as door:
        door.sendall(word.encode())
        door.settimeout(None)
        door.recv(1)


def write_until_full(file):
    size = 1 << 20
    while size:
        try:
            os.write(file, bytes(size))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            size //= 2


@workflow
def fill_the_disk(port: int):
    """Leaves no room where runs have their folders."""
    file = os.open("filler", os.O_CREAT | os.O_WRONLY)
    write_until_full(file)
    tell_and_wait(port, "full")
    os.ftruncate(file, 0)
    return "freed"


@workflow
def make_files(port: int):
    """Leaves no room for another file or folder, and takes what others give back, until it is told that this is enough."""
    count = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as door:
        is_told = False
        while True:
            try:
                os.close(os.open(f"f{count}", os.O_CREAT | os.O_WRONLY))
                count += 1
                continue
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            if not is_told:
                door.sendall(b"full")
                door.settimeout(0.01)
                is_told = True
            try:
                door.recv(1)
                break
            except TimeoutError:
                pass
    for number in range(count):
        os.unlink(f"f{number}")
    return "freed"
