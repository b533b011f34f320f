"""Pages made from the code are as the code is now."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from greenup.cli import VERBS
from greenup_runtime.meters import METERS

DOCS = Path(__file__).parent.parent / "docs"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "recipe.md", "settings.md"])
def test_a_made_page_is_current(name: str) -> None:
    make = script("generate").PAGES[name]
    assert callable(make)
    assert (DOCS / name).read_text() == make(), "run `make docs`"


def test_every_verb_shows_an_example() -> None:
    page = (DOCS / "cli.md").read_text()
    for verb in VERBS:
        assert f"$ greenup {verb}" in page


def test_every_recipe_key_is_explained() -> None:
    assert "None |" not in (DOCS / "recipe.md").read_text()


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_the_overlay_that_the_page_on_meters_shows_compiles(tmp_path: Path) -> None:
    if shutil.which("dtc") is None:
        pytest.skip("dtc is not installed: apt-get install device-tree-compiler")
    (source,) = re.findall(r"```dts\n(.*?)```", (DOCS / "meters.md").read_text(), re.DOTALL)
    (tmp_path / "ina.dts").write_text(source)
    command = ["dtc", "-@", "-I", "dts", "-O", "dtb", "-o", tmp_path / "ina.dtbo", tmp_path / "ina.dts"]
    subprocess.run(command, check=True, capture_output=True)
    back = subprocess.run(
        ["dtc", "-I", "dtb", "-O", "dts", tmp_path / "ina.dtbo"], capture_output=True, text=True, check=True
    )
    assert "shunt-resistor = <0x186a0>" in back.stdout
    assert "i2c_arm" in back.stdout


def test_every_meter_is_explained() -> None:
    page = (DOCS / "meters.md").read_text()
    assert all(f"`{name}`" in page for name in METERS)


def test_a_table_without_a_place_in_any_page_is_told_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, page = script("tables"), tmp_path / "results.md"
    page.write_text("<!-- table:truth -->\nold\n<!-- /table -->\n")
    monkeypatch.setattr(tables, "PAGES", [page])
    monkeypatch.setattr(tables.sys, "argv", ["tables.py", "truth.json", "kettles"])
    with pytest.raises(SystemExit, match=r"no place for kettles\nhint: put <!-- table:kettles -->"):
        tables.main()
    assert "old" in page.read_text()
