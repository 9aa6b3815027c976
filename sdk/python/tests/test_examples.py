"""The example workspace is found without an issue and runs, through the real inspector and zygote."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import unittest
from typing import Any

from .worker import CANCEL, ROOT, RUNNER, Child, Folders, Zygote

WORKSPACE = ROOT / "examples" / "workspace"


def ask(request: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(request).encode()
    done = subprocess.run(
        [sys.executable, "-I", str(RUNNER / "inspector.py")],
        input=struct.pack(">I", len(data)) + data, capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout[4:])


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folders = Folders()
        cls.addClassCleanup(cls.folders.remove)
        made = ask({"op": "snapshot", "root": str(WORKSPACE), "target": str(cls.folders.snapshots)})
        cls.folders.workspace = cls.folders.snapshots / made["version"]
        cls.zygote = Zygote(cls.folders)
        cls.addClassCleanup(cls.zygote.close)

    def answers(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.assertEqual(method, "files.read")
        return {"ok": {"base64": base64.b64encode((WORKSPACE / params["path"]).read_bytes()).decode()}}

    def start(self, path: str, function: str, parameters: dict[str, Any]) -> Child:
        child = self.zygote.fork()
        self.addCleanup(child.close)
        child.answers = self.answers
        child.file(path, function, parameters)
        return child

    def test_they_are_found_without_an_issue(self) -> None:
        files = ask({"op": "scan", "root": str(WORKSPACE)})["files"]
        self.assertEqual([issue for file in files for issue in file["issues"]], [])
        found = {item["name"]: item["kind"] for file in files for item in file["definitions"]}
        self.assertEqual(
            found,
            {
                "onboard_user": "workflow",
                "licence_report": "workflow",
                "triage_disk_space": "workflow",
                "inventory_sweep": "workflow",
                "departments": "data_provider",
            },
        )

    def test_onboarding(self) -> None:
        parameters = {"email": "ada@contoso.example", "full_name": "Ada Byron King", "department": "it"}
        child = self.start("people/onboarding.py", "onboard_user", {**parameters, "start_date": "2026-03-02T00:00:00Z"})
        result = child.result()
        self.assertEqual((result["status"], result["time_saved"]), ("Success", 45), result)
        self.assertEqual((result["result"]["alias"], result["result"]["start_date"]), ("ada.king", "2026-03-02"))
        self.assertEqual(len(child.messages("INFO")), len(result["result"]["steps"]) + 1)
        self.assertEqual(child.progress[-1]["fraction"], 1.0)
        self.assertGreaterEqual(len(child.variables), 1)
        result = self.start("people/onboarding.py", "onboard_user", {**parameters, "department": "zoo"}).result()
        self.assertEqual(result["status"], "Failed")
        self.assertIn("There is no department `zoo`", result["user_message"])

    def test_departments(self) -> None:
        result = self.start("people/departments.py", "departments", {}).result()
        self.assertEqual(result["result"][0]["value"], "it")
        self.assertEqual(set(result["result"][0]), {"label", "value", "metadata"})

    def test_licence_report(self) -> None:
        result = self.start("licences/report.py", "licence_report", {"inactive_days": 30}).result()
        self.assertEqual(result["result"]["unused"], 5, result)
        self.assertEqual(result["result"]["by_customer"], {"Contoso": 26.2, "Fabrikam": 24.8, "Northwind": 28.1})
        result = self.start("licences/report.py", "licence_report", {"customer": "contoso", "as_html": True}).result()
        self.assertEqual(result["result_type"], "html")

    def test_disk_triage(self) -> None:
        full = {"host": "fs1", "used_bytes": 990 << 30, "total_bytes": 1000 << 30}
        result = self.start("infrastructure/disks.py", "triage_disk_space", full).result()
        self.assertEqual((result["result"]["priority"], result["result"]["percent_used"]), ("urgent", 99.0))
        result = self.start("infrastructure/disks.py", "triage_disk_space", {**full, "total_bytes": 1}).result()
        self.assertIn("makes no sense", result["user_message"])

    def test_the_sweep_can_be_cancelled(self) -> None:
        child = self.start("infrastructure/inventory.py", "inventory_sweep", {"seconds_per_device": 0.01})
        child.until(lambda: len(child.progress) >= 3)
        child.send(CANCEL, {"reason": "cancelled"})
        self.assertEqual(child.result()["status"], "Cancelled")
        self.assertIn("cancelled after", child.messages("WARNING")[0])
        child = self.start("infrastructure/inventory.py", "inventory_sweep", {"devices": 20, "seconds_per_device": 0})
        self.assertEqual(child.result()["result"]["devices"], 20)


if __name__ == "__main__":
    unittest.main()
