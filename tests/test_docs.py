"""Pages made from the code are as the code is now."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from greenup.cli import VERBS

DOCS = Path(__file__).parent.parent / "docs"


def generator() -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, object] = module.PAGES
    return pages


@pytest.mark.parametrize("name", ["cli.md", "recipe.md"])
def test_a_made_page_is_current(name: str) -> None:
    make = generator()[name]
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
