"""How much memory a new process really gets: what the kernel has left, within the limits of its control group."""

from __future__ import annotations

from pathlib import Path

from greenup_runtime import cpu


def available_bytes(root: Path = Path("/")) -> int | None:
    """The least of what the kernel and every control group above this process leave; None where neither says."""
    rooms = [room for room in (cpu.available_bytes(root), *_group_rooms(root)) if room is not None]
    return min(rooms) if rooms else None


def resident_bytes() -> int:
    """What this process holds in memory now; 0 where the kernel does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _group_rooms(root: Path) -> list[int | None]:
    rooms: list[int | None] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            rooms += _rooms_above(root / "sys/fs/cgroup", path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            rooms += _rooms_above(base, path, "memory.limit_in_bytes", "memory.usage_in_bytes")
    return rooms


def _rooms_above(base: Path, path: str, limit: str, usage: str) -> list[int | None]:
    """The group's room and its parents'; inside a container the path may lie outside what is mounted."""
    inside = base / path.strip("/")
    folders = [inside, *inside.parents]
    return [_room(folder, limit, usage) for folder in folders if folder == base or base in folder.parents]


def _room(folder: Path, limit: str, usage: str) -> int | None:
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if not most.isdigit() or not used.isdigit():
        return None
    # Pages of files that nobody used lately are given back when memory is asked for.
    stat = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    return max(0, int(most) - int(used) + int(stat.get("inactive_file", "0")))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
