"""Prepare the parts of the emulated machines; what is there already is kept. `.ci/kernel` runs this."""

from __future__ import annotations

import sys
import time

from lab import parts
from lab.apt import PackagesMissing
from lab.machines import MACHINES


def main() -> None:
    """Prepare the machines named on the command line, or all of them."""
    parts.cache().mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or MACHINES:
        begin_s = time.monotonic()
        try:
            folder = parts.prepare(MACHINES[name])
        except PackagesMissing as missing:
            sys.exit(f"error: {missing}\nhint: this needs Debian 12 with its own package sources")
        print(f"{name}: {folder} ({time.monotonic() - begin_s:.0f} s)")


if __name__ == "__main__":
    main()
