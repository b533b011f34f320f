"""Every test gets folders of its own: no cache, key, store or runner's data of the user is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from store_parts import Parts

    from greenup.signing import SigningKey
    from greenup_runtime.store import Store

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable in ("GREENUP_CACHE", "GREENUP_CONFIG", "GREENUP_STATE", "GREENUP_RUNNER_HOME"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in (
        "GREENUP_SIGNING_KEY",
        "GREENUP_STORE",
        "GREENUP_RUNNER",
        "GREENUP_RUNNER_ROOT",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(variable, raising=False)
    return home


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where an fsync is a call like any other and costs nothing."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small bundle, unsigned; for reading."""
    import small_bundle

    path = tmp_path_factory.mktemp("bundle") / "b"
    small_bundle.make(path)
    return path


@pytest.fixture
def key() -> SigningKey:
    """The test's own signing key."""
    from greenup.signing import find_key

    return find_key()


@pytest.fixture
def store(tmp_path: Path, key: SigningKey) -> Store:
    """A device's empty store that trusts `key`."""
    from greenup_runtime.store import Store

    store = Store(tmp_path / "device")
    store.trust(key.allowed_signers_line())
    return store


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plain ONNX file of `small_model.trained()`, for reading."""
    import small_model

    from greenup.export import export_onnx

    path = tmp_path_factory.mktemp("small") / "model.onnx"
    export_onnx(*small_model.trained(), path)
    return path


@pytest.fixture(scope="session")
def built_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the small recipe is built once, and the bundle in `out/bundle`; for reading."""
    import small_recipe

    folder = tmp_path_factory.mktemp("cache")
    recipe = small_recipe.write(tmp_path_factory.mktemp("recipe"))
    environment = {**os.environ, "GREENUP_CACHE": str(folder), "GREENUP_CONFIG": str(folder / "config")}
    command = [*small_recipe.GREENUP, "build", str(recipe), "--quiet", "--out", str(folder / "out")]
    subprocess.run(command, check=True, env=environment)
    return folder


@pytest.fixture
def cached(built_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`built_cache`, used by what the test runs."""
    monkeypatch.setenv("GREENUP_CACHE", str(built_cache))
    return built_cache


@pytest.fixture(scope="session")
def archive_folder() -> Path:
    """The real data sets, by GREENUP_DATA."""
    folder = os.environ.get("GREENUP_DATA")
    if not folder:
        pytest.skip("GREENUP_DATA is not set: it names the folder with the real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Two signed bundles and two keys, for tests of a device's store."""
    import store_parts

    return store_parts.make(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="session")
def serving_home(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner's home where the old bundle serves and nothing else is; for copying."""
    import store_parts

    return store_parts.serving_home(parts, tmp_path_factory.mktemp("serving") / "home").home


@pytest.fixture(scope="session")
def proven_home(parts: Parts, serving_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner's home where the old bundle serves and the new one is proven; for copying."""
    import store_parts

    from greenup_runtime.store import Store

    home = shutil.copytree(serving_home, tmp_path_factory.mktemp("proven") / "home")
    store_parts.install_proven(Store(home), parts.new)
    return home


@pytest.fixture
def home(proven_home: Path, tmp_path: Path) -> Path:
    """A copy of `proven_home` of the test's own."""
    return Path(shutil.copytree(proven_home, tmp_path / "home"))
