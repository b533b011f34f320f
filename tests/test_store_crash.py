"""The store survives a kill at any call that changes a file: what served serves, and the command can be repeated.

By default some points of the main commands are visited; every one of every command in the slow tier.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import store_parts
from crash.points import killed_runs
from store_parts import RUNNER, Parts

from greenup_runtime.bundle import check_blobs
from greenup_runtime.store import Store


@dataclass(frozen=True)
class Scene:
    """A command of the runner, the home it starts from, and what may serve when it was killed."""

    argv: tuple[str, ...]
    prepare: Callable[[Parts, Path], None]
    stdin: Callable[[Parts, Path], bytes] = lambda _parts, _home: b""
    serves: tuple[str | None, ...] = ("old",)
    # Of so many points one is visited by default.
    every: int = 20


def empty(parts: Parts, home: Path) -> None:
    home.mkdir(exist_ok=True)


def serving(parts: Parts, home: Path) -> None:
    store_parts.serving_home(parts, home)


def both_installed(parts: Parts, home: Path) -> None:
    store_parts.serving_home(parts, home)
    store_parts.install_proven(Store(home), parts.new)


def new_serves(parts: Parts, home: Path) -> None:
    both_installed(parts, home)
    store_parts.commit(parts, Store(home), parts.new.bundle, 2)


def old_may_go(parts: Parts, home: Path) -> None:
    """Another bundle served between the old and the new one, and there is a blob that none needs."""
    new_serves(parts, home)
    store = Store(home)
    (old,) = store.state()["history"]
    between = {**old, "selection": {**old["selection"], "bundle": "f" * 64}}
    store.write_state({**store.state(), "history": [between, old]})
    (store.blobs / ("0" * 64)).write_bytes(b"nobody needs this")


def first_layout(parts: Parts, home: Path) -> None:
    """As a runner of layout 1 left it."""
    serving(parts, home)
    state = json.loads((home / "state.json").read_text())
    state["previous"] = None
    del state["history"]
    (home / "state.json").write_text(json.dumps(state))
    (home / "layout.json").write_text('{"version": 1}')
    (home / "incoming").rmdir()


def cut(parts: Parts, home: Path) -> None:
    """A push of which everything came but the archive's end."""
    serving(parts, home)
    size = len(parts.new.tar.rstrip(b"\0"))
    archive = parts.new.tar[: size + -size % 512]
    assert store_parts.runner(home, "install", stdin=archive).code == 4
    assert Store(home).missing(list(parts.new.bundle.blob_names())) == []


def new_tar(parts: Parts, home: Path) -> bytes:
    return parts.new.tar


def trust_line(parts: Parts, home: Path) -> bytes:
    return parts.key.allowed_signers_line().encode()


def commit_new(parts: Parts, home: Path) -> bytes:
    return parts.envelope(Store(home), parts.new.bundle, 2)


def stranger_line(parts: Parts, home: Path) -> bytes:
    return parts.stranger.allowed_signers_line().encode()


SCENES = {
    "first-contact": Scene(("trust",), empty, trust_line, (None,)),
    "first-install": Scene(("install",), empty, new_tar, (None,)),
    "install": Scene(("install",), serving, new_tar),
    "commit": Scene(("commit",), both_installed, commit_new, ("old", "new")),
    "rollback": Scene(("rollback",), new_serves, serves=("new", "old")),
    "gc": Scene(("gc", "--grace-h", "0", "--keep", "1"), old_may_go, serves=("new",)),
    "resume": Scene(("resume",), cut),
    "signers-add": Scene(("signers", "add"), serving, stranger_line),
    "migration": Scene(("status",), first_layout),
}


def visit(scene: Scene, parts: Parts, tmp_path: Path, every: int) -> int:
    """Kill at the points, and check each; returns how many were visited."""
    ready = tmp_path / "ready"
    scene.prepare(parts, ready)
    stdin = scene.stdin(parts, ready) if ready.joinpath("device.json").exists() else scene.stdin(parts, tmp_path)
    visited = 0
    for home, point, _ in killed_runs(
        lambda folder: shutil.copytree(ready, folder, dirs_exist_ok=True),
        lambda folder: [*RUNNER, "--home", folder, *scene.argv],
        tmp_path / "points",
        every=every,
        stdin=stdin,
    ):
        visited += 1
        check(scene, parts, home, stdin, str(point))
    return visited


def check(scene: Scene, parts: Parts, home: Path, stdin: bytes, point: str) -> None:
    served = serves(parts, home)
    assert served in scene.serves, point
    if scene.argv[0] == "rollback" and served == "old":
        return  # once more would go one step further
    again = store_parts.runner(home, *scene.argv, stdin=stdin)
    assert again.code == 0, (point, again.err)
    assert serves(parts, home) == scene.serves[-1], point
    if scene.argv[0] == "gc":
        assert Store(home).installed() == [parts.new.bundle.digest], point
        assert set(Store(home).missing(["0" * 64, *parts.old.bundle.blob_names()])) >= {"0" * 64}, point
        assert len(Store(home).state()["history"]) == 1, point
    assert store_parts.runner(home, "resume").code == 0
    assert list(home.rglob(".*")) == [], point


def serves(parts: Parts, home: Path) -> str | None:
    """Which bundle serves; its bytes must be whole."""
    store = Store(home)
    if store.state()["current"] is None:
        return None
    bundle, _ = store.serving()
    check_blobs(bundle)
    return "old" if bundle.digest == parts.old.bundle.digest else "new"


@pytest.mark.parametrize("name", ["first-install", "install", "commit", "rollback", "gc"])
def test_a_kill_leaves_the_old_or_the_new_and_the_command_can_be_repeated(
    name: str, parts: Parts, tmp_path: Path
) -> None:
    assert visit(SCENES[name], parts, tmp_path, SCENES[name].every) >= 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SCENES)
def test_a_kill_at_every_point(name: str, parts: Parts, tmp_path: Path) -> None:
    print(f"{name}: {visit(SCENES[name], parts, tmp_path, 1)} kills")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_at_every_point_of_a_proof(parts: Parts, tmp_path: Path) -> None:
    def not_proven(parts: Parts, home: Path) -> None:
        serving(parts, home)
        assert store_parts.runner(home, "install", stdin=parts.new.tar).code == 0

    scene = Scene(("prove", parts.new.bundle.digest), not_proven)
    print(f"prove: {visit(scene, parts, tmp_path, 1)} kills")
