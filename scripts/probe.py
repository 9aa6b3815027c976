"""Tells whether the server behind a URL answers and lets us in: exit code 0, or 1 with one line that says why not.

Standard library only. PostgreSQL is asked for its greeting here; whether it lets us in is psql's business.
The URL comes from the environment variable PROBE_URL, so that no process list shows it.
"""

import os
import socket
import ssl
import struct
import sys
from urllib.parse import unquote, urlsplit

TIMEOUT = 3.0
PORTS = {"postgres": 5432, "postgresql": 5432, "amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}


class Refused(Exception):
    """The server answered, and not as hoped."""


def read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise Refused("closed the connection")
        data += part
    return data


def postgres(sock: socket.socket, _user: str, _password: str) -> None:
    sock.sendall(struct.pack("!II", 8, 80877103))  # SSLRequest
    if read(sock, 1) not in b"SN":
        raise Refused("is not PostgreSQL")


def redis(sock: socket.socket, user: str, password: str) -> None:
    def command(*words: str) -> bytes:
        parts = [word.encode() for word in words]
        sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return sock.recv(256)

    if password and not command("AUTH", *([user] if user else []), password).startswith(b"+OK"):
        raise Refused("refuses the password")
    answer = command("PING")
    if not answer.startswith(b"+PONG"):
        raise Refused("wants a password" if answer.startswith(b"-NOAUTH") else "is not Redis")


def frame(sock: socket.socket) -> tuple[int, int]:
    kind, _channel, size = struct.unpack("!BHI", read(sock, 7))
    if kind != 1 or not 4 <= size <= 1 << 20:
        raise Refused("is not RabbitMQ")
    payload = read(sock, size + 1)
    return struct.unpack("!HH", payload[:4])


def rabbitmq(sock: socket.socket, user: str, password: str) -> None:
    sock.sendall(b"AMQP\x00\x00\x09\x01")
    if frame(sock) != (10, 10):
        raise Refused("is not RabbitMQ")
    answer = f"\0{user or 'guest'}\0{password or 'guest'}".encode()
    body = struct.pack("!HHI", 10, 11, 0) + b"\x05PLAIN" + struct.pack("!I", len(answer)) + answer + b"\x05en_US"
    sock.sendall(struct.pack("!BHI", 1, 0, len(body)) + body + b"\xce")
    try:
        tuned = frame(sock) == (10, 30)
    except (Refused, OSError):  # RabbitMQ lets those wait whom it does not know
        tuned = False
    if not tuned:
        raise Refused("refuses the user or the password")


def main() -> int:
    url = urlsplit(os.environ.get("PROBE_URL", "").replace("+asyncpg", "", 1))
    if url.scheme not in PORTS:
        print(f"has an unknown scheme `{url.scheme[:20]}`")
        return 1
    host, port = url.hostname or "127.0.0.1", url.port or PORTS[url.scheme]
    ask = {"p": postgres, "a": rabbitmq, "r": redis}[url.scheme[0]]
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as sock:
            sock.settimeout(TIMEOUT)
            if url.scheme in ("amqps", "rediss"):
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            ask(sock, unquote(url.username or ""), unquote(url.password or ""))
    except Refused as error:
        print(f"names {host}:{port}, which {error}")
        return 1
    except (OSError, ValueError) as error:
        print(f"names {host}:{port}, which does not answer ({error})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
