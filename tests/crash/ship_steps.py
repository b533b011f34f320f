"""Ship what waits in a runner's home, to a port of this machine.

python ship_steps.py FOLDER PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

from greenup_runtime.settings import ShipSettings
from greenup_runtime.shipping import Shipper
from greenup_runtime.store import Store


def main(folder: Path, port: str) -> None:
    settings = ShipSettings(url=f"http://127.0.0.1:{port}", batch_records=4)
    Shipper(settings, Store(folder)).ship()
    print("shipped", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
