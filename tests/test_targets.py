"""The boards that ship: each file is whole, is found by its model, and its meters open on that board's tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from boards import jetson

from greenup import targets, widths
from greenup.presets import config_for
from greenup.recipe import ModelSpec, PruneSpec
from greenup_runtime import cpu, meters
from greenup_runtime.errors import UsageFault
from greenup_runtime.meters import MeterOptions

BOARDS = {
    "jetson-agx-orin": "NVIDIA Jetson AGX Orin Developer Kit",
    "jetson-nano": "NVIDIA Jetson Nano Developer Kit",
    "jetson-orin-nano": "NVIDIA Jetson Orin Nano Developer Kit",
    "jetson-xavier-nx": "NVIDIA Jetson Xavier NX Developer Kit",
    "raspberry-pi-4": "Raspberry Pi 4 Model B Rev 1.4",
    "raspberry-pi-5": "Raspberry Pi 5 Model B Rev 1.0",
    "raspberry-pi-zero-2-w": "Raspberry Pi Zero 2 W Rev 1.0",
}


@pytest.mark.parametrize("name", targets.names())
def test_a_target_names_itself_and_meters_that_exist(name: str) -> None:
    target = targets.load(name)
    assert target.name == name
    assert set(target.meters.order) <= set(meters.METERS)
    assert target.runtime.opset_max == 20
    assert target.estimate is None or target.estimate.source


@pytest.mark.parametrize(("name", "model"), BOARDS.items())
def test_a_board_is_found_by_its_model(tmp_path: Path, name: str, model: str) -> None:
    base = tmp_path / "sys/firmware/devicetree/base"
    base.mkdir(parents=True)
    (base / "model").write_text(f"{model}\0")
    assert cpu.board_model(tmp_path) == model
    assert targets.detect("aarch64", model).name == name


def test_a_board_nobody_knows_is_a_fault_and_a_pc_is_a_pc() -> None:
    assert targets.detect("x86_64", "").name == "x86-64"
    with pytest.raises(UsageFault, match="Some Board") as caught:
        targets.detect("aarch64", "Some Board")
    assert "raspberry-pi-5" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("jetson-nano", jetson.nano_jetpack4),
        ("jetson-xavier-nx", jetson.xavier_nx_jetpack5),
        ("jetson-orin-nano", jetson.orin_nano_jetpack6),
        ("jetson-agx-orin", jetson.agx_orin_jetpack6),
    ],
)
def test_the_first_meter_of_a_jetson_opens_with_its_targets_rails(
    tmp_path: Path, name: str, board: Callable[[Path], Path]
) -> None:
    board(tmp_path)
    target = targets.load(name)
    told = target.meter_settings()
    options = MeterOptions(root=tmp_path, estimate=told["estimate"], settings=told["meter_settings"])
    meter = meters.choose("auto", target.meters.order, options).meter
    assert meter is not None
    assert meter.facts.name == "jetson"
    assert target.meters.jetson is not None
    assert meter.facts.rails == target.meters.jetson.rails


def test_arm_int8_needs_no_feature_and_keeps_eight_bits() -> None:
    target = targets.load("raspberry-pi-4")
    assert target.needed_isa(()) == ()
    assert not target.reduce_range(())
    assert targets.load("x86-64").reduce_range(())


def test_widths_say_whether_they_were_measured() -> None:
    sources = {name: targets.load(name).widths.source for name in targets.names()}
    assert sources.pop("x86-64") == "measured"
    assert set(sources.values()) == {"documentation"}


def test_a_width_of_nothing_is_a_fault(tmp_path: Path) -> None:
    text = (targets.shipped("targets") / "x86-64.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("multiple = 16", "multiple = 0"))
    with pytest.raises(UsageFault, match=r"widths\.multiple"):
        targets.read(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("share", "multiple", "left"), [(0.5, 8, 48), (0.5, 16, 48), (0.5, 32, 64), (0.9, 32, 32)]
)
def test_shares_are_moved_to_widths_that_the_kernels_like(share: float, multiple: int, left: int) -> None:
    config = config_for(ModelSpec(d_ff=96, d_model=64, heads=4), 1, 720, 3, "zscore")
    spec = PruneSpec(ffn=share, heads=0.5)
    snapped = widths.snapped(spec, config, multiple)
    assert round(96 * (1 - snapped.ffn)) == left
    assert (snapped.heads, snapped.width) == (0.5, 0.0)
    assert widths.snapped(snapped, config, multiple) == snapped
    whole = spec.model_copy(update={"scope": "global"})
    assert widths.snapped(whole, config, multiple) == whole


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[meters.ina]\nshunt_ohm = -1", "shunt_ohm"),
        ("[meters.ina]\nshunt = 0.1", "shunt"),
        ("[estimate]\nactive_w_per_core = 1\nidle_w = 1", "source"),
    ],
)
def test_faults_of_a_targets_file_are_named(tmp_path: Path, line: str, fault: str) -> None:
    text = (targets.shipped("targets") / "raspberry-pi-4.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(f"{text}\n{line}\n")
    with pytest.raises(UsageFault, match=fault):
        targets.read(path)
