"""A full disk, a read-only one, somebody else's folder: one message, and what served serves on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_parts import Parts, runner, tree

from greenup_runtime.store import Store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KB. Skips where this process may not mount."""
    point = tmp_path / "disk"
    point.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", point], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting needs root")
    yield point
    subprocess.run(["umount", "-l", point], check=True)


def test_a_full_disk_leaves_what_serves(parts: Parts, proven_home: Path, small_disk: Path) -> None:
    home = small_disk / "home"
    shutil.copytree(proven_home, home)
    shutil.rmtree(home / "bundles" / parts.new.bundle.digest)
    for name in set(parts.new.bundle.blob_names()) - set(parts.old.bundle.blob_names()):
        (home / "blobs/sha256" / name).unlink()
    fill = small_disk / "fill"
    with contextlib.suppress(OSError), fill.open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    before = tree(home)
    # Room for heads but not for blobs, then for nothing.
    for size in (fill.stat().st_size - 20_000, None):
        if size is not None:
            os.truncate(fill, size)
        else:
            with contextlib.suppress(OSError), fill.open("ab", buffering=0) as file:
                while file.write(bytes(512)):
                    pass
        done = runner(home, "install", stdin=parts.new.tar)
        assert (done.code, "disk is full" in done.err or "No space left" in done.err) == (3, True), done.err
        assert "Traceback" not in done.err
        runner(home, "resume")
        assert {name: data for name, data in tree(home).items() if not name.startswith("incoming/")} == before
    committed = runner(home, "rollback")
    assert "Traceback" not in committed.err
    assert runner(home, "status").json()["current"]["selection"]["bundle"] == parts.old.bundle.digest
    fill.unlink()
    assert runner(home, "install", stdin=parts.new.tar).code in (0, 3)


def test_a_first_install_on_a_full_disk_says_so(parts: Parts, small_disk: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "fill").open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    done = runner(small_disk / "home", "install", stdin=parts.new.tar)
    assert (done.code, "No space left" in done.err) == (3, True), done.err


def test_a_read_only_disk_still_says_what_serves(parts: Parts, proven_home: Path, small_disk: Path) -> None:
    home = small_disk / "home"
    shutil.copytree(proven_home, home)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    status = runner(home, "status")
    assert status.code == 0, status.err
    assert status.json()["current"]["selection"]["bundle"] == parts.old.bundle.digest
    for argv, stdin in ((["install"], parts.new.tar), (["rollback"], b""), (["gc"], b"")):
        done = runner(home, *argv, stdin=stdin)
        assert (done.code, "Read-only file system" in done.err) == (3, True), done.err
    assert Store(home).serving()[0].digest == parts.old.bundle.digest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_home_of_somebody_else_is_one_message(
    parts: Parts, proven_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = Path("/tmp") / f"greenup-foreign-{os.getpid()}"
    shutil.copytree(proven_home, base / "home")
    base.chmod(0o755)
    script = (
        "import os, sys; from greenup_runtime import cli; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "sys.exit(cli.run(sys.argv[1:]))"
    )
    try:
        for path in [base / "home", *(base / "home").rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
        done = subprocess.run(
            [sys.executable, "-c", script, "--home", base / "home", "install"],
            input=parts.new.tar,
            capture_output=True,
            check=False,
        )
    finally:
        shutil.rmtree(base)
    assert done.returncode == 3, done.stderr.decode()
    assert b"Permission denied" in done.stderr
    assert b"Traceback" not in done.stderr
