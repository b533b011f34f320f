"""Debian's packages for any architecture, fetched and unpacked without touching the host's own database."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


class PackagesMissing(Exception):
    """A package cannot be had here; the message says which and why."""


class Apt:
    """An apt of its own, with the host's sources and keys, for one architecture; nothing counts as installed."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.architecture = architecture
        self._archives = folder / "archives"
        (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
        (self._archives / "partial").mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
            "Dir::State::lists": str(folder / "lists"),
            "Dir::State::status": str(folder / "status"),
            "Dir::Cache": str(folder),
            "Dir::Cache::archives": str(self._archives),
        }
        self._options = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def update(self) -> None:
        """Fetch the lists of packages."""
        self._run("apt-get", "update")

    def newest(self, meta: str, pattern: str) -> str:
        """The package with a name like `pattern` that a meta-package depends on."""
        found = re.search(rf"Depends: ({pattern})", self._run("apt-cache", "depends", meta))
        if found is None:
            raise PackagesMissing(f"{meta} ({self.architecture}) names no package like {pattern}")
        return found.group(1)

    def fetch(self, *names: str) -> list[Path]:
        """Exactly these packages, as .deb files."""
        files = []
        for name in names:
            self._run("apt-get", "download", name)
            files += sorted(self._archives.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)[-1:]
        return files

    def fetch_with_dependencies(self, *names: str) -> list[Path]:
        """These packages and all that they depend on."""
        self._run("apt-get", "install", "-y", "--download-only", "--no-install-recommends", *names)
        plan = self._run("apt-get", "install", "-s", "--no-install-recommends", *names)
        # Inst libc6 (2.36-9+deb12u14 Debian-Security:12/oldstable-security [arm64])
        chosen = re.findall(r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", plan, flags=re.MULTILINE)
        files = [
            f"{name}_{version.replace(':', '%3a')}_{architecture}.deb" for name, version, architecture in chosen
        ]
        return [self._archives / file for file in files]

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [command[0], "-q", *self._options, *command[1:]],
            cwd=self._archives,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PackagesMissing(f"{' '.join(command)} ({self.architecture}): {done.stderr.strip()[-600:]}")
        return done.stdout


def unpack(packages: list[Path], folder: Path) -> None:
    """Put the files of packages below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
