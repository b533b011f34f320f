"""Jetson, Raspberry Pi 5 and GPUs: the right rails summed, at the right scope, by each way of reading them."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from boards import ina, jetson, packages, programs

from greenup_runtime import meters
from greenup_runtime.clock import FakeClock, SystemClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import Meter, MeterOptions, pmic, tegrastats
from greenup_runtime.meters.base import HasRails, StaleReading
from greenup_runtime.meters.survey import patient


def opened(root: Path, request: str, settings: dict[str, object] | None = None) -> Meter:
    return meters.open_named(request, MeterOptions(root=root, settings={"jetson": settings or {}}))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize(
    ("board", "watts", "rail"),
    [
        (jetson.nano_jetpack4, 1.75, "POM_5V_IN"),
        (jetson.xavier_nx_jetpack4, 4.21, "VDD_IN"),
        (jetson.xavier_nx_jetpack5, 4.21, "VDD_IN"),
        (jetson.orin_nano_jetpack6, 4.943, "VDD_IN"),
        (jetson.orin_nano_jetpack7, 4.943, "VDD_IN"),
    ],
)
def test_a_jetson_with_an_input_rail_is_measured_there(
    tmp_path: Path, board: Callable[[Path], Path], watts: float, rail: str
) -> None:
    board(tmp_path)
    meter = opened(tmp_path, "jetson")
    assert meter.read() == pytest.approx(watts)
    assert meter.facts.rails == (rail,)
    assert meter.facts.scope == f"module ({rail})"
    assert isinstance(meter, HasRails)
    assert len(meter.read_rails()) > 1


def test_agx_orin_sums_its_rails_and_says_what_that_leaves_out(tmp_path: Path) -> None:
    jetson.agx_orin_jetpack6(tmp_path)
    meter = opened(tmp_path, "jetson")
    assert meter.read() == pytest.approx(jetson.AGX_ORIN_W)
    assert meter.facts.scope == "sum of 4 rails, without the carrier board"
    assert not {"NC", "sum of shunt voltages"} & set(meter.facts.rails)
    assert "1-0040 and 1-0041" in meter.facts.source


def test_the_step_of_a_jetson_follows_its_shunt(tmp_path: Path) -> None:
    jetson.orin_nano_jetpack6(tmp_path)
    assert opened(tmp_path, "jetson").facts.resolution == pytest.approx(0.008 * 5, rel=0.02)


def test_a_target_names_rails_and_a_wrong_target_is_told(tmp_path: Path) -> None:
    jetson.agx_orin_jetpack6(tmp_path)
    meter = opened(tmp_path, "jetson", {"rails": ["VDD_GPU_SOC", "VDD_CPU_CV"]})
    assert meter.read() == pytest.approx(19 * 0.24)
    with pytest.raises(MeterFault, match="no rail VDD_IN") as caught:
        opened(tmp_path, "jetson", {"rails": ["VDD_IN"]})
    assert "VDD_GPU_SOC" in str(caught.value.hint)


def test_a_breakout_is_no_jetson(tmp_path: Path) -> None:
    ina.ina3221(tmp_path)
    with pytest.raises(MeterFault, match="no Jetson"):
        opened(tmp_path, "jetson")


@pytest.mark.parametrize(
    ("line", "rails"),
    [
        (programs.JETPACK4_NANO, {"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.366}),
        (
            programs.JETPACK5_AGX_ORIN,
            {"VDD_GPU_SOC": 2.39, "VDD_CPU_CV": 0.796, "VIN_SYS_5V0": 3.522, "VDDQ_VDD2_1V8AO": 0.301},
        ),
        (programs.JETPACK6_ORIN_NANO, {"VDD_IN": 4.943, "VDD_CPU_GPU_CV": 1.04, "VDD_SOC": 1.461}),
        (programs.JETPACK7_ORIN_NANO, {"VDD_IN": 4.943, "VDD_CPU_GPU_CV": 1.04, "VDD_SOC": 1.461}),
        ("", {}),
        ("RAM 1923/3964MB SWAP 191/19", {}),
        ("VDD_IN 4.943mW/4.890mW", {}),
        ("VDD_IN 4,943mW/4,890mW", {}),
        ("VDD_IN -5mW/4mW", {}),
        ("VDD_IN 9999999mW/1mW", {}),
        ("VDD_IN ٤٩٤٣mW/٤٨٩٠mW", {}),
    ],
)
def test_tegrastats_lines_of_every_release(line: str, rails: dict[str, float]) -> None:
    assert tegrastats.parse(line) == pytest.approx(rails)


def test_tegrastats_gives_the_input_rail_and_skips_what_is_no_line(tmp_path: Path, path: Path) -> None:
    line = programs.JETPACK6_ORIN_NANO
    programs.tegrastats(path, line, line, "", "ünleserlich", line[: line.index("VDD_SOC")], line)
    meter = opened(tmp_path, "tegrastats")
    try:
        assert meter.facts.rails == ("VDD_IN",)
        for _ in range(8):
            assert patient(meter.read, meter, SystemClock()) == pytest.approx(4.943)
    finally:
        meter.close()
        meter.close()


def test_tegrastats_that_ends_is_started_again_and_at_last_given_up(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tegrastats, "_PAUSE_S", 0.001)
    programs.tegrastats(path, *[programs.JETPACK4_NANO] * 3, pause_s=0.01, forever=False)
    meter = opened(tmp_path, "tegrastats")
    read, ended = 0, None
    while ended is None:
        try:
            meter.read()
            read += 1
        except StaleReading:
            time.sleep(0.001)
        except MeterFault as fault:
            ended = fault.message
    meter.close()
    assert read > 2
    assert f"ended {tegrastats.MOST_RESTARTS + 1} times" in ended


def test_tegrastats_without_power_or_missing_is_a_reason(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tegrastats, "_PATIENCE_S", 0.2)
    programs.tegrastats(path, "RAM 1923/3964MB CPU [5%@1224]")
    with pytest.raises(MeterFault, match="printed no power"):
        opened(tmp_path, "tegrastats")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeterFault, match="not on the PATH"):
        opened(tmp_path, "tegrastats")


def test_jtop_takes_the_total_once_and_never_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", packages.jtop())
    meter = opened(tmp_path, "jtop")
    assert meter.read() == pytest.approx(4.943)
    with pytest.raises(StaleReading):
        meter.read()
    packages.Jtop.clients[0].turn()
    assert meter.read() == pytest.approx(4.943)
    meter.close()
    meter.close()
    assert packages.Jtop.clients[0].closed == 1


def test_jtop_with_the_input_among_its_rails_does_not_double_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rails = {"VDD_IN": packages.JTOP_ORIN_NANO["tot"], **packages.JTOP_ORIN_NANO["rail"]}
    power = {"rail": rails, "tot": packages.JTOP_ORIN_NANO["tot"]}
    monkeypatch.setitem(sys.modules, "jtop", packages.jtop(power))
    meter = opened(tmp_path, "jtop")
    assert meter.facts.rails == ("VDD_IN",)
    assert meter.read() == pytest.approx(4.943)


@pytest.mark.parametrize("power", [None, {}, {"rail": {"A": {}}}, {"rail": {"A": {"power": "3"}}}, {"rail": {}}])
def test_jtop_that_shows_no_power_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: object
) -> None:
    monkeypatch.setitem(sys.modules, "jtop", packages.jtop(power))
    with pytest.raises(MeterFault):
        opened(tmp_path, "jtop")
    assert packages.Jtop.clients[0].closed == 1


def test_jtop_missing_or_not_running_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)
    with pytest.raises(MeterFault, match="jetson-stats is not installed"):
        opened(tmp_path, "jtop")
    monkeypatch.setitem(sys.modules, "jtop", packages.jtop(running=False))
    with pytest.raises(MeterFault, match="not active") as caught:
        opened(tmp_path, "jtop")
    assert "group jtop" in str(caught.value.hint)


def test_the_pmic_sums_the_rails_with_current_and_says_what_it_misses(tmp_path: Path, path: Path) -> None:
    programs.vcgencmd(path, programs.PMIC)
    meter = opened(tmp_path, "pmic")
    assert meter.read() == pytest.approx(programs.PMIC_W, abs=2e-4)
    assert meter.facts.scope == "12 rails, no input current"
    assert meter.facts.update_s == pmic.VCGENCMD_UPDATE_S
    assert not {"EXT5V", "BATT"} & set(meter.facts.rails)


def test_the_mailbox_goes_before_vcgencmd(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The firmware's side of the mailbox, as its message is laid out; the device node is a file."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/vcio").touch()
    asked = []

    def firmware(_device: int, request: int, message: bytearray, _mutate: bool) -> int:
        size, zero, tag, room, _, _ = struct.unpack_from("<6I", message)
        asked.append((request, size, zero, tag, room, bytes(message[24:]).partition(b"\0")[0]))
        struct.pack_into("<I", message, 4, 0x80000000)
        message[24 : 24 + len(programs.PMIC) + 1] = programs.PMIC.encode() + b"\0"
        return 0

    monkeypatch.setattr(fcntl, "ioctl", firmware)
    meter = opened(tmp_path, "pmic")
    assert meter.read() == pytest.approx(programs.PMIC_W, abs=2e-4)
    assert "mailbox" in meter.facts.source
    request = 0xC0086400 if struct.calcsize("P") == 8 else 0xC0046400
    assert asked[0] == (request, 24 + 4096 + 4, 0, 0x30080, 4096, b"pmic_read_adc")
    meter.close()
    meter.close()
    with pytest.raises(MeterFault, match="closed"):
        meter.read()


def test_a_mailbox_that_refuses_falls_back_to_vcgencmd(tmp_path: Path, path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/vcio").touch()
    programs.vcgencmd(path, programs.PMIC)
    assert "vcgencmd" in opened(tmp_path, "pmic").facts.source
    with pytest.raises(MeterFault, match="refuses"):
        opened(tmp_path, "pmic:mailbox")


def test_a_pi_without_the_chip_says_so(tmp_path: Path, path: Path) -> None:
    programs.vcgencmd(path, 'error=1 error_msg="Command not registered"\n')
    with pytest.raises(MeterFault, match="no rail with a current") as caught:
        opened(tmp_path, "pmic")
    assert "Raspberry Pi 5" in str(caught.value.hint)


def test_a_text_that_was_cut_is_a_fault_and_no_smaller_sum(tmp_path: Path, path: Path) -> None:
    programs.vcgencmd(path, programs.PMIC)
    meter = opened(tmp_path, "pmic")
    for length in range(0, programs.PMIC.index("EXT5V"), 97):
        programs.vcgencmd(path, programs.PMIC[:length])
        with pytest.raises(MeterFault):
            meter.read()


def test_nvml_counts_where_the_gpu_does_and_reads_power_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = packages.Gpu()
    monkeypatch.setitem(sys.modules, "pynvml", packages.pynvml(gpu))
    meter = opened(tmp_path, "nvml")
    gpu.energy_mj += 12_500
    assert meter.read() == pytest.approx(12.5)
    gpu.energy_mj = 3
    with pytest.raises(MeterFault, match="fell"):
        meter.read()
    meter.close()
    meter.close()
    assert gpu.open == 0
    gpu.counter = False
    power = opened(tmp_path, "nvml")
    assert power.facts.kind == "power"
    assert power.read() == pytest.approx(70.0)


def test_nvml_without_or_with_several_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", packages.pynvml(None))
    with pytest.raises(MeterFault, match="no NVIDIA GPU"):
        opened(tmp_path, "nvml")
    gpu = packages.Gpu(count=2)
    monkeypatch.setitem(sys.modules, "pynvml", packages.pynvml(gpu))
    with pytest.raises(MeterFault, match="there are 2 GPUs"):
        opened(tmp_path, "nvml")
    assert opened(tmp_path, "nvml:1").facts.scope == "GPU"


def test_a_meter_of_ones_own_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site/bench_meter-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Name: bench-meter\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[greenup_runtime.meters]\nbench = bench_meter:open_meter\nbroken = bench_meter:nothing\n"
    )
    (tmp_path / "site/bench_meter.py").write_text(
        "from greenup_runtime.meters.fake import FakeMeter\n"
        "def open_meter(options):\n    return FakeMeter(options.clock, idle_w=7.0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    options = MeterOptions(root=tmp_path, clock=FakeClock())
    assert meters.open_named("bench", options).read() == 0.0
    rows = {row["name"]: row for row in meters.survey(options)}
    assert rows["bench"]["power_w"] == pytest.approx(7.0)
    assert "cannot be loaded" in rows["broken"]["reason"]


def test_a_meter_the_device_lacks_lists_those_it_has(tmp_path: Path) -> None:
    jetson.orin_nano_jetpack6(tmp_path)
    with pytest.raises(MeterFault, match="this device has: jetson, ina"):
        meters.choose("rapl", [], MeterOptions(root=tmp_path, clock=FakeClock()))
