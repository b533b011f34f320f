"""Boot a machine once, let it run its scenarios, and bring back what it said."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import cpio, frames, parts
from lab.machines import Machine

_HERE = Path(__file__).parents[1]
_RUNTIME = _HERE.parents[1] / "runtime/greenup_runtime"
MEMORY_MB = 1024


@dataclass(frozen=True)
class Booted:
    """What a machine said, by scenario, and its console as text."""

    outcomes: dict[str, dict[str, Any]]
    console: str

    def outcome(self, scenario: str) -> dict[str, Any]:
        """What a scenario found. Raises AssertionError, with the machine's words, where it failed or never ran."""
        found = self.outcomes.get(scenario)
        if found is None:
            raise AssertionError(f"{scenario} never ran; the console ends with:\n{self.console[-3000:]}")
        if "failed" in found:
            raise AssertionError(f"{scenario} failed in the machine:\n{found['failed']}")
        return found


def why_not(machine: Machine) -> str | None:
    """Why this machine cannot be run here, or None."""
    if shutil.which(machine.qemu[0]) is None:
        return f"{machine.qemu[0]} is not installed: run .ci/kernel"
    if not parts.folder(machine).exists():
        return f"the parts of machine {machine.name} are not prepared in {parts.cache()}: run .ci/kernel"
    return None


def boot(machine: Machine, work: Path, files: dict[str, bytes], scenarios: list[str], limit_s: int) -> Booted:
    """Run the scenarios; `files` are put below /input of the machine. `work` is an empty folder for its parts."""
    made = parts.folder(machine)
    initrd = work / "initrd"
    with initrd.open("wb") as out:
        with (made / "root.cpio").open("rb") as root:
            shutil.copyfileobj(root, out)
        out.write(bytes(-out.tell() % 512))
        cpio.write_tree(_overlay(machine, work / "overlay", files, scenarios), out)
    command = [*machine.qemu, "-m", str(MEMORY_MB), "-nographic", "-no-reboot", "-nic", "none"]
    # Time passes by instructions, 16 ns each, and an idle machine skips to its next timer: how busy the host is
    # changes nothing that the machine sees, and its pauses cost nothing.
    command += ["-icount", "shift=4,sleep=off"]
    command += ["-kernel", str(made / "vmlinuz"), "-initrd", str(initrd)]
    command += ["-append", f"console={machine.console} quiet panic=-1 mitigations=off"]
    if machine.device_tree:
        command += ["-dtb", str(made / "board.dtb")]
    log = work / "console"
    with log.open("wb") as console:
        subprocess.run(
            ["timeout", "-k", "5", str(limit_s), "nice", "-n", "10", *command],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            check=False,
        )
    initrd.unlink()
    text = log.read_bytes().decode(errors="replace")
    answers = frames.decode(text.splitlines())
    return Booted({answer["scenario"]: answer for answer in answers}, text)


def _overlay(machine: Machine, root: Path, files: dict[str, bytes], scenarios: list[str]) -> Path:
    """What differs from run to run: the runner, the scenarios, their input."""
    made = parts.folder(machine)
    shutil.copytree(_RUNTIME, root / "greenup/greenup_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(_HERE / "guest", root / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_HERE / "lab/frames.py", root / "guest/frames.py")
    shutil.copytree(made / "modules", root / "modules")
    (root / "init").symlink_to("guest/init")
    (root / "guest/init").chmod(0o755)
    for name, content in {**files, "scenarios.json": json.dumps(scenarios).encode()}.items():
        path = root / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
