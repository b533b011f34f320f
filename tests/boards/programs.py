"""Programs of boards as small scripts on the PATH, which print what those print."""

from __future__ import annotations

from pathlib import Path

# The power part of lines that tegrastats prints, by JetPack and board.
JETPACK4_NANO = (
    "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) CPU [5%@1224,off] "
    "EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C PMIC@50C GPU@40C AO@45C thermal@40C "
    "POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
JETPACK5_AGX_ORIN = (
    "01-03-2023 16:07:54 RAM 2257/30536MB (lfb 6641x4MB) SWAP 0/15268MB (cached 0MB) CPU [1%@729,0%@729] "
    "GR3D_FREQ 0% GPU@-256C tj@41.656C VDD_GPU_SOC 2390mW/2390mW VDD_CPU_CV 796mW/796mW "
    "VIN_SYS_5V0 3522mW/3522mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
JETPACK6_ORIN_NANO = (
    "11-21-2025 08:49:48 RAM 3983/7620MB (lfb 424x4MB) GR3D_FREQ 14%@[407,407] cpu@48.6C tj@49.1C "
    "VDD_IN 4943mW/4890mW VDD_CPU_GPU_CV 1040mW/1011mW VDD_SOC 1461mW/1450mW"
)
JETPACK7_ORIN_NANO = (
    "11-21-2026 08:49:48 RAM 3983/7620MB (lfb 424x4MB) GR3D_FREQ @[407,407] cpu@48.6C/49.0C tj@49.1C/50.2C "
    "VDD_IN 4943mW/4890mW/5102mW VDD_CPU_GPU_CV 1040mW/1011mW/1200mW VDD_SOC 1461mW/1450mW/1480mW"
)

# `vcgencmd pmic_read_adc` on an idle Raspberry Pi 5.
PMIC = """\
 3V7_WL_SW_A current(0)=0.07709848A
   3V3_SYS_A current(1)=0.04782057A
   1V8_SYS_A current(2)=0.11515970A
  DDR_VDD2_A current(3)=0.00780744A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.17664330A
    0V8_SW_A current(6)=0.33084030A
  VDD_CORE_A current(7)=0.94657990A
   3V3_DAC_A current(17)=0.00146520A
   3V3_ADC_A current(18)=0.00140415A
   0V8_AON_A current(16)=0.00494505A
      HDMI_A current(22)=0.01697190A
 3V7_WL_SW_V volt(8)=3.69049700V
   3V3_SYS_V volt(9)=3.29982600V
   1V8_SYS_V volt(10)=1.79633500V
  DDR_VDD2_V volt(11)=1.10805800V
  DDR_VDDQ_V volt(12)=0.60329610V
   1V1_SYS_V volt(13)=1.10146400V
    0V8_SW_V volt(14)=0.80219700V
  VDD_CORE_V volt(15)=0.72097620V
   3V3_DAC_V volt(20)=3.30402600V
   3V3_ADC_V volt(21)=3.29670000V
   0V8_AON_V volt(19)=0.79941320V
      HDMI_V volt(23)=5.11612000V
     EXT5V_V volt(24)=5.11478000V
      BATT_V volt(25)=0.01880340V
"""
# The sum of the twelve products above, worked out by hand.
PMIC_W = 1.9005


def tegrastats(folder: Path, *lines: str, pause_s: float = 0.02, forever: bool = True) -> Path:
    """A tegrastats that prints the lines of the file beside it, over and over, or once and ends."""
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines))
    once = f'while IFS= read -r line; do printf "%s\\n" "$line"; sleep {pause_s}; done < "{folder}/lines.txt"'
    return _program(folder / "tegrastats", f"while :; do {once}; done" if forever else once)


def vcgencmd(folder: Path, text: str, exit_code: int = 0) -> Path:
    """A vcgencmd that prints the file beside it."""
    (folder / "answer.txt").write_text(text)
    return _program(folder / "vcgencmd", f'cat "{folder}/answer.txt"; exit {exit_code}')


def _program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path
