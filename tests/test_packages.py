"""The two distributions as a user installs them: built as wheels, in virtual environments of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import small_bundle

from greenup import bundle as packing
from greenup import loop
from greenup.devices.client import RunnerClient
from greenup.devices.inventory import LOCAL, Device
from greenup.devices.link import LocalLink
from greenup.recipe import MeasureSpec
from greenup.signing import find_key
from greenup.targets import detect_local

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for project in ("runtime", "."):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, project)
    return folder


@pytest.fixture(scope="module")
def runtime_only(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds greenup-runtime and what it depends on, and nothing else."""
    environment = tmp_path_factory.mktemp("runtime-only")
    run(sys.executable, "-m", "venv", environment)
    (wheel,) = wheels.glob("greenup_runtime-*.whl")
    constraints = ["--constraint", ROOT / "constraints.txt"]
    run(environment / "bin/python", "-m", "pip", "install", "--quiet", *constraints, wheel)
    return environment


def test_the_hosts_wheel_carries_targets_and_the_runtimes_wheel(wheels: Path) -> None:
    (wheel,) = wheels.glob("greenup-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    (carried,) = (name for name in names if name.startswith("greenup/_wheels/greenup_runtime-"))
    assert {"greenup/targets/x86-64.toml", "greenup/py.typed", "greenup/docker/README.md"} <= set(names)
    assert any(name.endswith("template.html.j2") for name in names)
    (own,) = wheels.glob("greenup_runtime-*.whl")
    assert Path(carried).name == own.name


def test_a_device_installs_little(runtime_only: Path) -> None:
    listed = run(runtime_only / "bin/python", "-m", "pip", "list", "--format", "json")
    names = {row["name"].lower() for row in json.loads(listed)}
    assert {"greenup-runtime", "numpy", "onnxruntime"} <= names
    assert not names & {"torch", "onnx", "pandas", "greenup", "scipy"}


def test_a_runner_without_the_toolchain_proves_serves_and_measures(runtime_only: Path, tmp_path: Path) -> None:
    runner = RunnerClient(LocalLink(home=tmp_path / "home", runner=str(runtime_only / "bin/greenup-runner")))
    device = Device(LOCAL, detect_local(), runner)
    session = loop.Session(device, tmp_path / "out", find_key(), lambda *_: None)
    small_bundle.make(session.bundle_folder)
    packing.sign(session.bundle_folder, find_key())
    spec = MeasureSpec(burst_s=0.02, warmup_s=0.0, pilot_rounds=3, max_rounds=3)
    _, trial = loop.open_trial(loop.measure(session, spec, "estimate", 0, again=False))
    assert trial.variants == ("fp32", "pruned")
    assert trial.meter is not None
    assert trial.meter.estimated


def test_the_host_from_its_wheel_alone_builds_nothing_from_the_checkout_and_pushes(
    wheels: Path, tmp_path: Path
) -> None:
    """The wheel's code, unpacked away from the checkout, pushes with the packages of this environment."""
    site = tmp_path / "site"
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    small_bundle.make(tmp_path / "out/bundle")
    packing.sign(tmp_path / "out/bundle", find_key())
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import greenup, greenup.folders\n"
        f"assert greenup.__file__.startswith({str(site)!r}), greenup.__file__\n"
        f"assert str(greenup.folders.shipped('targets')).startswith({str(site)!r})\n"
        "from greenup.cli import run\n"
        f"sys.exit(run(['push', {str(tmp_path / 'out')!r}, '--json', '--quiet']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["usable"] == ["fp32", "pruned"]
