"""RAPL on the trees of four kinds of processors: nothing counted twice, wraps undone, resets reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from boards import rapl

from greenup_runtime import meters
from greenup_runtime.clock import FakeClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import MeterOptions
from greenup_runtime.meters.rapl import RaplMeter

ROOT = Path(__file__).parent.parent


def opened(root: Path, request: str = "rapl", clock: FakeClock | None = None) -> RaplMeter:
    meter = meters.open_named(request, MeterOptions(root=root, clock=clock or FakeClock()))
    assert isinstance(meter, RaplMeter)
    return meter


def test_a_client_is_measured_at_its_platform_and_shows_the_parts(tmp_path: Path) -> None:
    zones = rapl.client(tmp_path)
    meter = opened(tmp_path)
    for number, joules in {"0": 5.0, "0:0": 3.0, "0:1": 1.0, "1": 9.0}.items():
        rapl.spend(zones[number], joules)
    assert meter.read() == pytest.approx(9.0)
    assert meter.facts.scope == "platform"
    parts = {"package-0": 5.0, "package-0/core": 3.0, "package-0/uncore": 1.0, "psys": 9.0}
    assert meter.read_rails() == pytest.approx(parts)


def test_the_packages_can_be_asked_for_and_cores_are_not_added(tmp_path: Path) -> None:
    zones = rapl.client(tmp_path)
    meter = opened(tmp_path, "rapl:packages")
    for number, joules in {"0": 5.0, "0:0": 3.0, "0:1": 1.0, "1": 9.0}.items():
        rapl.spend(zones[number], joules)
    assert meter.read() == pytest.approx(5.0)
    assert meter.facts.rails == ("package-0",)


def test_a_psys_that_never_moved_is_not_believed(tmp_path: Path) -> None:
    zones = rapl.client(tmp_path)
    (zones["1"] / "energy_uj").write_text("0\n")
    assert opened(tmp_path).facts.scope == "package"


def test_a_servers_memory_is_added_to_its_packages(tmp_path: Path) -> None:
    zones = rapl.server(tmp_path)
    meter = opened(tmp_path)
    for folder in zones.values():
        rapl.spend(folder, 2.0)
    assert meter.read() == pytest.approx(8.0)
    assert meter.facts.scope == "package + memory"
    assert meter.facts.rails == ("package-0", "package-0/dram", "package-1", "package-1/dram")


def test_every_die_of_a_package_is_added(tmp_path: Path) -> None:
    zones = rapl.multi_die(tmp_path)
    meter = opened(tmp_path)
    for folder in zones.values():
        rapl.spend(folder, 1.0)
    assert meter.read() == pytest.approx(4.0)


def test_amd_is_read_under_the_same_names(tmp_path: Path) -> None:
    zones = rapl.amd(tmp_path)
    meter = opened(tmp_path)
    rapl.spend(zones["0"], 7.0)
    rapl.spend(zones["0:0"], 4.0)
    assert meter.read() == pytest.approx(7.0)


def test_a_counter_that_was_reset_is_a_fault_from_then_on(tmp_path: Path) -> None:
    zones = rapl.amd(tmp_path)
    clock = FakeClock()
    (zones["0"] / "energy_uj").write_text("30000000000\n")
    meter = opened(tmp_path, clock=clock)
    clock.sleep(1.0)
    (zones["0"] / "energy_uj").write_text("5\n")
    for _ in range(2):
        with pytest.raises(MeterFault, match="was reset"):
            meter.read()


def test_hidden_zones_are_told_from_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "sys/class/powercap").mkdir(parents=True)
    (tmp_path / "sys/class/powercap/intel-rapl:0").symlink_to("../../devices/virtual/powercap/masked")
    with pytest.raises(MeterFault, match="hidden"):
        opened(tmp_path)


def test_a_sum_that_is_not_there_lists_the_zones(tmp_path: Path) -> None:
    rapl.amd(tmp_path)
    with pytest.raises(MeterFault, match="no RAPL zone of the psys") as caught:
        opened(tmp_path, "rapl:psys")
    assert "package-0" in str(caught.value.hint)
    with pytest.raises(MeterFault, match="cannot sum 'cores'"):
        opened(tmp_path, "rapl:cores")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_without_the_right_to_read_the_udev_rule_is_pointed_at(tmp_path: Path) -> None:
    """Read as another user, in a process of its own: root may read everything."""
    tree = tmp_path / "tree"
    for folder in rapl.amd(tree).values():
        (folder / "energy_uj").chmod(0o400)
    for parent in [tree, *tree.parents]:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from greenup_runtime import meters\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: meters.open_named('rapl', meters.MeterOptions(root=Path(sys.argv[1])))\n"
        "except meters.MeterFault as fault: print(fault.message, '|', fault.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tree)], capture_output=True, text=True, check=True)
    assert "no right to read" in done.stdout
    assert "greenup doctor --fix" in done.stdout


class TestPyRapl:
    """pyRAPL and ours on one tree; run where pyRAPL is installed (`pip install greenup[pyrapl]`)."""

    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("pyRAPL", reason="pyRAPL is not installed: pip install pyRAPL")

    @pytest.mark.parametrize("board", [rapl.server, rapl.amd])
    def test_both_agree(self, tmp_path: Path, board: object) -> None:
        assert callable(board)
        zones = board(tmp_path)
        ours, theirs = opened(tmp_path, "rapl"), meters.open_named("pyrapl", MeterOptions(root=tmp_path))
        for step in (0.25, 3.0, 100.0):
            for folder in zones.values():
                rapl.spend(folder, step)
            assert ours.read() == pytest.approx(theirs.read(), abs=1e-6)
        assert ours.facts.scope == theirs.facts.scope

    def test_a_wrap_is_a_fault_of_pyrapl_and_ours_goes_on(self, tmp_path: Path) -> None:
        zones = rapl.tree(tmp_path, {"0": "package-0"}, energy_uj=19_000_000, range_uj=20_000_000)
        ours, theirs = opened(tmp_path, "rapl"), meters.open_named("pyrapl", MeterOptions(root=tmp_path))
        rapl.spend(zones["0"], 4.0)
        assert ours.read() == pytest.approx(4.0)
        with pytest.raises(MeterFault, match="does not undo wraps"):
            theirs.read()

    def test_several_dies_are_refused(self, tmp_path: Path) -> None:
        rapl.multi_die(tmp_path)
        with pytest.raises(MeterFault, match="pyRAPL refuses"):
            meters.open_named("pyrapl", MeterOptions(root=tmp_path))
