"""`greenup doctor`: every meter with its rails, rate and noise, or why not; and what `--fix` writes or shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from boards import ina, rapl

from greenup import doctor, permissions
from greenup.cli import run
from greenup_runtime.errors import GreenupError
from greenup_runtime.meters.rapl import UDEV_RULE, UDEV_RULE_FILE


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local device, with its sensors below a folder of ours."""
    monkeypatch.setenv("GREENUP_RUNNER_ROOT", str(tmp_path))
    return tmp_path


def test_a_usable_meter_is_shown_with_rails_rate_and_noise(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ina.hwmon(board, "ina226")
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (summary,) = (line for line in lines if line.startswith("ok    meter  "))
    assert "ina (what flows through the sensor)" in summary
    (shown,) = (line for line in lines if line.startswith("ok    meter ina"))
    for part in ("2.56 W idle", "W noise", "readings/s", "rails: input 2.56 W"):
        assert part in shown
    assert "10 times too high" in lines[lines.index(shown) + 1]
    (other,) = (line for line in lines if line.startswith("no    meter rapl"))
    assert "no RAPL" in other


def test_fix_shows_the_commands_to_those_who_may_not_write() -> None:
    first, *commands = permissions.repair(as_root=False)
    assert UDEV_RULE_FILE in first
    assert any(f"sudo tee {UDEV_RULE_FILE}" in command and UDEV_RULE in command for command in commands)
    assert all("sudo " in command for command in commands)


def test_fix_writes_the_rule_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "rules.d/70.rules"
    first, *rest = permissions.repair(as_root=True, rule_file=file)
    assert str(file) in first
    assert UDEV_RULE in file.read_text()
    assert any("udevadm" in line for line in rest)


def test_fix_that_cannot_write_says_so() -> None:
    """Nobody, not even root, may make a file in sysfs."""
    with pytest.raises(GreenupError, match="the rule /sys/greenup/70"):
        permissions.repair(as_root=True, rule_file=Path("/sys/greenup/70.rules"))


def test_fix_repairs_only_what_lacks_a_right(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.permissions, "repair", lambda: ["wrote it"])
    assert run(["doctor", "--fix"]) == 0
    assert "nothing that doctor can repair: no RAPL" in capsys.readouterr().out
    rapl.amd(board)
    assert run(["doctor", "--fix"]) == 0
    assert capsys.readouterr().out == "wrote it\n"


def test_ssh_keygen_is_needed_and_its_path_shown(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = (check for check in doctor.examine("local") if check.name == "ssh-keygen")
    assert (check.ok, check.message) == (True, shutil.which("ssh-keygen"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (check,) = (check for check in doctor.examine("local") if check.name == "ssh-keygen")
    assert (check.ok, check.needed, check.hint) == (False, True, "install openssh-client")
