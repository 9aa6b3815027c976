"""The example workspace: read by the inspector, imported, run through a real zygote, on every Python that is installed."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from .worker import CANCEL, ROOT, RUNNER, SDK, Child, Folders, Zygote

WORKSPACE = ROOT / "examples" / "workspace"
WORKFLOWS = {
    "about_this_run", "certificate_expiry", "check_backups", "clean_old_profiles", "customer_report", "inventory_sweep",
    "licence_report", "lint_mail_records", "offboard_user", "onboard_user", "password_expiry_notice", "patch_compliance",
    "shift_handover", "sync_price_list", "triage_disk_space", "triage_tickets",
}  # fmt: skip
PROVIDERS = {"customers", "departments", "devices", "managers", "sites"}
IMPORT_ALL = """
import importlib, pathlib, sys, warnings
warnings.simplefilter("error")
sdk, workspace = sys.argv[1:]
sys.path[:0] = [workspace, sdk]
for path in sorted(pathlib.Path(workspace).rglob("*.py")):
    module = importlib.import_module(".".join(path.relative_to(workspace).with_suffix("").parts))
    for value in vars(module).values():
        mark = getattr(value, "__bifrost__", None)
        if mark is not None and value.__module__ == module.__name__:
            print(mark.kind, mark.name)
"""


def ask(request: dict[str, Any], python: str = sys.executable) -> Any:
    """One question to the inspector."""
    data = json.dumps(request).encode()
    done = subprocess.run(
        [python, "-I", str(RUNNER / "inspector.py")],
        input=struct.pack(">I", len(data)) + data, capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout[4:])


def pythons() -> list[str]:
    """Every supported Python on this machine, this one among them; each version once."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(10, 20):
        for folder in folders:
            python = folder / f"python3.{minor}"
            if (3, minor) not in found and os.access(python, os.X_OK):
                # A shim of a version manager is there and runs nothing.
                if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
                    found[3, minor] = str(python)
    return list(found.values())


class Declarations(unittest.TestCase):
    def test_they_are_found_without_an_issue_and_import_as_declared(self) -> None:
        for python in pythons():
            with self.subTest(python):
                files = ask({"op": "scan", "root": str(WORKSPACE)}, python)["files"]
                self.assertEqual([issue for file in files for issue in file["issues"]], [])
                definitions = [item for file in files for item in file["definitions"]]
                kinds = {kind: {item["name"] for item in definitions if item["kind"] == kind} for kind in ("workflow", "data_provider")}
                self.assertEqual(kinds, {"workflow": WORKFLOWS, "data_provider": PROVIDERS})
                done = subprocess.run(
                    [python, "-I", "-B", "-c", IMPORT_ALL, str(SDK), str(WORKSPACE)], capture_output=True, text=True, check=False
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(sorted(done.stdout.split("\n")[:-1]), sorted(f"{item['kind']} {item['name']}" for item in definitions))

    def test_every_definition_says_what_it_is_for(self) -> None:
        files = ask({"op": "scan", "root": str(WORKSPACE)})["files"]
        table = [line for line in (WORKSPACE / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
        for file in files:
            for item in file["definitions"]:
                with self.subTest(item["name"]):
                    self.assertTrue(item["description"])
                    self.assertNotEqual(item["category"], "General")
                    rows = [line for line in table if line.startswith((f"| `{item['name']}`", f"| `{item['name']} "))]
                    self.assertEqual([f"`{file['path']}` |" in row for row in rows], [True], "the table of README.md")
                    if item["kind"] == "workflow":
                        self.assertTrue(item["tags"])
                        self.assertEqual(item["execution_mode"] != "sync", "| *async*;" in rows[0])


    def test_the_cookbook_points_at_files_that_are_there(self) -> None:
        text = (SDK / "README.md").read_text(encoding="utf-8")
        cookbook = text.split("## Cookbook")[1].split("## ")[0]
        paths = re.findall(r"`([\w/]+\.py)`", cookbook)
        self.assertGreater(len(paths), 10)
        self.assertEqual([path for path in paths if not (WORKSPACE / path).is_file()], [])


class Runs(unittest.TestCase):
    """What the platform's own tests assert in full is only touched here: that it runs, on this Python."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.folders = Folders()
        cls.addClassCleanup(cls.folders.remove)
        made = ask({"op": "snapshot", "root": str(WORKSPACE), "target": str(cls.folders.snapshots)})
        cls.folders.workspace = cls.folders.snapshots / made["version"]
        cls.zygote = Zygote(cls.folders)
        cls.addClassCleanup(cls.zygote.close)

    def setUp(self) -> None:
        self.settings: dict[str, Any] = {}
        self.uploads: dict[str, str] = {}

    def answers(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A platform of one run."""
        if method == "config.get":
            key = params["key"]
            secret = [self.settings[key]] if key.endswith("_token") and key in self.settings else []
            return {"ok": {"found": key in self.settings, "value": self.settings.get(key)}, "mask": secret}
        if method == "config.list":
            return {"ok": self.settings}
        if method == "files.write" and params["location"] == "uploads":
            self.uploads[params["path"]] = base64.b64decode(params["base64"]).decode()
            return {"ok": None}
        self.assertEqual(params["location"], "workspace")
        if method == "files.list":
            return {"ok": sorted(entry.name + "/" * entry.is_dir() for entry in (WORKSPACE / params["path"]).iterdir())}
        self.assertEqual(method, "files.read")
        return {"ok": {"base64": base64.b64encode((WORKSPACE / params["path"]).read_bytes()).decode()}}

    def start(self, path: str, function: str, parameters: dict[str, Any] | None = None, **more: Any) -> Child:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.answers = self.answers
        child.file(path, function, parameters, **more)
        return child

    def result(self, path: str, function: str, parameters: dict[str, Any] | None = None) -> Any:
        result = self.start(path, function, parameters).result()
        self.assertEqual(result["status"], "Success", result)
        return result["result"]

    def refused(self, path: str, function: str, parameters: dict[str, Any]) -> str:
        result = self.start(path, function, parameters).result()
        self.assertEqual((result["status"], result["error_type"]), ("Failed", "UserError"), result)
        return result["user_message"]

    def test_people(self) -> None:
        parameters = {"email": "ada@contoso.example", "full_name": "Ada Byron King", "department": "it"}
        child = self.start("people/onboarding.py", "onboard_user", {**parameters, "start_date": "2026-03-02T00:00:00Z"})
        result = child.result()
        self.assertEqual((result["status"], result["time_saved"]), ("Success", 45), result)
        self.assertEqual((result["result"]["alias"], result["result"]["start_date"]), ("ada.king", "2026-03-02"))
        self.assertEqual(len(child.messages("INFO")), len(result["result"]["steps"]) + 1)
        self.assertEqual(child.progress[-1]["fraction"], 1.0)
        self.assertGreaterEqual(len(child.variables), 1)
        refused = self.refused("people/onboarding.py", "onboard_user", {**parameters, "department": "zoo"})
        self.assertIn("There is no department `zoo`", refused)

        leaving = {"email": "charles@contoso.example", "last_day": "2026-03-31"}
        result = self.result("people/offboarding.py", "offboard_user", leaving)
        self.assertEqual((result["success"], result["mailbox_until"]), (True, "2026-04-30"))
        result = self.start("people/offboarding.py", "offboard_user", {**leaving, "email": "blaise@contoso.example"}).result()
        self.assertEqual(result["status"], "CompletedWithErrors")
        self.assertIn("litigation hold", result["error_message"])

        result = self.result("people/passwords.py", "password_expiry_notice", {"reference_date": "2026-03-02"})
        self.assertEqual((result["max_age_days"], result["queued"], self.uploads), (90, None, {}))
        self.settings["password_max_age_days"] = 180
        given = {"reference_date": "2026-04-20", "dry_run": False}
        result = self.result("people/passwords.py", "password_expiry_notice", given)
        self.assertEqual(self.uploads[result["queued"]], "email,ends,days_left\ncharles@contoso.example,2026-04-30,10\n")

    def test_data_providers(self) -> None:
        self.assertEqual(self.result("people/departments.py", "departments")[0]["value"], "it")
        managers = self.result("people/departments.py", "managers", {"department": "sales"})
        self.assertEqual([choice["label"] for choice in managers], ["Tim Lee", "Dorothy Vaughan"])
        self.assertIn("`zoo`", self.refused("people/departments.py", "managers", {"department": "zoo"}))
        customers = self.result("customers/choices.py", "customers")
        self.assertEqual(set(customers[0]), {"label", "value", "metadata"})
        sites = self.result("customers/choices.py", "sites", {"customer": customers[0]["value"]})
        self.assertEqual(sites[1], {"label": "London (4)", "value": "London"})
        devices = self.result("customers/choices.py", "devices", {"customer": "contoso", "site": "Leeds"})
        self.assertEqual([choice["value"] for choice in devices], ["LEE-WS001", "LEE-WS002"])
        self.assertEqual(len(self.result("customers/choices.py", "devices", {"customer": "contoso"})), 6)

    def test_licences(self) -> None:
        result = self.result("licences/report.py", "licence_report", {"inactive_days": 30})
        self.assertEqual(result["unused"], 5, result)
        self.assertEqual(result["by_customer"], {"Contoso": 26.2, "Fabrikam": 24.8, "Northwind": 28.1})
        result = self.start("licences/report.py", "licence_report", {"customer": "contoso", "as_html": True}).result()
        self.assertEqual(result["result_type"], "html")

    def test_infrastructure(self) -> None:
        full = {"host": "fs1", "used_bytes": 990 << 30, "total_bytes": 1000 << 30}
        result = self.result("infrastructure/disks.py", "triage_disk_space", full)
        self.assertEqual((result["priority"], result["percent_used"]), ("urgent", 99.0))
        refused = self.refused("infrastructure/disks.py", "triage_disk_space", {**full, "total_bytes": 1})
        self.assertIn("makes no sense", refused)
        result = self.result("infrastructure/patches.py", "patch_compliance", {"customer": "contoso", "site": "Leeds"})
        self.assertEqual((result["percent"], result["missing"]), (50.0, {"LEE-WS001": 31}))
        result = self.start("infrastructure/backups.py", "check_backups", {"reference": "2026-03-02T08:00:00Z"}).result()
        self.assertEqual((result["status"], result["error_message"]), ("CompletedWithErrors", "2 of 6 backups need attention"))

    def test_long_jobs_can_be_cancelled(self) -> None:
        for path, function, parameters, said in (
            ("infrastructure/inventory.py", "inventory_sweep", {"seconds_per_device": 0.01}, "cancelled after"),
            ("infrastructure/profiles.py", "clean_old_profiles", {"seconds_per_profile": 0.01}, "the journal is closed after"),
        ):
            with self.subTest(function):
                child = self.start(path, function, parameters)
                child.until(lambda: len(child.progress) >= 3)
                child.send(CANCEL, {"reason": "cancelled"})
                self.assertEqual(child.result()["status"], "Cancelled")
                self.assertIn(said, child.messages()[-1])
        result = self.result("infrastructure/inventory.py", "inventory_sweep", {"devices": 20, "seconds_per_device": 0})
        self.assertEqual(result["devices"], 20)
        result = self.result("infrastructure/profiles.py", "clean_old_profiles", {"profiles": 60, "seconds_per_profile": 0})
        self.assertEqual(result["removed"], 60)

    def test_security(self) -> None:
        result = self.result("security/certificates.py", "certificate_expiry", {"reference_date": "2026-03-02"})
        self.assertEqual([len(result[group]) for group in ("expired", "ending", "good")], [1, 3, 2])
        self.assertEqual(result["ending"][0]["host"], "vpn.contoso.example:8443")
        result = self.result("security/mail_records.py", "lint_mail_records")
        self.assertEqual((result["domains"], result["in_order"]), (3, 1))
        self.assertIn("SPF needs 11 look-ups, 10 are allowed", result["findings"]["fabrikam.example"])
        given = {"records": {"a.example": ["v=spf1 mx", "v=DMARC1; p=reject"]}}
        findings = self.result("security/mail_records.py", "lint_mail_records", given)["findings"]["a.example"]
        self.assertEqual(findings, ["SPF does not end in `-all` or `~all`", "DMARC has no `rua`: nobody gets the reports"])

    def test_service_desk(self) -> None:
        result = self.result("service_desk/triage.py", "triage_tickets")
        self.assertEqual([entry["number"] for entry in result["queue"]], [4713, 4711, 4715, 4712, 4714])
        given = {"tickets": [{"number": "1", "subject": "server down", "affected": "12"}], "lowest": 1}
        result = self.result("service_desk/triage.py", "triage_tickets", given)
        self.assertEqual(result["queue"], [{"number": 1, "priority": "urgent", "is_late": False}])
        refused = self.refused("service_desk/triage.py", "triage_tickets", {"tickets": [{"number": 7, "subject": " "}]})
        self.assertEqual(refused, "Ticket 7 has no subject.")
        result = self.start("service_desk/handover.py", "shift_handover", {"shift": "night", "remarks": ["keys"]}).result()
        self.assertEqual(result["result_type"], "text", result)
        self.assertTrue(result["result"].startswith("Handover to the night shift (22:00 to 06:00), written by Ada\n"))
        self.assertTrue(result["result"].endswith("2 urgent, 5 in all\n- keys"))

    def test_reports(self) -> None:
        given = {"customer": "fabrikam", "prepared_for": "<script>alert(1)</script>"}
        result = self.start("reports/customer_report.py", "customer_report", given).result()
        self.assertEqual((result["status"], result["result_type"]), ("Success", "html"), result)
        self.assertNotIn("<script", result["result"])
        for shown in ("Fabrikam GmbH &amp; Co. KG", "&lt;script&gt;", "&lt;ERR-49.38&gt; &amp; stops", "<td>CGN-DC01</td>"):
            self.assertIn(shown, result["result"])
        self.settings["site"] = "x"
        result = self.result("reports/about_this_run.py", "about_this_run", {"note": 1})
        self.assertEqual((result["settings"], result["input"], result["can_write"]), (["site"], {"note": 1}, True))
        self.assertIn("people", result["folders"])

    def test_the_price_list_fails_until_it_does_not(self) -> None:
        self.settings["distributor_token"] = "s3cret-t0ken"
        for attempt in (1, 2, 3):
            child = self.start("integrations/price_list.py", "sync_price_list", attempt=attempt)
            result = child.result()
            self.assertEqual(child.messages("INFO")[0], f"attempt {attempt} with the token ***")
            if attempt < 3:
                self.assertEqual((result["status"], result["error_type"]), ("Failed", "IntegrationError"))
        self.assertEqual((result["status"], result["result"]["attempt"]), ("Success", 3))
        self.assertEqual(result["result"]["prices"]["Visio Plan 2"], 13.1)


if __name__ == "__main__":
    unittest.main()
