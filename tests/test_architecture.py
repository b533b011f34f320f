"""The arrows of the house: what may import what, and what a device's process never loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUNTIME = sorted((ROOT / "runtime/greenup_runtime").rglob("*.py"))
TOOLCHAIN = sorted((ROOT / "toolchain/greenup").rglob("*.py"))
DRAWING = (ROOT / "docs/architecture.md").read_text().split("```")[1]
HEAVY = ("torch", "onnx", "pandas", "scipy", "aeon", "pydantic", "click", "rich", "greenup")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.stem)
def test_the_runtime_imports_only_what_a_device_has(path: Path) -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "httptools", "greenup_runtime"}
    assert {name.split(".")[0] for name in imported(path)} <= allowed


def test_nothing_in_the_toolchain_imports_the_command_line() -> None:
    for path in TOOLCHAIN:
        if "cli" not in path.parts:
            assert not any(name.startswith("greenup.cli") for name in imported(path)), path


def drawn() -> dict[str, set[str]]:
    """What the drawing shows of each folder that it lists: its modules and packages."""
    shown: dict[str, set[str]] = {}
    for line in DRAWING.splitlines()[1:]:
        if not line.startswith(" "):
            inside = shown.setdefault(line.split()[0], set())
        else:
            inside.update(re.findall(r"[a-z_]+(?:\.py|/)", line))
    return shown


@pytest.mark.parametrize("folder", ["toolchain/greenup/", "runtime/greenup_runtime/"])
def test_the_drawing_shows_what_is_there_and_nothing_else(folder: str) -> None:
    modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    packages = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
    assert drawn()[folder] == modules | packages


def test_nothing_is_longer_than_a_room_should_be() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in [*RUNTIME, *TOOLCHAIN]}
    assert max(sizes.values()) <= 500, max(sizes, key=lambda path: sizes[path])


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_a_running_runner_loads_no_heavy_package() -> None:
    paths = [path for path in RUNTIME if path.parent.name != "meters" and path.stem != "__init__"]
    modules = [".".join(path.relative_to(ROOT / "runtime").with_suffix("").parts) for path in paths]
    everything = "; ".join(f"import {name}" for name in modules)
    assert not loaded_by(everything) & set(HEAVY)


def test_hello_and_status_do_not_load_onnxruntime() -> None:
    assert "onnxruntime" not in loaded_by("import greenup_runtime.cli")


def test_the_command_line_answers_without_torch() -> None:
    statement = "import greenup.cli, greenup.cli.build, greenup.recipe, greenup.loop, greenup.doctor"
    assert not loaded_by(statement) & {"torch", "onnx", "aeon", "pandas", "matplotlib"}


def test_no_machine_leaves_its_path_in_the_code() -> None:
    for path in [*RUNTIME, *TOOLCHAIN, *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*")]:
        assert str(ROOT.parent) + "/" not in path.read_text(), path
