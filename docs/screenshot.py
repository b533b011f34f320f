"""Make the picture of the README: the report of a real run.

    python docs/screenshot.py greenup-out/acsf1/report.html docs/img/report.png

The report is opened in headless Chromium, as its readers open it. Needs `chromium`; Pillow comes with matplotlib.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

WIDTH, HEIGHT = 1100, 2400
SHOWN_HEIGHT = 1500
NAMES = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Screenshot of the page named first, as the PNG named second."""
    page, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
        subprocess.run([browser(), *flags, page.as_uri()], check=True, capture_output=True, timeout=60)
        trimmed(Image.open(shot).convert("RGB")).quantize(128).save(target, optimize=True)
    print(f"wrote {target}")


def browser() -> str:
    """Path of a Chromium. Exits with a hint where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        sys.exit("error: no Chromium found\nhint: install the package chromium")
    return found


def trimmed(image: Image.Image) -> Image.Image:
    """The upper part of a page, without empty space below."""
    blank = Image.new("RGB", image.size, image.getpixel((0, 0)))
    box = ImageChops.difference(image, blank).getbbox() or (0, 0, *image.size)
    return image.crop((0, 0, image.width, min(box[3] + 20, SHOWN_HEIGHT)))


if __name__ == "__main__":
    main()
