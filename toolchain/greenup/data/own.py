"""Find the files of one's own data below a path. `docs/data.md` shows every layout."""

from __future__ import annotations

from pathlib import Path

from greenup.data.files import DataFile, Located
from greenup.data.recordings import did_you_mean, listed
from greenup_runtime.errors import DataFault

_LAYOUTS = "docs/data.md shows the layouts: .ts, .npz, one .csv, or a folder of .csv files"


def find(path: Path) -> Located:
    """What lies at the path. Raises DataFault where that is nothing, or nothing that can be read."""
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise DataFault(f"{path} does not exist{_near(path)}", _LAYOUTS)
    match path.suffix.lower():
        case ".ts":
            return _ts(path)
        case ".csv":
            return _alone("csv", path)
        case ".npz":
            return _alone("npz", path)
    raise DataFault(f"{path} is no .ts, .csv or .npz file", _LAYOUTS)


def _alone(kind: str, path: Path) -> Located:
    file = (DataFile(path.name, path),)
    return Located("csv" if kind == "csv" else "npz", file, (), archive=False, folder=path.stem)


def _ts(path: Path) -> Located:
    """One file, or a pair where the other half of `NAME_TRAIN.ts` and `NAME_TEST.ts` lies beside it."""
    name = path.stem.removesuffix("_TRAIN").removesuffix("_TEST")
    train, test = (path.with_name(f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
    if train.is_file() and test.is_file():
        pair = DataFile(train.name, train), DataFile(test.name, test)
        return Located("ts", pair[:1], pair[1:], archive=False, folder=name)
    return Located("ts", (DataFile(path.name, path),), (), archive=False, folder=name)


def _in_folder(folder: Path) -> Located:
    trains = sorted(folder.glob("*_TRAIN.ts"))
    if len(trains) == 1:
        return _ts(trains[0])
    files = sorted(item for item in folder.rglob("*") if item.is_file() and item.suffix.lower() == ".csv")
    names = [item.relative_to(folder) for item in files if not _hidden(item.relative_to(folder))]
    depths = {len(name.parts) for name in names}
    if not names or max(depths) > 2:
        held = listed(sorted(item.name for item in folder.iterdir()))
        deep = " or has sub-folders of sub-folders" if names else ""
        raise DataFault(f"{folder} has no .csv files that can be read{deep}; it holds {held}", _LAYOUTS)
    if len(depths) > 1:
        raise DataFault(
            f"{folder} holds .csv files both beside and inside sub-folders",
            "either each sub-folder is a class, or every file has a label column",
        )
    every = tuple(DataFile(name.as_posix(), folder / name) for name in names)
    return Located("csv", every, (), archive=False, folder=folder.name)


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _near(path: Path) -> str:
    parent = path.parent
    return did_you_mean(path.name, [item.name for item in parent.iterdir()]) if parent.is_dir() else ""
