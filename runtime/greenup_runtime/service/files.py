"""The service's files with what differs from machine to machine filled in, and where they belong.

Each begins with a mark, so that `remove` takes away what `install` wrote and nothing else.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path, PurePosixPath

from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.files import write_atomic
from greenup_runtime.meters.rapl import READERS, UDEV_RULE, UDEV_RULE_FILE
from greenup_runtime.service.defaults import default_toml

MARK = "# Written by `greenup-runner service install`; `greenup-runner service remove` takes it away."
SETTINGS = PurePosixPath("/etc/greenup-runner/runner.toml")
UNITS = ("greenup-runner.service", "greenup-runner-stream.service")
# Who may read RAPL, I2C, a Raspberry Pi's firmware, serial lines.
GROUPS = (READERS, "i2c", "video", "dialout")
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


def service_files(runner: PurePosixPath) -> dict[PurePosixPath, str]:
    """Content by path of every file but settings. Raises UsageFault for a runner out of the service's sight."""
    _check_visible(runner)
    # A group that is not there yet is made by its m line.
    members = "\n".join(f"m greenup-runner {group}" for group in GROUPS)
    found = {
        **{f"/etc/systemd/system/{unit}": _unit(unit, runner) for unit in UNITS},
        "/etc/sysusers.d/greenup-runner.conf": _text("sysusers.conf").replace("@groups@", members),
        "/etc/tmpfiles.d/greenup-runner.conf": _text("tmpfiles.conf"),
        "/etc/udev/rules.d/71-greenup-devices.rules": _text("devices.rules"),
        UDEV_RULE_FILE: f"# Members of {READERS} may read RAPL's energy counters.\n{UDEV_RULE}\n",
    }
    return {PurePosixPath(path): f"{MARK}\n{text}" for path, text in found.items()}


def install(root: Path, runner: PurePosixPath) -> list[Path]:
    """Write the files below a root, the settings only where none are yet; returns what was written.

    Raises DeviceFault where this user may not write there.
    """
    files = service_files(runner)
    if not _below(root, SETTINGS).exists():
        files[SETTINGS] = default_toml() + "\n"
    written = []
    for path, text in files.items():
        written.append(_write(_below(root, path), text))
    return written


def remove(root: Path, runner: PurePosixPath) -> tuple[list[Path], list[Path]]:
    """Take away what `install` wrote; returns what went and what stays because somebody changed it."""
    gone, kept = [], []
    for path in (*service_files(runner), SETTINGS):
        file = _below(root, path)
        if not file.exists():
            continue
        text = file.read_text()
        if text.startswith(MARK) or (path == SETTINGS and text == default_toml() + "\n"):
            _unlink(file)
            gone.append(file)
        else:
            kept.append(file)
    return gone, kept


def _unit(name: str, runner: PurePosixPath) -> str:
    hardening = _text("hardening.conf").rstrip("\n").replace("@groups@", " ".join(GROUPS))
    hardening = hardening.replace("@runtime@", name.removesuffix(".service"))
    return _text(name).replace("@hardening@", hardening).replace("@runner@", _escaped(str(runner)))


def _escaped(path: str) -> str:
    """A path as ExecStart takes it: % is a specifier there, and blanks part arguments."""
    path = path.replace("%", "%%")
    return f'"{path}"' if " " in path else path


def _check_visible(runner: PurePosixPath) -> None:
    if not runner.is_absolute():
        raise UsageFault(f"{runner} is no absolute path", "name the runner with --runner /opt/…/greenup-runner")
    for hidden in _HIDDEN:
        if runner.is_relative_to(hidden):
            raise UsageFault(
                f"the service's account cannot use {runner}: it is below {hidden}",
                "install the runner elsewhere: python3 -m venv /opt/greenup-runner; see docs/runner.md",
            )


def _text(name: str) -> str:
    return resources.files("greenup_runtime.service").joinpath(name).read_text(encoding="utf-8")


def _below(root: Path, path: PurePosixPath) -> Path:
    return root / path.relative_to("/")


def _write(path: Path, text: str) -> Path:
    try:
        write_atomic(path, text.encode())
        path.chmod(0o644)
    except OSError as error:
        raise DeviceFault(
            f"{path} cannot be written: {error.strerror}", "run it as root, or with --root"
        ) from error
    return path


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise DeviceFault(f"{path} cannot be removed: {error.strerror}", "run it as root") from error
