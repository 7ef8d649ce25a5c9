"""How large is the page of a run, and how soon is it open?

Question: how many bytes does ``--gil-html`` take for 10, 1,000 and 10,000 tests, and how long does
a browser take to open it, and then one of its tests?

Method: a few loads of threads are measured for real; every test has the reading of one of them
under an id of its own, so that stacks, threads and histograms are of real size. A headless
Chromium, driven by Selenium, opens the page anew each time; without both, sizes and the time to
write are all there is.

Truth: the file's size; the browser's own clock (Navigation Timing) up to when the document is
interactive with its script done, and around the click that opens a test.

Run: ``python benchmarks/page_size.py``, with Jinja2 installed (the extra ``html``).

Expect: a size that grows with the number of tests, as does the time to open the page; one test
opens as fast on a large page as on a small one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import harness
from harness import Table, span

SIZES = (10, 1_000, 10_000)
QUICK_SIZES = (10, 200)
OPEN_TEST = """
const done = arguments[0], start = performance.now();
document.querySelector("table.tests tbody a").click();
const look = () => {
  if (document.querySelector("dialog .test")) done(performance.now() - start);
  else requestAnimationFrame(look);
};
look();
"""


def compute(depth: int = 12) -> int:
    """Pure Python, some frames deep."""
    return compute(depth - 1) if depth else sum(number * number for number in range(3_000))


def in_threads(count: int, work: Callable[[], object], seconds: float) -> None:
    """Have so many threads do the work again and again."""
    end = time.perf_counter() + seconds

    def repeat() -> None:
        while time.perf_counter() < end:
            work()

    threads = [threading.Thread(target=repeat, name=f"pool_{at}") for at in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def readings() -> list[Any]:
    """Raw readings of a few loads."""
    from pytest_gilknock import _core

    data = bytes(1 << 18)
    works: list[Callable[[], object]] = [
        compute,
        lambda: json.dumps([{"key": number} for number in range(500)]),
        lambda: zlib.compress(data, 1),
        lambda: time.sleep(0.001),
    ]
    found = []
    for count in (1, 2, 4, 8):
        for work in works:
            window = _core.Window()
            window.begin()
            in_threads(count, work, 0.1)
            found.append(window.end())
    return found


def write_page(path: Path, count: int, raws: list[Any]) -> None:
    """Write the page of so many tests."""
    from pytest_gilknock.reporting.page import page_text
    from pytest_gilknock.reporting.page_of_results import page_of
    from pytest_gilknock.reporting.results import Results

    results = Results(top=10, sort="wait", keep_all=True, root=os.getcwd())
    for at in range(count):
        raw = {**raws[at % len(raws)]}
        if raw["wait"] is not None:
            raw["wait"] *= 0.5 + at / count
        nodeid = f"tests/package_{at % 40}/test_module_{at % 400}.py::TestCase::test_one[case-{at}]"
        results.add(nodeid, "passed", {"phase": "call", "raw": raw})
    results.add_process(
        {"raw": raws[0], "windows_cost": 0.01, "knocks_held": 0.01, "gil_turned_on": False}
    )
    with path.open("w", encoding="utf-8") as file:
        file.writelines(page_text(page_of(results, [])))


def browser() -> Any:
    """A headless Chromium; None where there is none, or no Selenium."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None or find_spec("selenium") is None:
        return None
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1400,1000"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def opened(page: Any, path: Path) -> tuple[float, float]:
    """Seconds until the page stands, and until its first test is open."""
    page.get(path.as_uri())
    ready = page.execute_script(
        "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    )
    test = page.execute_async_script(OPEN_TEST)
    page.get("about:blank")
    return ready * 1e-3, test * 1e-3


def main() -> int:
    """Run the program."""
    options = harness.start(harness.parser(__doc__))
    rounds = options.rounds or (2 if options.quick else 7)
    raws = readings()
    page = browser()
    rows = []
    figures = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for count in QUICK_SIZES if options.quick else SIZES:
                harness.progress(f"{count} tests")
                path = Path(folder, f"{count}.html")
                start = time.perf_counter()
                write_page(path, count, raws)
                wrote, size = time.perf_counter() - start, path.stat().st_size
                times = [opened(page, path) for _ in range(rounds)] if page else []
                figures.append({"tests": count, "bytes": size, "write": wrote, "open": times})
                shown = [span(median(part)) for part in zip(*times, strict=True)] or ["n/a", "n/a"]
                rows.append([f"{count:,}", f"{size / 1e6:.2f} MB", span(wrote), *shown])
    finally:
        if page:
            page.quit()
    heads = ["tests", "size", "written in", "page open", "test open"]
    title = f"The page (medians of {rounds})" + ("" if page else "; no browser was found")
    harness.show(harness.machine_line(), Table(title, heads, rows))
    harness.write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
