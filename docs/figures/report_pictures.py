"""Pictures of a report for ``docs/statistics.md``: ``python docs/figures/report_pictures.py DIR/report.html``.

Needs a Chromium, websocket-client and Pillow. Writes ``docs/_static/report-*.png``, with 256 colors to stay small.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
# The folder itself, because other packages install a module called "tests".
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import Browser, find_browser  # noqa: E402

TARGET = ROOT / "docs" / "_static"
#: name -> (width of the window, dark theme, first element, last element)
PICTURES = {
    "summary": (1280, False, "header", "#summary"),
    "regret": (1280, False, "#regret h2", "#regret figure"),
    "scores": (1280, False, "#scores h2", "#scores .gallery"),
    "equivalence": (1280, False, "#equivalence", "#equivalence ~ .gallery"),
    "lambdas": (1280, False, "#lambdas h2", "#lambdas .gallery"),
    "choice": (1280, True, "#choice h2", "#choice .gallery"),
    "phone": (390, False, "header", "#summary"),
    "phone-scores": (390, True, "#scores h2", "#scores figure"),
}
_BOX = """
(() => {
  const first = document.querySelector(%r).getBoundingClientRect();
  const last = document.querySelector(%r).getBoundingClientRect();
  return [first.top + scrollY, last.bottom + scrollY];
})()
"""


def main(page: Path) -> None:
    """Write all pictures of one report."""
    executable = find_browser()
    if executable is None:
        sys.exit("report_pictures: no Chromium was found")
    with Browser(executable) as browser:
        for name, (width, dark, first, last) in PICTURES.items():
            browser.open(page, width, dark=dark)
            top, bottom = browser.evaluate(_BOX % (first, last))
            clip = {"x": 0, "y": max(top - 12, 0), "width": width, "height": bottom - top + 24, "scale": 1}
            answer = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
            image = Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")
            small = image.quantize(colors=256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            path = TARGET / f"report-{name}.png"
            small.save(path, optimize=True)
            print(f"{path.name}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
