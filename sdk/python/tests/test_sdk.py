"""Decorators, context, results, masks: what needs no worker."""

from __future__ import annotations

import asyncio
import pickle
import tempfile
import unittest
import warnings

import bifrost
from bifrost import _masking, _results, _transport
from bifrost._decorators import MARK, PARAMS


class Decorators(unittest.TestCase):
    def test_style_b_bare_and_with_keywords(self) -> None:
        @bifrost.workflow
        async def onboard(email: str) -> str:
            """First line.

            More."""
            return email

        @bifrost.workflow(name="Off board", timeout_seconds=60, tags=["hr"])
        def offboard() -> None:
            pass

        mark = getattr(onboard, MARK)
        self.assertEqual((mark.kind, mark.name, mark.options["description"]), ("workflow", "onboard", "First line."))
        self.assertEqual(mark.options["timeout_seconds"], 1800)
        self.assertEqual(getattr(offboard, MARK).name, "Off board")
        self.assertEqual(asyncio.run(onboard("a@b.c")), "a@b.c")

    def test_style_a_positional_with_params_above_and_below(self) -> None:
        @bifrost.param("first", "string", required=True)
        @bifrost.workflow("report", "A report", category="Reports")
        @bifrost.param("second", "int", default_value=3)
        def report(context: bifrost.ExecutionContext, first: str, second: int) -> None:
            pass

        mark = getattr(report, MARK)
        self.assertEqual((mark.name, mark.options["description"], mark.options["category"]), ("report", "A report", "Reports"))
        self.assertEqual([item["name"] for item in getattr(report, PARAMS)], ["first", "second"])

    def test_unknown_keywords_warn_with_file_and_line_and_go_on(self) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")

            @bifrost.workflow(name="x", colour="red")
            def function() -> None:
                pass

            @bifrost.param("p", unit="GB")
            def other() -> None:
                pass

        self.assertEqual(getattr(function, MARK).name, "x")
        self.assertEqual(len(said), 2)
        self.assertIn("colour", str(said[0].message))
        self.assertTrue(said[0].filename.endswith("test_sdk.py"))
        self.assertGreater(said[0].lineno, 40)
        self.assertLess(said[0].lineno, said[1].lineno)

    def test_tool_and_data_provider(self) -> None:
        @bifrost.tool(description="Looks")
        def look() -> None:
            pass

        @bifrost.data_provider("sizes", "Sizes", "Lists", 60)
        def sizes() -> list[dict[str, str]]:
            return []

        self.assertTrue(getattr(look, MARK).options["is_tool"])
        self.assertEqual(getattr(sizes, MARK).options["cache_ttl_seconds"], 60)


class Errors(unittest.TestCase):
    def test_further_arguments_are_kept_and_not_shown(self) -> None:
        error = bifrost.UserError("The mailbox is full", "E42", mailbox="x")
        self.assertEqual((str(error), error.message, error.args), ("The mailbox is full", "The mailbox is full", ("The mailbox is full", "E42")))
        self.assertEqual(error.details, {"mailbox": "x"})
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((str(again), again.args, again.details), (str(error), error.args, error.details))
        self.assertEqual(str(bifrost.WorkflowError()), "")


class Context(unittest.TestCase):
    def test_the_proxy_is_empty_outside_a_run(self) -> None:
        with self.assertRaises(AttributeError):
            bifrost.context.user_id
        self.assertFalse(bifrost.context)

    def test_a_context_made_by_hand(self) -> None:
        organization = bifrost.Organization("7", "Contoso")
        context = bifrost.OrganizationContext(user_id="u", email="e", name="n", scope="7", organization=organization)
        self.assertEqual((context.org_id, context.org_name, organization.org_id), ("7", "Contoso", "7"))
        self.assertFalse(context.is_global_scope)
        self.assertEqual((context.executed_by, context.executed_by_email, context.caller.name), ("u", "e", "n"))
        context.set_variable("a", 1)
        self.assertEqual(context.variables, {"a": 1})
        with self.assertLogs("bifrost", "WARNING") as logs:
            context.log("warning", "careful", {"rows": 3})
        self.assertIn("careful", logs.output[0])
        self.assertFalse(context.cancelled)
        context.cancelled.set()
        self.assertTrue(context.cancelled)

    def test_modules_need_a_run(self) -> None:
        with self.assertRaises(RuntimeError):
            asyncio.run(bifrost.config.get("x"))
        with self.assertRaises(RuntimeError):
            bifrost.files.read("x")
        with self.assertRaises(RuntimeError):
            bifrost.files.exists("x")


class Results(unittest.TestCase):
    def test_records_have_brackets_and_attributes(self) -> None:
        record = _results.wrap({"id": 1, "inner": {"name": "x"}, "list": [{"a": 2}]})
        self.assertEqual((record["id"], record.id, record.inner.name, record.list[0].a), (1, 1, "x", 2))
        record.id = 5
        self.assertEqual(record["id"], 5)
        with self.assertRaises(AttributeError):
            record.missing

    def test_values_can_be_awaited(self) -> None:
        async def main() -> list[object]:
            return [
                await _results.AwaitableStr("a"),
                await _results.AwaitableBytes(b"b"),
                await _results.AwaitableList(["c"]),
                await _results.AwaitableBool(True),
                await _results.Done(),
            ]

        self.assertEqual(asyncio.run(main()), ["a", b"b", ["c"], True, None])
        self.assertFalse(_results.AwaitableBool(False))
        self.assertEqual(_results.AwaitableBool(True), True)


class Recorder:
    """A transport that remembers."""

    def __init__(self, *answers: object) -> None:
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.answers = list(answers)

    def request(self, method: str, params: dict[str, object]) -> object:
        self.asked.append((method, params))
        return self.answers.pop(0)

    async def request_async(self, method: str, params: dict[str, object]) -> object:
        return self.request(method, params)


class Modules(unittest.TestCase):
    def install(self, *answers: object) -> Recorder:
        recorder = Recorder(*answers)
        _transport.install(recorder)  # type: ignore[arg-type]
        self.addCleanup(_transport.install, None)
        return recorder

    def test_the_second_argument_of_config_get(self) -> None:
        missing = {"found": False, "value": None}
        recorder = self.install(*[missing] * 6)
        organization = "6f7e3c1a-0000-7000-8000-000000000001"
        self.assertIsNone(asyncio.run(bifrost.config.get("k")))
        self.assertEqual(asyncio.run(bifrost.config.get("k", "fallback")), "fallback")
        self.assertIsNone(asyncio.run(bifrost.config.get("k", organization)))
        self.assertEqual(asyncio.run(bifrost.config.get("k", "GLOBAL", default=3)), 3)
        asyncio.run(bifrost.config.get("k", org_id="org-" + organization))
        asyncio.run(bifrost.config.get("k", scope="GLOBAL"))
        scopes = [params["scope"] for _, params in recorder.asked]
        self.assertEqual(scopes, [None, None, organization, "GLOBAL", organization, "GLOBAL"])

    def test_config_set_list_delete(self) -> None:
        recorder = self.install(None, None, {"a": {"b": 1}}, True)
        asyncio.run(bifrost.config.set("k", 1, True))
        asyncio.run(bifrost.config.set("k", 1, is_secret=False))
        self.assertEqual(asyncio.run(bifrost.config.list()).a.b, 1)
        self.assertIs(asyncio.run(bifrost.config.delete("k")), True)
        self.assertEqual([p.get("is_secret") for _, p in recorder.asked], [True, False, None, None])

    def test_files_with_and_without_await(self) -> None:
        self.install({"base64": "aMO2"}, {"base64": "aMO2"}, ["a", "b/"], True, None)

        async def main() -> tuple[object, ...]:
            return (
                bifrost.files.read("a.txt") + "!",
                await bifrost.files.read_bytes("a.txt"),
                await bifrost.files.list(""),
                bool(bifrost.files.exists("a.txt")),
                await bifrost.files.write("a.txt", "text"),
            )

        self.assertEqual(asyncio.run(main()), ("hö!", "hö".encode(), ["a", "b/"], True, None))

    def test_paths_that_leave_are_refused_before_anything_is_asked(self) -> None:
        recorder = self.install()
        for path in ("../x", "/etc/passwd", "a/../../x", "a\0b", "", "c:/x", "..\\x"):
            for location in ("workspace", "temp", "uploads"):
                with self.assertRaises(ValueError, msg=path):
                    bifrost.files.read(path, location)
        with self.assertRaises(ValueError):
            bifrost.files.read("a", "elsewhere")
        self.assertEqual(recorder.asked, [])

    def test_the_temp_folder_is_local(self) -> None:
        self.install()
        folder = tempfile.TemporaryDirectory(prefix="bifrost-test-")
        self.addCleanup(folder.cleanup)
        before, tempfile.tempdir = tempfile.tempdir, folder.name
        self.addCleanup(setattr, tempfile, "tempdir", before)
        name = "sub/inner.txt"
        bifrost.files.write(name, "text", "temp")
        self.assertEqual(bifrost.files.read(name, "temp"), "text")
        self.assertEqual(bifrost.files.list("sub", "temp"), ["inner.txt"])
        bifrost.files.delete(name, "temp")
        self.assertFalse(bifrost.files.exists(name, "temp"))
        with self.assertRaises(ValueError):
            bifrost.files.read(name, "temp")
        with self.assertRaises(FileNotFoundError):
            bifrost.files.delete(name, "temp")


class Masks(unittest.TestCase):
    def test_values_disappear_in_every_spelling(self) -> None:
        mask = _masking.Mask(["pa ss\"wörd", "line one is long\nline two is long", "abc"])
        self.assertEqual(mask.apply('x pa ss"wörd y'), "x *** y")
        for text in ('pa ss\\"w\\u00f6rd', "pa%20ss%22w%C3%B6rd", "pa+ss%22w%C3%B6rd", "only line two is long here"):
            self.assertIn("***", mask.apply(text), text)
        self.assertEqual(mask.apply("abc is too short to hide"), "abc is too short to hide")

    def test_the_head_of_a_long_text(self) -> None:
        mask = _masking.Mask(["0123456789", "secret"])
        for text in ("secret" * 50 + "x0123456789y", "abc0123456789def", "plain " * 20, "0123456789" * 9, "sec"):
            whole = [mask.apply(text[:cut]) for cut in range(len(text) + 1)]
            for cut in range(len(text) + 1):
                head = mask.head(text, cut)
                self.assertNotRegex(head, "0123|secr|ecret|6789")
                if cut == len(text):
                    self.assertEqual(head, whole[cut])
        self.assertEqual(mask.head("ab0123456789cd", 5), "ab***")
        self.assertEqual(_masking.Mask().head("abcdef", 3), "abc")

    def test_the_longest_value_wins(self) -> None:
        self.assertEqual(_masking.Mask(["secret", "secret-longer"]).apply("secret-longer"), "***")


if __name__ == "__main__":
    unittest.main()
