"""The policies that `flocker plugin new python` begins with, with their own tests, and what the build says of others."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from flocker_sdk.build import BuildError, policy_in

TEMPLATE = Path(__file__).resolve().parents[1] / "template"


class Templates(unittest.TestCase):
    def test_each_passes_its_own_tests(self) -> None:
        for hook in ("placement", "rebalance", "failover", "backups"):
            with self.subTest(hook), tempfile.TemporaryDirectory() as folder:
                for source, target in ((hook, "policy"), (f"test_{hook}", "test_policy")):
                    text = (TEMPLATE / f"{source}.py").read_text().replace("{{type}}", "MyPolicy")
                    Path(folder, f"{target}.py").write_text(text)
                done = subprocess.run(
                    [sys.executable, "-m", "unittest", "-v"], cwd=folder, capture_output=True, text=True
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("... ok", done.stderr)


class Builds(unittest.TestCase):
    def policy_of(self, name: str, text: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"{name}.py").write_text("from flocker_sdk import *\n" + text)
            return policy_in(name, Path(folder)).__name__

    def test_the_policy_is_the_class_that_has_all_of_its_hooks(self) -> None:
        text = "class A(Placement):\n  pass\nclass B(A):\n  def score(self, node, request): ...\n"
        self.assertEqual(self.policy_of("whole", text), "B")

    def test_what_is_missing_is_named(self) -> None:
        one = "class {}(Placement):\n  def score(self, node, request): ...\n"
        for name, text, message in [
            ("none", "", "defines no policy"),
            ("lacking", "class A(Failover):\n  pass\n", "`A` does not define decide"),
            ("several", one.format("A") + one.format("B"), "several policies: A, B"),
        ]:
            with self.assertRaisesRegex(BuildError, message):
                self.policy_of(name, text)
