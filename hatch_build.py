"""Build hooks: the host needs the runtime of its own version, and carries its wheel for devices.

An installed host must be able to push a runner to a board that has no network, so the wheel of
`greenup-runtime` travels inside the host's wheel, in `greenup/_wheels/`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

DEPENDENCIES = [
    "torch>=2.9,<3",
    "onnx>=1.19,<2",
    "onnxscript>=0.5,<1",
    "aeon>=1.3,<2",
    "pandas>=2.2,<4",
    "click>=8.1,<9",
    "rich>=13.7,<16",
    "pydantic>=2.9,<3",
    "scipy>=1.13,<2",
    "sqlalchemy>=2.0,<3",
    "matplotlib>=3.9,<4",
    "jinja2>=3.1,<4",
]


class RuntimeDependency(MetadataHookInterface):
    """Adds `greenup-runtime==<version>` to the dependencies: host and runner are released together."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in `dependencies`, which pyproject.toml declares as dynamic."""
        metadata["dependencies"] = [f"greenup-runtime=={metadata['version']}", *DEPENDENCIES]


class RuntimeWheel(BuildHookInterface[Any]):
    """Builds the runtime's wheel and puts it into the host's wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Skip an editable install: it finds the runtime's sources beside it."""
        if version == "editable":
            return
        folder = Path(tempfile.mkdtemp(prefix="greenup-wheel-"))
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "runtime"],
            cwd=self.root,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for wheel in folder.glob("*.whl"):
            build_data["force_include"][str(wheel)] = f"greenup/_wheels/{wheel.name}"


def get_metadata_hook() -> type[MetadataHookInterface]:
    """Name the metadata hook for hatchling, which finds both classes in this file."""
    return RuntimeDependency


def get_build_hook() -> type[BuildHookInterface[Any]]:
    """Name the build hook for hatchling."""
    return RuntimeWheel
