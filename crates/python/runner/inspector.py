"""The inspector: reads workspaces and posted code without running them (docs/worker-protocol.md, "Inspector").

    python3 -I inspector.py

Requests come on stdin and replies leave on stdout: length (u32, big endian), UTF-8 JSON. Nothing here imports user code.
"""

import json
import os
import signal
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
MAX_REQUEST = 64 * 1024 * 1024


def _read(stream, count):  # type: ignore[no-untyped-def]
    data = b""
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            return None
        data += more
    return data


def main() -> int:
    """Answers until stdin ends."""
    # Ctrl-C in the worker's terminal is the worker's to hear; it closes stdin when there are no more questions.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.path.insert(0, HERE)
    from bifrost_runner import inspection
    from bifrost_runner.literals import cleaned

    sys.path.remove(HERE)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = _read(requests, 4)
        if head is None:
            return 0
        (length,) = struct.unpack(">I", head)
        if length > MAX_REQUEST:
            print(f"a request of {length} bytes is more than the inspector takes", file=sys.stderr)
            return 2
        data = _read(requests, length)
        if data is None:
            return 0
        try:
            text = json.dumps(cleaned(inspection.answer(json.loads(data))), allow_nan=False)
        except Exception as error:
            text = json.dumps({"error": cleaned(f"{type(error).__name__}: {error}")})
        text = text.encode()
        replies.write(struct.pack(">I", len(text)) + text)
        replies.flush()


if __name__ == "__main__":
    sys.exit(main())
