"""The page in a real browser, as wide as a laptop and as narrow as a phone."""

from __future__ import annotations

import pytest

from lcat.study import StudyRecord
from lcat.study.report.data import ReportData
from lcat.study.report.page import make_report
from tests.study.report.studies import made_up_study
from tests.support.browser import Browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs a Chromium (or $LCAT_TEST_BROWSER)")

# Text of a figure, in pixels on the screen.
_SMALLEST = """
Math.min(...[...document.querySelectorAll("figure svg text")].map(one => {
  const matrix = one.getScreenCTM();
  return parseFloat(getComputedStyle(one).fontSize) * Math.hypot(matrix.a, matrix.b);
}))
"""
# Letters that leave their drawing to the left or right.
_CUT = """
[...document.querySelectorAll("figure svg")].flatMap(drawing => {
  const box = drawing.getBoundingClientRect();
  return [...drawing.querySelectorAll("text")].filter(one => {
    const found = one.getBoundingClientRect();
    return found.left < box.left - 1 || found.right > box.right + 1
      || found.top < box.top - 1 || found.bottom > box.bottom + 1;
  }).map(one => drawing.closest("figure").id + ": " + one.textContent);
})
"""
_WIDE = """
[...document.querySelectorAll("body *")].filter(one =>
  !one.closest(".scroll") && !one.closest("pre") && !one.closest("svg")
  && one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.tagName + "#" + one.id)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return make_report(ReportData.of(StudyRecord.in_memory(*made_up_study()))).write(folder)[0]


@pytest.fixture(scope="module")
def browser():
    with Browser(find_browser()) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_error_no_overflow_and_readable_figures(browser, file, width, dark):
    browser.open(file, width, dark=dark)
    for fold in ("false", "true"):
        browser.evaluate(f"document.querySelectorAll('details').forEach(one => {{ one.open = {fold} }})")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate(_WIDE) == []
    assert browser.messages == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate(_SMALLEST) >= 10
    assert browser.evaluate(_CUT) == []


def test_wide_tables_scroll_in_their_box(browser, file):
    browser.open(file, 390)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{boxes}.some(box => box.scrollWidth > box.clientWidth)")
    assert browser.evaluate(f"{boxes}.every(box => getComputedStyle(box).overflowX === 'auto' && box.tabIndex === 0)")


def test_the_table_of_regret_fits_into_its_box(browser, file):
    browser.open(file, 1280)
    box = "document.querySelector('#table-regret').parentElement"
    assert browser.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")


def test_two_and_three_pictures_fill_the_page(browser, file, tmp_path):
    """One picture has its words beside it; two or more leave no column empty."""
    right = (
        "[...document.querySelectorAll('#scores .gallery')].map(one => one.getBoundingClientRect().right"
        " - Math.max(...[...one.querySelectorAll('figure')].map(figure => figure.getBoundingClientRect().right)))"
    )
    for datasets in (("cora",), ("cora", "photo"), ("cora", "photo", "citeseer")):
        plan, results = made_up_study(datasets=datasets, layers=("gcn", "lcat"), seeds=2, levels=(0.0,), epochs=3)
        page = make_report(ReportData.of(StudyRecord.in_memory(plan, results))).write(tmp_path / str(len(datasets)))[0]
        browser.open(page, 1280)
        assert browser.evaluate(right) == [0, 0]  # scores, equivalence


def test_colors_change_with_the_theme(browser, file):
    seen = []
    for dark in (False, True):
        browser.open(file, 1280, dark=dark)
        seen.append(
            browser.evaluate("getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color")
        )
    assert seen[0] != seen[1]


def test_letters_stand_out_from_the_page(browser, file):
    """Contrast of text and of every color of the figures against the page: WCAG asks for 4.5 and 3."""
    script = """
    (() => {
      const light = name => {
        const hex = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
        const parts = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255)
          .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      return Object.fromEntries(["ink", "muted", "accent", "gcn", "gat", "cat", "lcat", "depth0", "depth1", "depth2",
        "depth3", "depth4", "depth5", "depth6", "depth7"].map(name => [name, ratio(name, "paper")]));
    })()
    """
    for dark in (False, True):
        browser.open(file, 1280, dark=dark)
        ratios = browser.evaluate(script)
        assert all(ratios[name] >= 4.5 for name in ("ink", "muted", "accent")), ratios
        assert all(ratio >= 3 for ratio in ratios.values()), ratios
