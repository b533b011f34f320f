"""Inputs that no board should give: never a negative number, never a zero for what is missing.

GREENUP_FUZZ says how many examples each test tries; the default is for every run.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest
from boards import ina, jetson, programs, rapl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenup_runtime.clock import FakeClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import MeterOptions, open_named, pmic, tegrastats
from greenup_runtime.meters.rails import pick

EXAMPLES = int(os.environ.get("GREENUP_FUZZ", "50"))
QUICK = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
LINES = [
    programs.JETPACK4_NANO,
    programs.JETPACK5_AGX_ORIN,
    programs.JETPACK6_ORIN_NANO,
    programs.JETPACK7_ORIN_NANO,
]
NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.text(max_size=12),
    st.sampled_from(["", "\n", "0x10", "1_000", "1e3", "٣", " 5 ", "5\n5", "-0", "+7", "nan", "inf", "\0"]),
)


@st.composite
def mangled(draw: st.DrawFn, texts: list[str]) -> str:
    """A real text with a few pieces cut out, doubled or replaced."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        text = text[:start] + draw(st.one_of(st.just(""), NUMBERS, st.just(text[start:end] * 2))) + text[end:]
    return text[: draw(st.integers(0, len(text)))]


@QUICK
@given(st.one_of(st.text(max_size=200), mangled(LINES)))
def test_a_rail_of_tegrastats_is_as_its_line_says_or_not_there(line: str) -> None:
    for name, power_w in tegrastats.parse(line).items():
        assert 0 <= power_w <= 1000
        assert any(int(now) / 1e3 == power_w for now in re.findall(rf"{name} ([0-9]+)(?:mW)?/", line))


@QUICK
@given(st.one_of(st.text(max_size=200), mangled([programs.PMIC])))
def test_a_rail_of_the_pmic_has_a_current_and_a_voltage_or_is_not_there(text: str) -> None:
    try:
        rails = pmic.parse(text)
    except MeterFault:
        return
    for name, power_w in rails.items():
        assert math.isfinite(power_w)
        assert power_w >= 0
        assert f"{name}_A" in text
        assert f"{name}_V" in text


@QUICK
@given(mangled([programs.PMIC]))
def test_a_mangled_answer_of_the_pmic_gives_all_rails_or_none(text: str) -> None:
    whole = set(pmic.parse(programs.PMIC))
    try:
        rails = pick(pmic.parse(text), whole)
    except MeterFault:
        return
    assert set(rails) == whole


def sysfs_meter(kind: str, root: Path) -> tuple[Path, float, float]:
    """A tree, the file to spoil, the watts or joules of one step, and the most that may come out."""
    if kind == "rapl":
        return rapl.amd(root)["0"] / "energy_uj", 1e-6, rapl.RANGE_UJ / 1e6
    if kind == "ina:hwmon":
        return ina.hwmon(root) / "power1_input", 1e-6, 1000.0
    if kind == "ina:iio":
        return ina.iio(root) / "in_power2_raw", 6.25e-3, 1000.0
    if kind == "jetson":
        return jetson.nano_jetpack4(root) / "in_power0_input", 1e-3, 1000.0
    return ina.ina3221(root) / "curr1_input", 5e-3, 1000.0


@pytest.mark.parametrize("kind", ["rapl", "ina:hwmon", "ina:iio", "jetson", "ina:rails=CH1"])
def test_a_sysfs_file_gives_its_number_or_a_fault(tmp_path: Path, kind: str) -> None:
    file, step, most = sysfs_meter(kind, tmp_path)

    @QUICK
    @given(NUMBERS)
    def check(content: str) -> None:
        file.write_text("900\n")
        clock = FakeClock()
        meter = open_named(kind, MeterOptions(root=tmp_path, clock=clock))
        file.write_text(content, encoding="utf-8", errors="surrogateescape")
        clock.sleep(1.0)
        try:
            value = meter.read()
        except MeterFault:
            return
        assert 0 <= value <= most
        number = int(content.strip(" \t\r\n\0"))
        if kind != "rapl":
            assert value == pytest.approx(max(number, 0) * step)

    check()
