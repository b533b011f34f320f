"""INA sensors through hwmon, IIO and raw I2C: right watts, the right shunt, and nothing old passed as new."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
from boards import i2c, ina

from greenup_runtime import meters
from greenup_runtime.clock import FakeClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import Meter, MeterOptions
from greenup_runtime.meters.base import StaleReading

RAW = {"ina": {"address": 0x40, "shunt_ohm": 0.1, "chip": "ina219"}}


def opened(root: Path, request: str = "ina", settings: dict[str, object] | None = None) -> Meter:
    return meters.open_named(request, MeterOptions(root=root, settings={"ina": settings or {}}))


@pytest.mark.parametrize("chip", ["ina219", "ina226", "ina230", "ina231", "ina260"])
def test_hwmon_gives_the_drivers_watts(tmp_path: Path, chip: str) -> None:
    ina.hwmon(tmp_path, chip, shunt_uohm=100_000)
    meter = opened(tmp_path)
    assert meter.read() == pytest.approx(2.56)
    assert f"{chip} 1-0040 (hwmon)" in meter.facts.source
    assert "WARNING" not in meter.facts.source


def test_the_number_of_the_hwmon_folder_does_not_matter(tmp_path: Path) -> None:
    ina.hwmon(tmp_path, number=17)
    assert opened(tmp_path).read() == pytest.approx(2.56)


def test_an_unconfirmed_default_shunt_is_warned_of(tmp_path: Path) -> None:
    ina.hwmon(tmp_path, shunt_uohm=10_000)
    meter = opened(tmp_path)
    assert "WARNING: shunt 10 mΩ is the driver's default" in meter.facts.source
    (row,) = (row for row in meters.survey(MeterOptions(root=tmp_path)) if row["name"] == "ina")
    assert "10 times too high" in str(row["warning"])


def test_a_confirmed_default_shunt_is_not_warned_of(tmp_path: Path) -> None:
    ina.hwmon(tmp_path, shunt_uohm=10_000)
    assert "WARNING" not in opened(tmp_path, settings={"shunt_ohm": 0.01}).facts.source


def test_watts_are_rescaled_to_the_shunt_that_is_there(tmp_path: Path) -> None:
    ina.hwmon(tmp_path, shunt_uohm=10_000)
    for meter in (opened(tmp_path, settings={"shunt_ohm": 0.1}), opened(tmp_path, "ina:shunt_ohm=0.1")):
        assert meter.read() == pytest.approx(0.256)
        assert "rescaled from the driver's 10 mΩ" in meter.facts.source
        assert meter.facts.resolution == pytest.approx(0.002)


def test_a_mistyped_key_is_met_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(MeterFault, match=r"unknown key 'shunt', did you mean 'shunt_ohm'\?") as caught:
        opened(tmp_path, "ina:shunt=0.1")
    assert "the keys are: way, devices, rails, shunt_ohm, bus, address, chip" in str(caught.value.hint)
    with pytest.raises(MeterFault, match=r"unknown key 'zzz'$"):
        opened(tmp_path, settings={"zzz": 1})


def test_a_driver_that_does_not_show_its_shunt_is_believed_and_that_is_said(tmp_path: Path) -> None:
    ina.hwmon(tmp_path, "ina238", shunt_uohm=None)
    meter = opened(tmp_path, settings={"shunt_ohm": 0.015})
    assert meter.read() == pytest.approx(2.56)
    assert "does not show it" in meter.facts.source


def test_iio_multiplies_raw_by_scale(tmp_path: Path) -> None:
    ina.iio(tmp_path)
    meter = opened(tmp_path)
    assert meter.read() == pytest.approx(2.5)
    assert meter.facts.update_s == pytest.approx(1 / 28)
    assert "WARNING" in meter.facts.source
    assert opened(tmp_path, "ina:shunt_ohm=0.1").read() == pytest.approx(0.25)


def test_hwmon_goes_before_iio_and_a_way_can_be_named(tmp_path: Path) -> None:
    ina.hwmon(tmp_path)
    ina.iio(tmp_path)
    assert "hwmon" in opened(tmp_path).facts.source
    assert "IIO" in opened(tmp_path, "ina:iio").facts.source


def test_several_chips_are_not_guessed_between(tmp_path: Path) -> None:
    ina.hwmon(tmp_path, number=1, address=0x40)
    ina.hwmon(tmp_path, number=2, address=0x41)
    with pytest.raises(MeterFault, match="several INA chips") as caught:
        opened(tmp_path)
    assert "ina:1-0040" in str(caught.value.hint)
    assert opened(tmp_path, "ina:1-0041").read() == pytest.approx(2.56)
    both = opened(tmp_path, "ina:1-0040+1-0041")
    assert both.read() == pytest.approx(5.12)
    assert both.facts.rails == ("1-0040 input", "1-0041 input")
    with pytest.raises(MeterFault, match="no INA 1-0044"):
        opened(tmp_path, "ina:1-0044")


def test_an_ina3221_on_a_breakout_sums_its_used_channels_or_those_named(tmp_path: Path) -> None:
    ina.ina3221(tmp_path)
    meter = opened(tmp_path)
    assert meter.facts.rails == ("CH1", "CH2")
    assert meter.read() == pytest.approx(2.5 + 3.296 * 0.2)
    assert opened(tmp_path, "ina:rails=CH2").read() == pytest.approx(3.296 * 0.2)
    with pytest.raises(MeterFault, match="no rail CH9"):
        opened(tmp_path, "ina:rails=CH9")


def test_a_value_repeated_before_the_next_conversion_is_stale_and_later_it_is_not(tmp_path: Path) -> None:
    folder = ina.hwmon(tmp_path, "ina226")
    clock = FakeClock()
    meter = meters.open_named("ina", MeterOptions(root=tmp_path, clock=clock))
    meter.read()
    clock.sleep(0.01)
    with pytest.raises(StaleReading):
        meter.read()
    (folder / "power1_input").write_text("3000000\n")
    assert meter.read() == pytest.approx(3.0)
    clock.sleep(0.036)
    assert meter.read() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("kind", "chip", "watts"),
    [
        ("ina219", i2c.Ina219, 2.5),
        ("ina226", i2c.Ina226, 2.5),
        ("ina3221", i2c.Ina3221, 7.5),
        ("ina238", i2c.Ina238, 2.5),
    ],
)
def test_raw_i2c_reads_watts_and_waits_for_conversions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, chip: type[i2c.Ina219], watts: float
) -> None:
    model = chip()
    monkeypatch.setitem(sys.modules, "smbus2", i2c.module(tmp_path, {0x40: model}))
    meter = opened(tmp_path, f"ina:chip={kind},address=0x40,shunt_ohm=0.1")
    assert meter.read() == pytest.approx(watts, rel=0.01)
    with pytest.raises(StaleReading):
        meter.read()
    model.ready = True
    assert meter.read() == pytest.approx(watts, rel=0.01)
    meter.close()
    meter.close()
    assert i2c.SMBus.opened == 0


@pytest.mark.parametrize("chip", [i2c.Ina219, i2c.Ina226])
def test_raw_i2c_overflow_and_lost_calibration_are_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chip: type[i2c.Ina219]
) -> None:
    model = chip()
    monkeypatch.setitem(sys.modules, "smbus2", i2c.module(tmp_path, {0x40: model}))
    meter = opened(tmp_path, f"ina:chip={chip.__name__.lower()},address=0x40,shunt_ohm=0.1")
    model.overflow = True
    with pytest.raises(MeterFault, match="beyond the sensor's range"):
        meter.read()
    model.overflow, model.ready, model.words[5] = False, True, 0
    with pytest.raises(MeterFault, match="lost its calibration"):
        meter.read()


def test_raw_i2c_writes_nothing_to_what_is_not_the_chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servo = i2c.Ina219()
    servo.words = {0: 0x1104, 5: 7}
    monkeypatch.setitem(sys.modules, "smbus2", i2c.module(tmp_path, {0x40: servo}))
    with pytest.raises(MeterFault, match="not a ina219"):
        opened(tmp_path, settings=RAW["ina"])
    assert servo.words == {0: 0x1104, 5: 7}
    assert i2c.SMBus.opened == 0


@pytest.mark.parametrize(
    ("number", "why"),
    [(errno.EBUSY, "a kernel driver holds"), (errno.EREMOTEIO, "nothing answers"), (errno.EIO, "failed")],
)
def test_raw_i2c_says_what_the_bus_error_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, why: str
) -> None:
    monkeypatch.setitem(sys.modules, "smbus2", i2c.module(tmp_path, {0x40: i2c.Ina219()}))
    i2c.SMBus.fails_with = number
    with pytest.raises(MeterFault, match=why):
        opened(tmp_path, settings=RAW["ina"])


def test_raw_i2c_without_smbus2_or_bus_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(MeterFault, match="smbus2 is not installed") as caught:
        opened(tmp_path, settings=RAW["ina"])
    assert "greenup-runtime[i2c]" in str(caught.value.hint)
    monkeypatch.setitem(sys.modules, "smbus2", i2c.module(tmp_path, {}))
    with pytest.raises(MeterFault, match="i2c-7 cannot be opened"):
        opened(tmp_path, "ina:address=0x40,shunt_ohm=0.1,bus=7")


def test_a_bound_chip_is_never_read_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ina.hwmon(tmp_path)
    monkeypatch.setitem(sys.modules, "smbus2", i2c.module(tmp_path, {0x40: i2c.Ina219()}))
    assert "hwmon" in opened(tmp_path, settings=RAW["ina"]).facts.source


@pytest.mark.parametrize(
    "request_", ["ina:volts=3", "ina:shunt_ohm=zero", "ina:shunt_ohm=-1", "ina:way=spi", "ina:address=0xZZ"]
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, request_: str) -> None:
    with pytest.raises(MeterFault, match="settings of ina"):
        opened(tmp_path, request_)


def test_without_an_ina_the_reason_and_the_way_out_are_given(tmp_path: Path) -> None:
    with pytest.raises(MeterFault, match="no INA") as caught:
        opened(tmp_path)
    assert "docs/meters.md" in str(caught.value.hint)
