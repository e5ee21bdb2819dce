"""The policies that `flocker plugin new python` begins with, with their own tests, and what the build says of others."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from flocker_sdk.build import BuildError, policy_in

SDK = Path(__file__).resolve().parents[1]
TEMPLATE = SDK / "template"


class Templates(unittest.TestCase):
    def test_each_passes_its_own_tests(self) -> None:
        for hook in ("placement", "rebalance", "failover", "backups"):
            with self.subTest(hook), tempfile.TemporaryDirectory() as folder:
                for source, target in ((hook, "policy"), (f"test_{hook}", "test_policy")):
                    text = (TEMPLATE / f"{source}.py").read_text().replace("{{type}}", "MyPolicy")
                    Path(folder, f"{target}.py").write_text(text)
                done = subprocess.run(
                    [sys.executable, "-B", "-m", "unittest", "-v"], cwd=folder, capture_output=True, text=True
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("... ok", done.stderr)


class Builds(unittest.TestCase):
    def test_a_build_leaves_the_sources_as_they_are(self) -> None:
        with tempfile.TemporaryDirectory() as checkout:
            policy, sdk = Path(checkout, "policy"), Path(checkout, "sdk/python")
            sources = shutil.ignore_patterns("__pycache__")
            shutil.copytree(SDK / "flocker_sdk", sdk / "flocker_sdk", ignore=sources)
            shutil.copytree(SDK.parents[1] / "wit", Path(checkout, "wit"))
            policy.mkdir()
            text = (TEMPLATE / "placement.py").read_text().replace("{{type}}", "MyPolicy")
            (policy / "policy.py").write_text(text)
            (policy / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0.1.0"\n')
            command = [sys.executable, "-B", "-m", "flocker_sdk.build", str(policy)]
            environment = os.environ | {"PYTHONPATH": str(sdk)}

            done = subprocess.run(command, cwd=policy, env=environment, capture_output=True, text=True)

            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue((policy / "p.wasm").is_file())
            self.assertEqual(list(Path(checkout).rglob("__pycache__")), [])

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
