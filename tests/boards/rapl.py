"""Powercap trees of processors with RAPL.

/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0    zones inside one another
/sys/class/powercap/intel-rapl, intel-rapl:0, intel-rapl:0:0            links to all of them, side by side
"""

from __future__ import annotations

from pathlib import Path

from boards.files import link, write

RANGE_UJ = 262_143_328_850


def tree(root: Path, names: dict[str, str], energy_uj: int = 900, range_uj: int = RANGE_UJ) -> dict[str, Path]:
    """Zones by number (`0`, `0:1`) and name; returns each one's folder by its number."""
    driver = root / "sys/devices/virtual/powercap/intel-rapl"
    classes = root / "sys/class/powercap"
    folders = {}
    for number, name in names.items():
        parts = number.split(":")
        folder = driver / f"intel-rapl:{parts[0]}" / (f"intel-rapl:{number}" if len(parts) > 1 else "")
        folders[number] = write(folder, name=name, energy_uj=energy_uj, max_energy_range_uj=range_uj)
        link(classes / f"intel-rapl:{number}", folder)
    link(classes / "intel-rapl", driver)
    sockets = sum(name.startswith("package") and "die" not in name for name in names.values())
    _processors(root, max(1, sockets))
    return folders


def client(root: Path) -> dict[str, Path]:
    """An Intel notebook: package with core and uncore, the platform's psys, and MMIO's copy of the package."""
    folders = tree(root, {"0": "package-0", "0:0": "core", "0:1": "uncore", "1": "psys"})
    copy = write(root / "sys/devices/virtual/powercap/intel-rapl-mmio/intel-rapl-mmio:0", name="package-0")
    write(copy, energy_uj=900, max_energy_range_uj=RANGE_UJ)
    link(root / "sys/class/powercap/intel-rapl-mmio:0", copy)
    return folders


def server(root: Path) -> dict[str, Path]:
    """Two Intel sockets, each a package with memory beside it."""
    return tree(root, {"0": "package-0", "0:0": "dram", "1": "package-1", "1:0": "dram"})


def multi_die(root: Path) -> dict[str, Path]:
    """One package of two dies: a zone each."""
    return tree(root, {"0": "package-0-die-0", "0:0": "dram", "1": "package-0-die-1", "1:0": "dram"})


def amd(root: Path) -> dict[str, Path]:
    """AMD Zen under the same names, with a 32-bit range at 15.3 µJ a step."""
    return tree(root, {"0": "package-0", "0:0": "core"}, range_uj=65_532_610_987)


def spend(folder: Path, joules: float) -> None:
    """Let a zone's counter go on, and start again at 0 behind its range."""
    range_uj = int((folder / "max_energy_range_uj").read_text())
    now_uj = int((folder / "energy_uj").read_text()) + round(joules * 1e6)
    (folder / "energy_uj").write_text(f"{now_uj % (range_uj + 1)}\n")


def _processors(root: Path, sockets: int) -> None:
    cpus = root / "sys/devices/system/cpu"
    write(cpus, present=f"0-{sockets - 1}" if sockets > 1 else "0")
    for number in range(sockets):
        write(cpus / f"cpu{number}/topology", physical_package_id=number)
