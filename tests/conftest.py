"""Every test gets folders of its own: no cache, key, store or runner's data of the user is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable in ("GREENUP_CACHE", "GREENUP_CONFIG", "GREENUP_STATE", "GREENUP_RUNNER_HOME"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in ("GREENUP_SIGNING_KEY", "GREENUP_STORE", "GREENUP_RUNNER", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return home


@pytest.fixture(scope="session")
def archive_folder() -> Path:
    """The real data sets, by GREENUP_DATA."""
    folder = os.environ.get("GREENUP_DATA")
    if not folder:
        pytest.skip("GREENUP_DATA is not set: it names the folder with the real data sets")
    return Path(folder)
