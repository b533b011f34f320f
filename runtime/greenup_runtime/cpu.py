"""What this machine's processor can do, read below a configurable root."""

from __future__ import annotations

import platform
from pathlib import Path

# A feature of ours on the left; any of the kernel's flags on the right proves it.
_FEATURES = {
    "vnni": {"avx512_vnni", "avx_vnni"},
    "avx2": {"avx2"},
    "avx512": {"avx512f"},
    "dotprod": {"asimddp"},
    "i8mm": {"i8mm"},
}


def isa_features(root: Path = Path("/")) -> tuple[str, ...]:
    """Features that matter to int8 kernels, by greenup's names, sorted; empty where they cannot be read."""
    flags = _flags(root)
    return tuple(sorted(name for name, wanted in _FEATURES.items() if wanted & flags))


def model_name(root: Path = Path("/")) -> str:
    """The processor as the kernel names it, or the architecture."""
    for line in _cpuinfo(root).splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def board_model(root: Path = Path("/")) -> str:
    """The board as the device tree names it; empty where there is none (PCs)."""
    # /proc/device-tree is a link with an absolute path, which would lead out of another root.
    for path in ("sys/firmware/devicetree/base/model", "proc/device-tree/model"):
        try:
            return (root / path).read_text(errors="replace").strip("\0 \n")
        except OSError:
            continue
    return ""


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that a new process may use, or None where the kernel does not say."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def governor(root: Path = Path("/")) -> str | None:
    """The frequency governor of CPU 0, or None where there is none (virtual machines)."""
    try:
        return (root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def _flags(root: Path) -> set[str]:
    for line in _cpuinfo(root).splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return set(value.split())
    return set()


def _cpuinfo(root: Path) -> str:
    try:
        return (root / "proc/cpuinfo").read_text()
    except OSError:
        return ""
