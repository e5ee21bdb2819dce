"""Builds a component of a policy: `python -m flocker_sdk.build`, in the folder of the policy's pyproject.toml.

It takes the name and version from `[project]`, and the policy from the module that `[tool.flocker] module` names (`policy`
if there is none). The hooks follow from what the policy subclasses."""

from __future__ import annotations

import argparse
import importlib
import inspect
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from .policy import Backups, Failover, Placement, Policy, Rebalance

_WORLDS: dict[type[Policy], str] = {
    Placement: "placement-policy",
    Rebalance: "rebalance-policy",
    Failover: "failover-policy",
    Backups: "backup-policy",
}
_PACKAGE = Path(__file__).resolve().parent
#: The contract, of the checkout that this SDK is in.
_WIT = _PACKAGE.parents[2] / "wit"
#: The world that a component is built for.
_WORLD = "built"
#: The module that componentize-py starts from.
_ENTRY = "flocker_component"


class BuildError(Exception):
    """Why there is no component, with a hint."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flocker_sdk.build", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pyproject.toml is")
    parser.add_argument("-o", "--output", type=Path, help="the component; NAME.wasm in the folder if left out")
    given = parser.parse_args(arguments)
    try:
        written = build(given.folder.resolve(), given.output)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{written}: {written.stat().st_size / 1e6:.1f} MB")
    return 0


def build(folder: Path, output: Path | None = None) -> Path:
    """Builds the policy in a folder, and says where the component is."""
    if not _WIT.is_dir():
        raise BuildError(
            f"`{_WIT}` does not exist\nhint: install the SDK with `pip install -e`, from a checkout of flocker-runtime"
        )
    project, module = _manifest(folder)
    kind = policy_in(module, folder)
    worlds = [world for hook, world in _WORLDS.items() if issubclass(kind, hook)]
    output = output or folder / f"{project['name']}.wasm"
    with tempfile.TemporaryDirectory() as scratch:
        # The compiler runs it, and what it imports, where the sources are.
        entry = (
            "import sys\nsys.dont_write_bytecode = True\n"
            f"from flocker_sdk import glue, sandbox\nfrom {module} import {kind.__name__} as policy\n"
            f"globals().update(glue.exports(policy, {project['name']!r}, {project['version']!r}))\n"
            "sandbox.seal()\n"
        )
        Path(scratch, f"{_ENTRY}.py").write_text(entry)
        contract = _contract_for(worlds, Path(scratch, "wit"))
        _componentize(contract, [Path(scratch), folder, _PACKAGE.parent], output)
    return output


def _manifest(folder: Path) -> tuple[dict[str, str], str]:
    path = folder / "pyproject.toml"
    try:
        manifest = tomllib.loads(path.read_text())
        project: dict[str, Any] = manifest["project"]
        named = {"name": str(project["name"]), "version": str(project["version"])}
    except FileNotFoundError as error:
        raise BuildError(f"there is no `{path}`\nhint: `flocker plugin new python NAME` writes one") from error
    except KeyError as error:
        raise BuildError(f"`{path}` lacks {error}\nhint: it needs `name` and `version` in `[project]`") from error
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"`{path}` is no TOML: {error}") from error
    return named, manifest.get("tool", {}).get("flocker", {}).get("module", "policy")


def policy_in(module: str, folder: Path) -> type[Policy]:
    """The policy that a module defines. Nothing is written beside it."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        code = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BuildError(
            f"`{folder}` has no module `{error.name}`\nhint: `[tool.flocker] module` in pyproject.toml names the one with the policy"
        ) from error
    finally:
        sys.path.remove(str(folder))
    hooked: list[type[Policy]] = [
        kind
        for _, kind in inspect.getmembers(code, inspect.isclass)
        if kind.__module__ == code.__name__ and issubclass(kind, (Placement, Rebalance, Failover, Backups))
    ]
    whole = [kind for kind in hooked if not inspect.isabstract(kind)]
    if len(whole) == 1:
        return whole[0]
    if len(whole) > 1:
        names = ", ".join(kind.__name__ for kind in whole)
        raise BuildError(
            f"`{module}` defines several policies: {names}\nhint: a component has one; it may subclass several hooks"
        )
    if hooked:
        lacks = ", ".join(sorted(getattr(hooked[0], "__abstractmethods__")))
        raise BuildError(f"`{hooked[0].__name__}` does not define {lacks}\nhint: each hook has methods that it must define")
    raise BuildError(
        f"`{module}` defines no policy\nhint: one is a class that subclasses Placement, Rebalance, Failover or Backups"
    )


def _contract_for(worlds: list[str], folder: Path) -> Path:
    """The contract with one more world, which has what these have. componentize-py cannot make one of several itself: they
    share a resource."""
    shutil.copytree(_WIT, folder, ignore=lambda _, names: [n for n in names if not n.endswith(".wit")])
    includes = " ".join(f"include {world};" for world in worlds)
    (folder / "built.wit").write_text(f"package flocker:plugin@0.1.0;\nworld {_WORLD} {{ {includes} }}\n")
    return folder


def _componentize(contract: Path, paths: list[Path], output: Path) -> None:
    program = Path(sysconfig.get_path("scripts"), "componentize-py")
    command = [str(program), "--quiet", "--wit-path", str(contract), "--world", _WORLD]
    command += ["componentize", _ENTRY, "--stub-wasi", "--output", str(output)]
    command += [word for path in paths for word in ("--python-path", str(path))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(
            f"`{program}` does not exist\nhint: install the SDK in this environment: `pip install -e DIR/sdk/python`"
        ) from error
    if done.returncode != 0:
        raise BuildError(f"componentize-py failed:\n{done.stderr or done.stdout}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
