"""What is said in several files about containers: the two compose files, the two Dockerfiles, the scripts, the entry point."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from .worker import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
PRODUCTION = (ROOT / "docker-compose.prod.yml").read_text(encoding="utf-8")
SCRIPT = (ROOT / "scripts" / "services.sh").read_text(encoding="utf-8")
ENTRY = ROOT / "docker" / "as-worker.sh"
CERTIFICATES = ROOT / "docker" / "make-certificates.sh"
DOCKERFILES = {name: (ROOT / f"Dockerfile.{name}").read_text(encoding="utf-8") for name in ("api", "jobs")}


def services(text: str = COMPOSE) -> dict[str, str]:
    """The text of each service, by name (the files are written with two spaces a level)."""
    part = text.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    found = re.split(r"^  ([a-z]+):\n", part, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2]))


def ports(text: str) -> list[str]:
    """What a service publishes."""
    return re.findall(r"^ +- \"?([^\s\"]+:\d+)\"?$", text.partition("    ports:\n")[2].partition("    volumes:\n")[0], re.M)


class Compose(unittest.TestCase):
    def test_users_passwords_and_ports_agree(self) -> None:
        for scheme, service, port, user in (
            ("postgres", "postgres", 5432, ("POSTGRES_USER", "POSTGRES_PASSWORD")),
            ("amqp", "rabbitmq", 5672, ("RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS")),
        ):
            text = services()[service]
            said = re.search(rf"{scheme}://(\w+):(\$\{{\w+:-(\w+)\}})@\$address/(\S+)\"", SCRIPT)
            assert said is not None, service
            self.assertEqual((said[1], said[3]), ("bifrost", "bifrost_dev"))
            self.assertIn(f"$(compose_address {service} {port})", SCRIPT)
            self.assertIn(f"{user[0]}: {said[1]}\n", text)
            self.assertIn(f"{user[1]}: {said[2]}\n", text)
            self.assertTrue(any(published.endswith(f":{port}") for published in ports(text)), service)
            if service == "postgres":
                self.assertIn(f"POSTGRES_DB: {said[4]}\n", text)
            inside = f"{scheme}://{said[1]}:{said[2]}@{service}:{port}/{said[4]}\n"
            self.assertIn(inside, services()["api"], "what the containers use")
        self.assertIn("$(compose_address redis 6379)", SCRIPT)
        self.assertEqual(len(ports(services()["redis"])), 1)
        self.assertIn(":15672", "".join(ports(services()["rabbitmq"])))

    def test_five_services_start_by_themselves_on_loopback(self) -> None:
        self.assertEqual(set(services()), {"postgres", "rabbitmq", "redis", "api", "jobs"})
        for name, text in services().items():
            with self.subTest(name):
                self.assertNotIn("profiles:", text)
                self.assertIn("restart: unless-stopped\n", text)
                for published in ports(text):
                    self.assertTrue(published.startswith("127.0.0.1:"), published)
                self.assertIn("healthcheck:", text)
                if name in ("postgres", "rabbitmq", "redis"):
                    self.assertIn(f"- {name}:/", text)
                else:
                    self.assertIn(f"dockerfile: Dockerfile.{name}\n", text)
                    self.assertIn("cap_drop: [ALL]\n", text)
                    self.assertIn("no-new-privileges:true", text)
        self.assertEqual(services()["api"].count("condition: service_healthy\n"), 3)

    def test_one_signs_in(self) -> None:
        # Without quotes it would be the truth value that YAML 1.1 reads there.
        self.assertIn('DEV_AUTH_BYPASS: "off"\n', services()["api"])
        self.assertIn("ENVIRONMENT: development\n", services()["api"])

    def test_production_has_no_default_password_and_no_open_server(self) -> None:
        for name in ("PASSWORD", "KEY"):
            for variable in re.findall(rf"\$\{{(\w*{name})\b([^}}]*)\}}", PRODUCTION):
                self.assertTrue(variable[1].startswith(":?"), variable)
        self.assertIn("${PUBLIC_URL:?", PRODUCTION)
        self.assertIn("DATABASE_SSL_MODE: verify-full\n", PRODUCTION)
        self.assertIn("ENVIRONMENT: production\n", PRODUCTION)
        for name, text in services(PRODUCTION).items():
            self.assertEqual(bool(ports(text)), name == "api", name)
        self.assertEqual(ports(services(PRODUCTION)["api"]), ["127.0.0.1:${PORT:-8000}:8000"])

    def test_the_worker_has_the_same_capabilities_everywhere(self) -> None:
        explained = re.findall(r"^#   ([A-Z][A-Z_, ]+[A-Z])  ", ENTRY.read_text(encoding="utf-8"), re.M)
        known = {name for names in explained for name in names.split(", ")}
        for text in (COMPOSE, PRODUCTION):
            given = re.search(r"cap_add: \[(.*)\]", services(text)["jobs"])
            assert given is not None
            self.assertEqual(set(given[1].split(", ")), known - {"SYS_ADMIN", "SYS_PTRACE"})
            self.assertIn("user: root\n", services(text)["jobs"])
            self.assertNotIn("cap_add", services(text)["api"])


class Images(unittest.TestCase):
    def test_both_are_built_alike(self) -> None:
        stages = {name: re.split(r"^(?=FROM |# ---- )", text, flags=re.M) for name, text in DOCKERFILES.items()}
        self.assertEqual(stages["api"][1:-2], stages["jobs"][1:-2])
        version = re.search(r'^rust-version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)
        assert version is not None
        for name, text in DOCKERFILES.items():
            self.assertEqual(set(re.findall(r"^FROM rust:(\S+)-bookworm ", text, re.M)), {version[1]}, name)
            self.assertIn("\nUSER 10001:10001\n", text, name)

    def test_what_is_copied_is_let_through(self) -> None:
        ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        members = re.search(r"^members = \[(.*)\]$", (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)
        assert members is not None
        folders = {member.split("/")[0] for member in re.findall(r'"([^"]+)"', members[1])}
        for name in {"Cargo.toml", "Cargo.lock", "docker", "sdk", *folders}:
            self.assertIn(f"!{name}", ignore)

    def test_empty_sources_stand_where_cargo_looks_for_them(self) -> None:
        for text in DOCKERFILES.values():
            for path in ("crates/bin/src/bin/bifrost.rs", "bench/src/main.rs"):
                self.assertTrue((ROOT / path).is_file(), path)
                self.assertIn(path, text)
        for manifest in [ROOT / "migration" / "Cargo.toml", *ROOT.glob("crates/*/Cargo.toml")]:
            self.assertTrue((manifest.parent / "src" / "lib.rs").is_file(), manifest)

    def test_the_entry_point_keeps_what_it_was_given(self) -> None:
        script = "id -u; sed -n 's/^CapEff:[[:space:]]*//p; s/^CapAmb:[[:space:]]*//p; s/^NoNewPrivs:[[:space:]]*//p' /proc/self/status; echo $HOME"
        enter = [str(ENTRY), "sh", "-c", script]
        if os.geteuid() != 0:
            answer = subprocess.run(enter, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
            self.assertEqual(answer[0], str(os.geteuid()))
            return
        bound = ["setpriv", "--inh-caps", "-all", "--bounding-set"]
        four = f"{1 << 0 | 1 << 5 | 1 << 6 | 1 << 7:016x}"
        given = [*bound, "-all,+chown,+kill,+setgid,+setuid,+net_raw", *enter]
        answer = subprocess.run(given, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        self.assertEqual(answer, ["10001", four, four, "1", "/"])
        refused = subprocess.run([*bound, "-all,+chown,+kill", *enter], stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("SETUID and SETGID", refused.stderr)


class Certificates(unittest.TestCase):
    def make(self, folder: Path, *more: str) -> str:
        command = ["sh", str(CERTIFICATES), str(folder), "postgres", *more]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def test_a_certificate_is_made_once(self) -> None:
        with tempfile.TemporaryDirectory(prefix="bifrost-test-") as name:
            folder = Path(name) / "certificates"
            self.assertIn("made a certificate for postgres", self.make(folder))
            names = sorted(path.name for path in folder.iterdir())
            self.assertEqual(names, ["ca.crt", "server.crt", "server.key"])
            self.assertEqual([oct((folder / name).stat().st_mode & 0o777) for name in names], ["0o644", "0o644", "0o600"])
            verify = ["openssl", "verify", "-verify_hostname", "postgres", "-CAfile", f"{folder}/ca.crt", f"{folder}/server.crt"]
            subprocess.run(verify, stdout=subprocess.DEVNULL, check=True)
            before = (folder / "server.crt").read_bytes()
            self.assertIn("is good", self.make(folder))
            self.assertEqual((folder / "server.crt").read_bytes(), before)
            # One that cannot be read is made again.
            (folder / "server.crt").write_text("nothing")
            self.assertIn("made a certificate", self.make(folder, str(os.geteuid())))
            subprocess.run(verify, stdout=subprocess.DEVNULL, check=True)


class Advice(unittest.TestCase):
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


class Environment(unittest.TestCase):
    """What dev.sh reads from `.env`: as Docker Compose does, but nothing in a value is replaced."""

    def load(self, text: str | bytes, given: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        folder = tempfile.TemporaryDirectory(prefix="bifrost-test-")
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / ".env"
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        script = f'set -euo pipefail; . "{ROOT}/scripts/lib.sh"; load_env_file "$1"; exec env -0'
        command = ["bash", "-c", script, "test", str(self.file)]
        environment = {"PATH": os.environ["PATH"], **(given or {})}
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def values(self, text: str | bytes, given: dict[str, str] | None = None) -> dict[str, str]:
        """What a program sees that is started afterwards, without what every shell has."""
        answer = self.load(text, given)
        self.assertEqual((answer.returncode, answer.stderr), (0, ""))
        seen = dict(entry.split("=", 1) for entry in answer.stdout.split("\0") if entry)
        return {name: value for name, value in seen.items() if name not in ("PATH", "PWD", "SHLVL", "_", "OLDPWD")}

    def test_each_way_to_write_a_value(self) -> None:
        for line, value in (
            ("plain", "plain"),
            ("", ""),
            ("   ", ""),
            ("  blanks around \t ", "blanks around"),
            ("two words # a comment", "two words"),
            ("tab\t# a comment", "tab"),
            ("a#b", "a#b"),
            ("#x # a comment", "#x"),
            (" # all a comment", ""),
            ("\t#x", ""),
            ("'single # quoted'", "single # quoted"),
            ('"double # quoted"', "double # quoted"),
            ('"  kept  "', "  kept  "),
            ('""', ""),
            ("''", ""),
            ("'x' # a comment", "x"),
            (" 'x' ", "x"),
            (' " x"', " x"),
            ('"x"# a comment', "x"),
            ("'say \"hello\"'", 'say "hello"'),
            ('"it\'s"', "it's"),
            ("it's", "it's"),
            ("'open", "'open"),
            ("'a' b", "'a' b"),
            ("a=b=c", "a=b=c"),
            ("postgres://u:p%40w@127.0.0.1:5432/x?a=1&b=2", "postgres://u:p%40w@127.0.0.1:5432/x?a=1&b=2"),
            ("$HOME ${HOME} $(id) `id`", "$HOME ${HOME} $(id) `id`"),
            ('"$HOME ${X:-y} \\n"', "$HOME ${X:-y} \\n"),
            ("*", "*"),
            ("a; touch /x && b | c > d", "a; touch /x && b | c > d"),
            ("größer", "größer"),
        ):
            for end in ("\n", "\r\n", ""):
                with self.subTest(line=line, end=end):
                    self.assertEqual(self.values(f"SETTING={line}{end}"), {"SETTING": value})

    def test_lines_that_set_nothing_and_names(self) -> None:
        text = "\n  \n\t\n# PORT=1\n  # PORT=2\n#PORT=3\r\nexport A_1=x\n  export\tB=y\n  _c=z\nlower=w\n"
        self.assertEqual(self.values(text), {"A_1": "x", "B": "y", "_c": "z", "lower": "w"})
        self.assertEqual(self.values(""), {})

    def test_the_environment_wins_and_of_two_lines_the_last(self) -> None:
        text = "PORT=1\nEMPTY=1\nTWICE=1\nTWICE=2\nPORT=2\n"
        self.assertEqual(self.values(text, {"PORT": "9", "EMPTY": ""}), {"PORT": "9", "EMPTY": "", "TWICE": "2"})

    def test_every_bad_line_is_named_and_nothing_starts(self) -> None:
        answer = self.load("GOOD=1\nPORT = 1\nnothing\n=x\n1A=x\nA-B=x\nexport\nA+=x\nA[0]=x\n")
        self.assertEqual((answer.returncode, answer.stdout), (1, ""))
        said = [f"{self.file}, line {number}: is not NAME=VALUE (no space before =)" for number in range(2, 10)]
        self.assertEqual(answer.stderr.splitlines(), said)

    def test_no_file_is_no_error(self) -> None:
        script = f'set -euo pipefail; . "{ROOT}/scripts/lib.sh"; load_env_file /nowhere/.env; echo good'
        answer = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(answer.stdout, "good\n")

    def test_the_example_sets_nothing_until_it_is_uncommented(self) -> None:
        example = (ROOT / ".env.example").read_text(encoding="utf-8")
        self.assertEqual(self.values(example), {})
        names = re.findall(r"^#([A-Z][A-Z0-9_]*)=", example, re.M)
        self.assertGreater(len(names), 20)
        uncommented = re.sub(r"^#(?=[A-Z][A-Z0-9_]*=)", "", example, flags=re.M)
        self.assertEqual(set(self.values(uncommented)), set(names))


if __name__ == "__main__":
    unittest.main()
