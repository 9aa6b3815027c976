"""docker-compose.yml and scripts/services.sh speak of the same servers."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from .worker import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SCRIPT = (ROOT / "scripts" / "services.sh").read_text(encoding="utf-8")


def services() -> dict[str, str]:
    """The text of each service, by name (the file is written with two spaces a level)."""
    part = COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    found = re.split(r"^  ([a-z]+):\n", part, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2]))


class Compose(unittest.TestCase):
    def test_users_passwords_and_ports_agree(self) -> None:
        for scheme, service, port, user in (
            ("postgres", "postgres", 5432, ("POSTGRES_USER", "POSTGRES_PASSWORD")),
            ("amqp", "rabbitmq", 5672, ("RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS")),
        ):
            text = services()[service]
            said = re.search(rf"{scheme}://(\w+):(\$\{{\w+:-\w+\}})@\$\(compose_address {service} {port}\)/(\S+)\"", SCRIPT)
            assert said is not None, service
            self.assertIn(f"{user[0]}: {said[1]}\n", text)
            self.assertIn(f"{user[1]}: {said[2]}\n", text)
            self.assertIn(f":{port}\"\n", text)
            if service == "postgres":
                self.assertIn(f"POSTGRES_DB: {said[3]}\n", text)
            inside = f"{scheme}://{said[1]}:{said[2]}@{service}:{port}/{said[3]}\n"
            self.assertIn(inside, services()["api"], "what the containers use")
        self.assertIn('redis://$(compose_address redis 6379)/0"', SCRIPT)
        self.assertIn(':6379"\n', services()["redis"])
        self.assertIn(':15672"\n', services()["rabbitmq"])

    def test_three_servers_start_by_themselves_on_loopback(self) -> None:
        for name, text in services().items():
            with self.subTest(name):
                self.assertEqual("profiles: [app]" in text, name in ("api", "jobs"))
                for port in re.findall(r"^ +- \"?(\S+:\d+)\"?$", text.partition("ports:")[2].partition("volumes:")[0], re.M):
                    self.assertTrue(port.startswith("127.0.0.1:"), port)
                if name in ("postgres", "rabbitmq", "redis"):
                    self.assertIn("healthcheck:", text)
                    self.assertIn(f"- {name}:/", text)
                else:
                    self.assertTrue((ROOT / f"Dockerfile.{name}").is_file())
                    self.assertIn(f"dockerfile: Dockerfile.{name}\n", text)

    def advice(self, docker: str | None) -> str:
        folder = tempfile.TemporaryDirectory(prefix="bifrost-test-")
        self.addCleanup(folder.cleanup)
        if docker is not None:
            program = Path(folder.name) / "docker"
            program.write_text("#!/bin/sh\n" + docker, encoding="utf-8")
            program.chmod(0o755)
        script = f'set -eu; . "{ROOT}/scripts/lib.sh"; . "{ROOT}/scripts/services.sh"; have() {{ [ -x "{folder.name}/$1" ]; }}; docker_advice'
        environment = {**os.environ, "PATH": f"{folder.name}:{os.environ['PATH']}"}
        return subprocess.run(["bash", "-c", script], env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    def test_docker_is_named_only_when_it_is_what_is_missing(self) -> None:
        self.assertEqual(self.advice(None), "")
        self.assertEqual(self.advice("exit 0\n"), "")
        self.assertEqual(self.advice("exit 1\n"), "start Docker, or ")
        self.assertEqual(self.advice('[ "$1" = info ]\n'), "install the Docker Compose plugin, or ")


if __name__ == "__main__":
    unittest.main()
