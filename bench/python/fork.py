"""What a fork costs a bare Python: until the child's first byte arrives, and until it is waited for. Prints nanoseconds."""

import json
import os
import sys
import time


def once():
    source, sink = os.pipe()
    begin = time.perf_counter_ns()
    pid = os.fork()
    if pid == 0:
        os.write(sink, b"x")
        os._exit(0)
    os.read(source, 1)
    first_byte = time.perf_counter_ns() - begin
    os.waitpid(pid, 0)
    whole = time.perf_counter_ns() - begin
    os.close(source)
    os.close(sink)
    return first_byte, whole


def main():
    for _ in range(10):
        once()
    samples = [once() for _ in range(int(sys.argv[1]))]
    json.dump({"first_byte": [one for one, _ in samples], "whole": [one for _, one in samples]}, sys.stdout)


main()
