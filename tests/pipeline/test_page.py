"""The report's page in a browser: it asks for nothing, its console stays empty, it fits a phone, its sliders and tables work."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tiny
from studies.theory import page

from dualprior.common.io import read_text
from dualprior.common.paths import Paths

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATHS = Paths(tiny.PROJECT, pipeline="studies/report")
FRAMES = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (0, 100, 200)])
PHONE, DESK = 390, 1280  # CSS pixels

# A frame of the width asked for, and what a reader would do in it. The page's own policy would forbid this script inside.
PROBE = """<!doctype html><body><iframe id="frame" src="report.html" style="width: %dpx; height: 900px; border: 0"></iframe><script>
const frame = document.getElementById("frame");
frame.onload = () => {
  const inside = frame.contentDocument, root = inside.documentElement;
  const beyond = element => element.getBoundingClientRect().right > root.clientWidth + 1;
  const wide = [...inside.body.querySelectorAll("p, h1, h2, h3, h4, ul")].filter(beyond);
  const measured = box => [...box.querySelectorAll("figure")].filter(f => f.getClientRects().length).map(f => f.textContent);
  const slide = (box, value) => {
    const input = box.querySelector("input");
    input.value = value;
    input.dispatchEvent(new Event("input"));
  };
  const steps = inside.querySelector(".steps"), before = measured(steps);
  slide(steps, 2);
  const compare = inside.querySelector(".compare");
  slide(compare, 25);
  const table = [...inside.querySelectorAll("table")].find(t => t.rows.length > 8);
  const column = table.rows[0].cells.length - 1;
  const cells = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
  const head = table.rows[0].cells[column];
  head.click();
  const up = cells();
  head.click();
  document.body.dataset.result = JSON.stringify({
    width: root.clientWidth, scroll: root.scrollWidth, wide: wide.map(e => e.textContent.slice(0, 60)), before, after: measured(steps),
    clip: compare.children[1].style.clipPath, up, down: cells(),
    asked: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    broken: [...inside.images].filter(image => image.complete && !image.naturalWidth).length,
  });
};
</script></body>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of the committed text, with sliders over plain pictures."""
    folder = tmp_path_factory.mktemp("page")
    return written(folder, read_text(PATHS.report_text))


def written(folder, text: str):
    steps = page.steps(FRAMES, ["one", "two", "three"], "steps", {1: "stop"})
    widget = page.before_after(FRAMES[0], FRAMES[2], ("before", "after")) + steps
    widgets = dict.fromkeys(re.findall(r"<!-- sliders (\S+) -->", text), f'<div class="widgets">{widget}</div>')
    (folder / "report.html").write_text(page.html(text, read_text(PATHS.report_frame), PATHS.report_text.parent, widgets))
    return folder


def visit(folder, width: int) -> tuple[dict, list[str]]:
    """What the probe found, and the lines of the console."""
    (folder / "probe.html").write_text(PROBE % width)
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, (folder / "probe.html").as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"data-result=\"([^\"]*)\"", done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&")), re.findall(r"CONSOLE.*", done.stderr)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_reader_can_use_the_page_at_this_width(report, width):
    found, console = visit(report, width)
    assert console == []
    assert found["asked"] == []
    assert found["broken"] == 0
    assert found["scroll"] <= found["width"] <= width
    assert found["wide"] == []
    assert (found["before"], found["after"]) == (["two stop"], ["three"])
    assert found["clip"] == "inset(0px 0px 0px 25%)"
    assert sorted(found["up"]) == sorted(found["down"])
    assert found["up"] != found["down"]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_page_that_asks_for_a_picture_and_is_too_wide_is_seen_to(tmp_path):
    table = "| a | b |\n|---|---|\n" + "".join(f"| {i} | {i} |\n" for i in range(12))
    text = f"# T\n\n<!-- sliders sr4 -->\n\n{table}\n<p style='width: 900px'>wide</p>\n<img src='https://example.org/x.png'>\n"
    found, console = visit(written(tmp_path, text), PHONE)
    assert found["wide"] == ["wide"]
    assert found["scroll"] > found["width"]
    assert any("example.org" in line for line in console)
    assert found["up"] == [str(i) for i in range(12)]  # as numbers, not as words
    assert found["down"] == found["up"][::-1]
