"""The whole loop on a small data set: build, push, measure, compare, choose, report; and that it is repeatable."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import small_recipe

from greenup import bundle as packing
from greenup import loop
from greenup import recipe as recipes
from greenup.cli import run
from greenup_runtime import trial as trials
from greenup_runtime.bundle import Bundle, open_folder

VARIANTS = ["fp32", "int8", "pruned", "pruned-int8"]


def result_of(capsys: pytest.CaptureFixture[str], argv: list[str]) -> dict[str, object]:
    assert run(argv) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_build_and_push_prints_the_whole_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    argv = ["build-and-push", str(recipe), "--out", str(tmp_path / "out"), "--json", "--meter", "estimate"]
    answer = result_of(capsys, argv)
    assert answer["schema"] == "greenup.result/1"
    assert answer["bundle"] == open_folder(tmp_path / "out/bundle").digest
    assert [row["name"] for row in answer["variants"]] == VARIANTS
    assert answer["dataset"]["files"][0]["sha256"]
    assert Path(answer["report"]).exists()
    for row in answer["variants"]:
        assert row["energy_j"]["estimated"]
        assert 0 <= row["accuracy"]["low"] <= row["accuracy"]["value"] <= row["accuracy"]["high"] <= 1
        assert row["latency_s"]["low"] <= row["latency_s"]["median"] <= row["latency_s"]["high"]
    for row in answer["variants"][1:]:
        assert row["speedup"]["value"] > 0
        assert (row["greenup"], row["powerup"], row["category"]) == (None, None, None)
        assert row["verdict"] == "—, needs a meter"


def test_pruned_shapes_are_smaller_and_int8_is_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    assert run(["build", str(recipe), "--quiet", "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    described = result_of(capsys, ["inspect", str(tmp_path / "out"), "--json"])
    rows = {row["name"]: row for row in described["variants"]}
    assert rows["pruned"]["macs"] < rows["fp32"]["macs"]
    assert rows["pruned"]["parameters"] < rows["fp32"]["parameters"]
    assert rows["fp32"]["int8_share"] == rows["pruned"]["int8_share"] == 0
    assert 0.25 < rows["int8"]["int8_share"] < 1  # the stem's convolutions and attention's products stay float
    assert rows["int8"]["size_bytes"] > 0


def test_a_full_table_with_categories_from_a_simulated_meter(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    base = ["--out", str(tmp_path / "out"), "--json", "--quiet"]
    run(["build", str(recipe), *base])
    capsys.readouterr()
    argv = ["measure", str(tmp_path / "out"), "--device", "local", "--json", "--quiet", "--burst-s", "0.05"]
    answer = result_of(capsys, [*argv, "--meter", "fake:idle_w=2,active_w=3"])
    for row in answer["variants"]:
        assert row["energy_j"]["simulated"]
        assert not row["energy_j"]["estimated"]
    for row in answer["variants"][1:]:
        speedup, greenup, powerup = (row[key]["value"] for key in ("speedup", "greenup", "powerup"))
        assert powerup == pytest.approx(speedup / greenup, rel=1e-9)
        assert row["category"] in {None, *range(1, 9)}
        assert row["verdict"]


def test_the_table_can_be_computed_again_from_raw_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    argv = ["build-and-push", str(recipe), "--out", str(tmp_path / "out"), "--json", "--quiet"]
    first = result_of(capsys, [*argv, "--meter", "fake"])
    again = result_of(capsys, ["compare", str(tmp_path / "out/trials" / str(first["trial"])), "--json"])
    assert again["variants"] == first["variants"]
    assert again["chosen"] == first["chosen"]


def test_the_second_run_builds_and_measures_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    argv = ["build-and-push", str(recipe), "--out", str(tmp_path / "out"), "--json"]
    first = result_of(capsys, argv)
    assert run(argv) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["trial"] == first["trial"]
    stages = [line for line in captured.err.splitlines() if line.split(":")[0].split()[0] in {"train", "prune"}]
    assert stages
    assert all(line.endswith("cached") for line in stages)
    assert "used again" in captured.err


def test_the_chosen_variant_serves_and_is_signed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    answer = result_of(capsys, ["build-and-push", str(recipe), "--out", str(tmp_path / "out"), "--json"])
    from greenup.devices import inventory

    current = inventory.find("local").runner.status()["current"]
    assert current["selection"]["variant"] == answer["chosen"]
    assert "BEGIN SSH SIGNATURE" in current["signature"]


def build(folder: Path, cache: Path) -> Bundle:
    recipe = small_recipe.write(folder)
    environment = {**os.environ, "GREENUP_CACHE": str(cache)}
    command = [*small_recipe.GREENUP, "build", str(recipe), "--quiet", "--out", str(folder / "out")]
    subprocess.run(command, check=True, env=environment, cwd=folder)
    return open_folder(folder / "out/bundle")


def test_the_same_weights_packed_in_two_places_give_the_same_bytes(tmp_path: Path, cached: Path) -> None:
    """Only the trained weights are shared: export, quantization and packing run anew in two folders."""
    contents = []
    for name in ("one", "another/and/deeper"):
        cache = tmp_path / name / "cache"
        for stage in ("train", "prune"):
            shutil.copytree(cached / stage, cache / stage)
        build(tmp_path / name, cache)
        bundle = tmp_path / name / "out/bundle"
        contents.append({p.relative_to(bundle): p.read_bytes() for p in bundle.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]
    assert not any(str(tmp_path).encode() in data for data in contents[0].values())


@pytest.mark.slow
def test_two_builds_from_nothing_give_the_same_digest(tmp_path: Path) -> None:
    assert build(tmp_path / "a", tmp_path / "ca").digest == build(tmp_path / "b", tmp_path / "cb").digest


STAGES = ["train", "export fp32", "quantize int8", "prune", "export pruned", "quantize pruned-int8", "evaluate"]


@pytest.mark.slow
def test_a_build_killed_at_every_stage_resumes_to_the_same_bundle(tmp_path: Path, cached: Path) -> None:
    """One build after the other on one cache, each killed some time after the next stage began."""
    recipe = small_recipe.write(tmp_path / "r")
    environment = {**os.environ, "GREENUP_CACHE": str(tmp_path / "cache")}
    command = [*small_recipe.GREENUP, "build", str(recipe), "--out", str(tmp_path / "out")]
    rng = random.Random(0)
    for stage in STAGES:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        # The last stages take hundredths of a second: a later kill would find the build over.
        after_s = rng.uniform(0, 0.2) if stage in {"train", "prune"} else 0.0
        assert _kill_in(process, stage, after_s), f"the build was over before {stage}"
        assert not (tmp_path / "out").exists()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert open_folder(tmp_path / "out/bundle").digest == open_folder(cached / "out/bundle").digest


def _kill_in(process: subprocess.Popen[str], stage: str, after_s: float) -> bool:
    """Kill the process some time after a stage began; False where it ended before."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"{stage}: ") and "cached" not in line:
            time.sleep(after_s)
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_trial_of_another_bundle_is_refused(tmp_path: Path, cached: Path) -> None:
    from greenup.devices import inventory
    from greenup.outcome import assemble
    from greenup.signing import find_key
    from greenup_runtime.errors import IntegrityFault

    session = loop.Session(inventory.find("local"), tmp_path / "out", find_key(), lambda *_: None)
    loop.build(session, recipes.load(small_recipe.write(tmp_path / "r")), None)
    spec = recipes.MeasureSpec(burst_s=0.02, warmup_s=0, pilot_rounds=3, max_rounds=3)
    folder = loop.measure(session, spec, "none", 0, again=False)
    trial = trials.load(folder)
    import small_bundle

    other = small_bundle.make(tmp_path / "other")
    with pytest.raises(IntegrityFault, match="the trial is of bundle"):
        assemble(other, "local", trial, None)
    assert packing.signature_of(session.bundle_folder)
