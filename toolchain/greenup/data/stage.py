"""The data stage: locate → read → divide → cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from greenup.data import archive, arrays, identity, own, table, ts, windows
from greenup.data.dataset import DataSet
from greenup.data.files import Located
from greenup.data.recordings import Reading, Recording, check_channels, class_names, listed
from greenup.data.split import Indices, divide
from greenup.recipe import DataSpec
from greenup_runtime.errors import DataFault


def locate(spec: DataSpec, data_dir: Path | None = None) -> Located:
    """The files that a recipe's data stands for; an archive set that lies nowhere yet is downloaded.

    Raises DataFault where there are none, or keys of the recipe do not fit their kind.
    """
    if spec.dataset is not None:
        located = archive.find(spec.dataset, data_dir)
    elif spec.path is not None:
        located = own.find(spec.path)
    else:
        raise DataFault("the recipe names no data", "give dataset or path in its data table")
    if located.kind != "csv" and (spec.channels or spec.time):
        key = "channels" if spec.channels else "time"
        raise DataFault(f"{key} names columns of CSV files, but this data is .{located.kind}", f"leave {key} out")
    return located


def fingerprint(spec: DataSpec, data_dir: Path | None, seed: int) -> str:
    """Quick hex key of what `load` would give: files' bytes, the `data` table, the seed. Nothing is parsed."""
    return identity.fingerprint(locate(spec, data_dir), spec, seed)


def load(spec: DataSpec, *, name: str, seed: int, data_dir: Path | None = None) -> DataSet:
    """The data set as raw windows in three parts, the same for the same files, spec and seed.

    Test files, where the data has them, are the test part, whole, and no training case comes from them. Raises
    DataFault where the data cannot be used, saying why.
    """
    located = locate(spec, data_dir)
    reading, own_test = _read(located, spec)
    learnt, short = windows.without_short(reading.recordings, spec)
    held_back, short_test = windows.without_short(own_test.recordings, spec) if own_test else ((), 0)
    channels = check_channels((*learnt, *held_back))
    classes = _classes(learnt, held_back)
    parts = divide(learnt, spec, seed, len(held_back) if own_test else None)
    chosen = _chosen(learnt, parts.train)
    policy = windows.choose_policy(chosen, channels, spec)
    by_group = spec.split == "group"
    train = windows.cut(chosen, policy, classes, by_group=by_group)
    validation = windows.cut(_chosen(learnt, parts.validation), policy, classes, by_group=by_group)
    test = windows.cut(_chosen(held_back if own_test else learnt, parts.test), policy, classes)
    return DataSet(
        name=name,
        classes=classes,
        train=train,
        validation=validation,
        test=test,
        files=located.listing(),
        split_id=identity.split_id(located, own_test is not None, parts, spec, seed),
        policy=policy,
        notes=(
            *reading.notes,
            *(own_test.notes if own_test else ()),
            *windows.notes_on_short(short + short_test, spec),
            *windows.notes_on_lengths((*learnt, *held_back), policy, spec),
            *windows.notes_on_values((train, validation), test),
        ),
    )


def _read(located: Located, spec: DataSpec) -> tuple[Reading, Reading | None]:
    if located.kind == "npz":
        return arrays.read(located.train[0], spec.group)
    if located.kind == "csv":
        return table.read(located.train, spec), None
    test = ts.read(located.test[0]) if located.test else None
    return ts.read(located.train[0]), test


def _classes(learnt: Sequence[Recording], held_back: Sequence[Recording]) -> tuple[str, ...]:
    classes = class_names(learnt)
    if len(classes) < 2:
        raise DataFault(
            f"a classifier needs 2 classes or more, the data has {listed(classes)}", "check the labels"
        )
    if unseen := [name for name in class_names(held_back) if name not in classes]:
        raise DataFault(
            f"the test part has classes that the training part has not: {listed(unseen)}",
            f"training knows: {listed(classes)}",
        )
    return classes


def _chosen(recordings: Sequence[Recording], indices: Indices) -> list[Recording]:
    return [recordings[index] for index in np.asarray(indices).tolist()]
