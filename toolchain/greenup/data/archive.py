"""Find a data set of the UCR/UEA archive by name: in a folder, in aeon, in the cache, or by download.

The archive's own division stands: `NAME_TRAIN.ts` is for training and validation, `NAME_TEST.ts` for the test.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import zipfile
from pathlib import Path

from greenup.data.files import DataFile, Located, damaged_zip
from greenup.data.recordings import did_you_mean, listed
from greenup.folders import cache_folder
from greenup_runtime.errors import DataFault

SITE = "timeseriesclassification.com"
_PARTS = ("TRAIN", "TEST")


def find(name: str, data_dir: Path | None) -> Located:
    """The two files of the set, downloaded into the cache where they lie nowhere yet.

    Looked for in this order: `data_dir` (else the folder named by GREENUP_DATA), the sets inside the installed
    aeon, earlier downloads, the archive. Raises DataFault where the set cannot be had, listing what is there.
    """
    folder = _chosen_folder(data_dir)
    for place in (folder, _shipped_folder(), _download_folder()):
        if place is not None and (files := _in_folder(place, name)):
            return Located("ts", files[:1], files[1:], archive=True, folder=name)
    _download(name, folder)
    return Located("ts", *_pair(_download_folder() / name, name), archive=True, folder=name)


def _chosen_folder(data_dir: Path | None) -> Path | None:
    named = os.environ.get("GREENUP_DATA")
    folder = data_dir or (Path(named) if named else None)
    if folder is not None and not folder.is_dir():
        source = "the data folder" if data_dir else "GREENUP_DATA names"
        raise DataFault(f"{source} {folder}, which is no folder", "name a folder that holds NAME.zip or NAME/")
    return folder


def _shipped_folder() -> Path | None:
    """Where the installed aeon keeps its own sets; found without importing it, which takes seconds."""
    spec = importlib.util.find_spec("aeon")
    return Path(spec.origin).parent / "datasets" / "data" if spec and spec.origin else None


def _download_folder() -> Path:
    return cache_folder() / "data"


def _in_folder(folder: Path, name: str) -> tuple[DataFile, ...]:
    if Path(name).name != name:
        return ()
    if (packed := folder / f"{name}.zip").is_file():
        return _in_zip(packed, name)
    for place in (folder / name, folder):
        if (place / f"{name}_TRAIN.ts").is_file():
            train, test = _pair(place, name)
            return (*train, *test)
    return ()


def _pair(folder: Path, name: str) -> tuple[tuple[DataFile, ...], tuple[DataFile, ...]]:
    files = [DataFile(f"{name}_{part}.ts", folder / f"{name}_{part}.ts") for part in _PARTS]
    for file in files:
        if not file.path.is_file():
            raise DataFault(f"{folder} holds no {file.name}", f"put {name}_TRAIN.ts and {name}_TEST.ts there")
    return (files[0],), (files[1],)


def _in_zip(packed: Path, name: str) -> tuple[DataFile, ...]:
    try:
        with zipfile.ZipFile(packed) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise damaged_zip(packed, error) from error
    by_name = {Path(member).name: member for member in members}
    wanted = [f"{name}_{part}.ts" for part in _PARTS]
    if missing := [item for item in wanted if item not in by_name]:
        raise DataFault(f"{packed} holds no {' and no '.join(missing)}", f"it holds: {listed(by_name)}")
    return tuple(DataFile(item, packed, by_name[item]) for item in wanted)


def _download(name: str, folder: Path | None) -> None:
    """Let aeon fetch the set; it appears in the cache by one rename, so half a download is never found there."""
    from aeon.datasets import load_classification

    target = _download_folder()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=target) as fresh:
        try:
            load_classification(name, extract_path=fresh, load_equal_length=False, load_no_missing=False)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise _not_found(name, folder, error) from error
        if not (target / name).exists():
            (Path(fresh) / name).rename(target / name)


def _not_found(name: str, folder: Path | None, error: Exception) -> DataFault:
    from aeon.datasets.tsc_datasets import tsc_zenodo

    here = _names(folder) if folder else []
    shipped = [item for item in _names(_shipped_folder()) if item in tsc_zenodo]
    if name in tsc_zenodo:
        cause = f"{name} could not be downloaded from the archive ({_first_line(error)})"
    else:
        cause = f"the archive knows no classification set of that name{did_you_mean(name, [*here, *tsc_zenodo])}"
    held = f"{folder} holds {listed(here)}" if folder else "no data folder is named"
    return DataFault(
        f"data set {name!r} was not found: {held}; aeon ships {listed(shipped)}; {cause}",
        f"get {name}.zip (with {name}_TRAIN.ts and {name}_TEST.ts) from {SITE}, put it into a folder, and name "
        "that folder with --data-dir or GREENUP_DATA",
    )


def _names(folder: Path | None) -> list[str]:
    """The sets in a folder: its zips, and what has a TRAIN file."""
    if folder is None or not folder.is_dir():
        return []
    packed = {path.stem for path in folder.glob("*.zip")}
    plain = {
        path.name.removesuffix("_TRAIN.ts")
        for pattern in ("*_TRAIN.ts", "*/*_TRAIN.ts")
        for path in folder.glob(pattern)
    }
    return sorted(packed | plain)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
