"""The command line as a user meets it: what is printed where, exit codes, and one message per mistake."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import small_bundle
import small_recipe

from greenup import bundle as packing
from greenup.cli import VERBS, run
from greenup.signing import find_key
from greenup_runtime.bundle import BLOBS


@pytest.fixture
def out(tmp_path: Path) -> Path:
    small_bundle.make(tmp_path / "out/bundle")
    packing.sign(tmp_path / "out/bundle", find_key())
    return tmp_path / "out"


def failed(capsys: pytest.CaptureFixture[str], argv: list[str], code: int) -> str:
    """Run a command that must fail with this exit code, a message, a hint, and nothing on stdout."""
    assert run(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error: ") == 1
    assert "hint: " in captured.err
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run([verb, "--help"]) == 0
    assert f"$ greenup {verb}" in capsys.readouterr().out


def test_completion_knows_verbs_and_options() -> None:
    words = {"COMP_WORDS": "greenup build", "COMP_CWORD": "1", "_GREENUP_COMPLETE": "bash_complete"}
    done = subprocess.run(
        small_recipe.GREENUP, env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert {"plain,build", "plain,build-and-push"} <= set(done.stdout.split())


def test_a_recipe_with_faults_is_told_all_of_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('name = "x"\n[data]\ndataset = "ACSF1"\n[train]\nepoch = 3\nbatch = "all"\n')
    told = failed(capsys, ["build", str(path)], 2)
    assert "2 faults" in told
    assert "train.epoch: unknown key, did you mean 'epochs'?" in told
    assert "train.batch: input should be a valid integer" in told


def test_an_unknown_device_is_exit_3(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    assert "there is no device 'pi5'" in failed(capsys, ["push", str(out), "--device", "pi5"], 3)


def test_a_flipped_byte_is_exit_4(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    blob = next((out / "bundle" / BLOBS).iterdir())
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(bytes(content))
    for verb in ("push", "inspect", "measure"):
        assert "was altered" in failed(capsys, [verb, str(out)], 4)


def test_a_folder_without_a_bundle_is_exit_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is not a bundle" in failed(capsys, ["push", str(tmp_path)], 2)
    assert "not a trial's folder" in failed(capsys, ["compare", str(tmp_path)], 2)
    assert "does not exist" in failed(capsys, ["inspect", str(tmp_path / "none.onnx")], 2)


def test_results_go_to_stdout_and_progress_to_stderr(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    assert run(["push", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["schema"] == "greenup.push/1"
    assert answer["usable"] == ["fp32", "pruned"]
    assert "push: local" in captured.err
    assert run(["push", str(out), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "is proven on local: fp32, pruned (0 files" in captured.out


def test_inspect_shows_a_bundle_and_an_onnx_file(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    assert run(["inspect", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "first: 32 × 64 → 32 × 8" in shown
    model = out / "small.onnx"
    model.write_bytes(small_bundle.model_bytes(1))
    assert run(["inspect", str(model), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["kind"], described["parameters"]) == ("onnx", 32 * 8 + 8 * 2)


def test_inspect_of_something_else_is_a_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "notes.onnx"
    path.write_text("not a model")
    failed(capsys, ["inspect", str(path)], 4)


def test_doctor_checks_host_and_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    by_name = {check["name"]: check for check in answer["checks"]}
    assert by_name["torch"]["ok"]
    assert by_name["local"]["ok"]
    assert by_name["meter"]["ok"] or by_name["meter"]["hint"]


def test_an_interrupt_is_exit_130_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    recipe = small_recipe.write(tmp_path / "r", epochs=4000)
    command = [*small_recipe.GREENUP, "build", str(recipe), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("train"):
            break
    process.send_signal(2)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on where this one stopped" in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_message_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cached: Path
) -> None:
    recipe = small_recipe.write(tmp_path / "r")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    try:
        told = failed(capsys, ["build", str(recipe), "--quiet", "--out", str(disk / "out")], 1)
        assert "No space left on device" in told
        assert list(disk.iterdir()) == [] or list((disk / "out").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
