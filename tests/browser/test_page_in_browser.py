"""The page of --gil-export=html in a real browser: headless Chromium, driven by Selenium."""

import shutil

import pytest
from support.gate_samples import BASELINE
from support.scripted import AUDITED, blamed, breach, measured, raw, totals
from support.traces import FORCED, MAIN, WAIT, WORKER, trace

from pytest_gilknock.model import units
from pytest_gilknock.reporting.changes import ChangeRow, Changes
from pytest_gilknock.reporting.page import page_text
from pytest_gilknock.reporting.page_of_baseline import page_of_baseline
from pytest_gilknock.reporting.page_of_results import page_of
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.run_lines import caveats

pytest.importorskip("jinja2", reason="the page needs Jinja2")
webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    None in (CHROMIUM, DRIVER), reason="Chromium and its driver are not installed"
)

HOSTILE = "t.py::test[</script><img src=x onerror=document.title='hit'>'\"&\u2028]"
STACK = (
    ("/src/app/store.py", 14, "archive", "zlib.compress"),
    ("/src/tests/test_app.py", 3, "test_store", None),
)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.implicitly_wait(20)
    yield driver
    driver.quit()


@pytest.fixture
def show_page(browser, tmp_path):
    """Opens a page; fails if the browser complained about anything."""

    def open_page(page):
        path = tmp_path / "gil.html"
        path.write_text("".join(page_text(page)), encoding="utf-8")
        browser.get(path.as_uri())
        return browser

    yield open_page
    assert browser.get_log("browser") == []


@pytest.fixture
def show(show_page):
    """Opens the page of some tests."""

    def open_page(*tests, changes=None, stalls=(), spans=None, events=()):
        results = Results(top=10, sort="wait", keep_all=True, root="/src")
        results.changes = changes
        for name, record in tests:
            results.add(name, "failed" if "verdicts" in record else "passed", record)
        extras = {"stalls": list(stalls), "stalls_omitted": 0}
        if spans:
            extras["trace"] = trace(list(events), spans)
        results.add_process({**totals(raw()), **extras})
        return show_page(page_of(results, [line.text for line in caveats(results)]))

    return open_page


def many(number):
    return [
        (f"t.py::test_{place:05}", measured(raw(wait=(place + 1) / number)))
        for place in range(number)
    ]


def texts(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


def number_of(browser, selector):
    """How many elements there are: Selenium waits for the first of them, and so for none long."""
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def click(browser, selector):
    browser.find_element("css selector", selector).click()


def test_a_column_sorts_both_ways(show):
    page = show(*many(3))
    ids = "table.tests tbody th"
    assert texts(page, ids) == ["t.py::test_00002", "t.py::test_00001", "t.py::test_00000"]
    assert page.find_element("css selector", "[aria-sort]").get_attribute("aria-sort") == (
        "descending"
    )
    click(page, "table.tests thead th:nth-child(3) button")
    assert texts(page, ids) == ["t.py::test_00000", "t.py::test_00001", "t.py::test_00002"]
    click(page, "table.tests thead th:first-child button")
    assert texts(page, ids)[0] == "t.py::test_00000"


def test_phases_of_a_test_are_not_counted_as_tests(show):
    phases = [("t", measured(raw(), phase=phase)) for phase in ("setup", "call")]
    assert texts(show(*phases), "output") == ["2 measured phases"]


def test_search_and_filter(show):
    slow = measured(raw(blame=[blamed("/src/app/slow.py", 3, "slow", 12, "worker", 0.2, 9)]))
    page = show(("a.py::test_a", measured(raw())), ("b.py::test_b", slow), ("c", breach(raw())))
    field = page.find_element("css selector", "input[type=search]")
    field.send_keys("SLOW.py test_b")
    assert texts(page, "table.tests tbody th") == ["b.py::test_b"]
    assert texts(page, "output") == ["1 of 3 tests"]
    field.clear()
    field.send_keys(" ")
    click(page, "select option[value='over a limit']")
    assert texts(page, "table.tests tbody th") == ["c"]


def test_ten_thousand_tests_show_a_hundred_at_a_time(show):
    page = show(*many(10_000))
    assert len(page.find_elements("css selector", "table.tests tbody tr")) == 100
    click(page, "button.more")
    assert len(page.find_elements("css selector", "table.tests tbody tr")) == 200
    page.find_element("css selector", "input[type=search]").send_keys("test_00007")
    assert texts(page, "table.tests tbody th") == ["t.py::test_00007"]


def test_a_test_opens_with_its_flame_graph_and_closes(show):
    record = measured(raw(blame=[(STACK, 12, "worker", 0.1, 25, 0.0, 0)]))
    page = show(("t.py::test_store", record))
    click(page, "table.tests tbody a")
    frames = [
        frame.get_attribute("aria-label")
        for frame in page.find_elements("css selector", "dialog .flame-box:first-of-type .frame")
    ]
    assert frames[:4] == [
        "all waiting: 100 ms, 100 %",
        "tests/test_app.py:3 test_store: 100 ms, 100 %",
        "app/store.py:14 archive: 100 ms, 100 %",
        "(zlib.compress): 100 ms, 100 %",
    ]
    assert "worker" in page.find_element("css selector", "dialog table").text
    click(page, "dialog > button")
    assert not page.find_element("css selector", "dialog").is_displayed()


def test_a_test_of_a_saved_run_opens_with_its_numbers(show_page):
    page = show_page(page_of_baseline(BASELINE))
    click(page, "table.tests tbody a")
    assert page.find_element("css selector", "dialog h1").text in BASELINE.tests
    names, values = (texts(page, f"dialog .figures {one}") for one in ("dt", "dd"))
    figures = dict(zip(names, values, strict=True))
    assert figures["wait"] == "250 ms"
    assert figures["requests of gilknock's own thread"] == "25 of 50 waited"


def test_a_frame_zooms_and_the_root_shows_all_again(show):
    other = (("/src/app/other.py", 5, "other", None),)
    rows = [(STACK, 12, "worker", 0.1, 25, 0.0, 0), (other, 12, "worker", 0.1, 25, 0.0, 0)]
    page = show(("t.py::test_store", measured(raw(blame=rows, victims=[]))))
    click(page, "table.tests tbody a")

    def widths():
        return {
            frame.get_attribute("aria-label").split(":")[0]: frame.get_attribute("width")
            for frame in page.find_elements("css selector", "dialog .flame .frame")
        }

    assert widths()["tests/test_app.py"] == "50%"
    click(page, "dialog .flame .frame[aria-label^='tests/test_app.py'] rect")
    assert widths()["tests/test_app.py"] == "100%"
    assert "app/other.py" not in widths()
    click(page, "dialog .flame .frame[aria-label^='all waiting'] rect")
    assert widths()["app/other.py"] == "50%"


def test_the_page_writes_times_as_the_terminal_does(show):
    values = [1e-6, 9.996e-6, 310e-6, 999.6e-6, 9.996e-3, 48.23e-3, 0.9999, 12.44, 999.9, 12345.6]
    written = show().execute_script("return arguments[0].map(seconds)", values)
    assert written == [units.seconds(value) for value in values]


def test_names_from_outside_stay_text(show):
    page = show((HOSTILE, measured(raw())))
    assert page.title == "GIL contention"
    assert number_of(page, "main img") == 0
    assert texts(page, "table.tests tbody th")[0].startswith("t.py::test[</script><img")
    click(page, "table.tests tbody a")
    assert "<img src=x" in page.find_element("css selector", "dialog h1").text


def test_the_theme_changes(show):
    page = show(("t", measured(raw())))

    def paper():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    before = paper()
    click(page, "#theme")
    assert paper() != before
    click(page, "#theme")
    assert paper() == before


def test_an_address_opens_its_test(show):
    page = show(*many(3))
    page.execute_script("location.hash = '#test-1'")
    assert page.find_element("css selector", "dialog h1").text == "t.py::test_00001"


def focused(page, attribute="aria-label"):
    return page.switch_to.active_element.get_attribute(attribute)


def press(page, *keys):
    for key in keys:
        page.switch_to.active_element.send_keys(key)


def test_going_back_closes_the_test(show):
    page = show(*many(3))
    click(page, "table.tests tbody a")
    assert page.find_element("css selector", "dialog").is_displayed()
    page.back()
    assert not page.find_element("css selector", "dialog").is_displayed()


def number(value):
    return (value, f"{value:g} s")


CHANGES = Changes(
    ["2 tests of this run compared with main: 1 worse, 1 better"],
    ["Warning: CPUs was 2, is 4"],
    [
        ChangeRow(
            "t.py::test_b",
            "worse",
            "wait",
            number(1),
            number(3),
            number(2),
            (2, "+200%"),
            "x.py:1 f",
        ),
        ChangeRow(
            "t.py::test_a", "better", "wait", number(9), number(1), number(-8), (-0.9, "-89%"), ""
        ),
        ChangeRow("gone", "steady", "wait", number(1), number(1), number(0), (0, ""), ""),
    ],
    3,
)


def test_a_comparison_shows_what_changed(show):
    page = show(
        ("t.py::test_a", measured(raw())), ("t.py::test_b", measured(raw())), changes=CHANGES
    )
    section = "#comparison "
    assert "1 worse, 1 better" in page.find_element("css selector", section).text
    assert "3 unchanged metrics left out" in page.find_element("css selector", section).text
    assert texts(page, section + "tbody th") == ["t.py::test_b", "t.py::test_a"]
    assert texts(page, section + "tbody tr.worse td")[:4] == ["worse", "wait", "1 s", "3 s"]
    click(page, section + "thead th:nth-child(6) button")  # by the change
    assert texts(page, section + "tbody th") == ["t.py::test_b", "t.py::test_a"]
    click(page, section + "thead th:nth-child(6) button")
    assert texts(page, section + "tbody th") == ["t.py::test_a", "t.py::test_b"]
    click(page, section + "option[value=unchanged]")
    assert texts(page, section + "tbody th") == ["gone"]
    assert number_of(page, section + "tbody a") == 0
    click(page, section + "option[value=worse]")
    click(page, section + "tbody a")
    assert page.find_element("css selector", "dialog h1").text == "t.py::test_b"


def test_waits_are_drawn_by_their_length(show):
    waits = [(0.000512, 1), (0.004096, 40), (0.008192, 9)]
    page = show(("t", measured(raw(wait_histogram=waits))))
    click(page, "table.tests tbody a")
    spoken = page.find_element("css selector", "dialog .histogram").get_attribute("aria-label")
    assert spoken == "50 waits by their length: 1 from 512 us, 40 from 4.1 ms, 9 from 8.2 ms"
    bars = page.find_elements("css selector", "dialog .histogram rect")
    heights = [float(bar.get_attribute("height")) for bar in bars]
    assert heights[1] == max(heights)
    assert heights[2] == pytest.approx(heights[1] * 9 / 40)


def test_stalls_open_with_their_stacks(show):
    stacks = 'Thread 0x1 (most recent call first):\n  File "/src/</pre>.py", line 3 in f\n'
    page = show(("t", measured(raw())), stalls=[("t", 1.5, "worker", 1, stacks)])
    assert (
        "1.50 s in t, held at </pre>.py:3 f by worker"
        in page.find_element("css selector", ".stall summary").text
    )
    click(page, ".stall summary")
    assert "line 3 in f" in page.find_element("css selector", ".stall pre").text


def test_audited_holds_are_listed_for_the_run_and_for_a_test(show):
    page = show(("t", measured(raw(**AUDITED))))
    cells = ["app/native.py:5 call > zlib.crc32", "30.0 ms", "4", "80.0 ms", "1", "worker"]
    assert texts(page, "main table:not(.tests) tbody td") == cells
    click(page, "table.tests tbody a")
    del cells[4]
    assert texts(page, "dialog section:first-of-type tbody td") == cells


def test_an_audit_that_found_nothing_says_so(show):
    page = show(("t", measured(raw(max_hold=0.0))))
    assert "None: each hold ended when" in page.find_element("css selector", "main").text


def test_an_id_of_ten_thousand_letters_leaves_room_for_others(show):
    page = show(("t.py::test_a", measured(raw())), (f"t.py::test[{'x' * 10_000}]", measured(raw())))
    rows = page.find_elements("css selector", "table.tests tbody tr")
    assert max(row.size["height"] for row in rows) < 200
    click(page, "table.tests tbody tr:last-child a")
    assert page.find_element("css selector", "dialog h1").size["height"] < 250


def test_a_timeline_zooms_and_moves_by_keys(show):
    events = [(1_000, 5_000, MAIN, 0), (2_000, 5_000, WORKER, WAIT), (5_000, 9_000, WORKER, 0)]
    events.append((5_000, 9_000, MAIN, WAIT | FORCED))
    page = show(("t", measured(raw())), spans=[("t", "call", 1_000, 9_000)], events=events)
    click(page, "table.tests tbody a")
    canvas = page.find_element("css selector", "dialog canvas")
    assert canvas.get_attribute("aria-label").startswith(
        "MainThread held the GIL for 4.00 us and waited for 4.00 us; thread 12 held"
    )

    def picture():
        return page.execute_script("return document.querySelector('dialog canvas').toDataURL()")

    whole = picture()
    page.execute_script("arguments[0].focus()", canvas)
    press(page, "+")
    assert picture() == whole, "10 us are the least to be seen"
    colors = page.execute_script(
        "const c = document.querySelector('dialog canvas'), seen = new Set();"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "for (let i = 0; i < d.length; i += 4) seen.add(`${d[i]},${d[i + 1]},${d[i + 2]}`);"
        "return [...seen]"
    )
    assert "47,126,216" in colors  # holds
    assert "224,145,47" in colors  # waits


def test_everything_is_reached_by_the_keyboard(show):
    record = measured(raw(blame=[(STACK, 12, "worker", 0.1, 25, 0.0, 0)]))
    page = show(("t.py::test_store", record), ("t.py::test_other", measured(raw(wait=0.0))))
    seen = []
    for _ in range(16):
        press(page, "\ue004")  # tab
        seen.append(focused(page) or page.switch_to.active_element.text)
    assert seen[0] == "Light or dark"
    assert "Search measured tests" in seen
    assert "Which tests" in seen
    assert "wait" in seen
    assert "t.py::test_store" in seen
    page.execute_script("arguments[0].focus()", page.find_element("link text", "t.py::test_store"))
    press(page, "\ue007")  # enter
    assert page.find_element("css selector", "dialog h1").text == "t.py::test_store"
    assert page.switch_to.active_element.text == "Close"
    press(page, "\ue004")
    assert focused(page).startswith("all waiting: ")
    press(page, "\ue015", "\ue015")  # down
    assert focused(page).startswith("app/store.py:14 archive: ")
    press(page, "\ue007")  # zooms, and stays there
    assert focused(page).startswith("app/store.py:14 archive: ")
    press(page, "\ue013")  # up
    assert focused(page).startswith("tests/test_app.py:3 test_store: ")
    press(page, "\ue00c")  # escape
    assert not page.find_element("css selector", "dialog").is_displayed()
    assert page.switch_to.active_element.text == "t.py::test_store"


def test_controls_and_pictures_have_names(show):
    page = show(
        ("t", measured(raw())),
        changes=CHANGES,
        spans=[("t", "call", 1_000, 9_000)],
        events=[(1_000, 5_000, MAIN, 0)],
    )
    click(page, "table.tests:last-of-type tbody a[href='#test-0']")
    nameless = page.execute_script(
        """
        const wanted = "button, a, input, select, canvas, summary, dialog, svg[role], [role]";
        return [...document.querySelectorAll(wanted)]
          .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim()))
          .map((node) => node.outerHTML.slice(0, 80));
        """
    )
    assert nameless == []
    captions = page.execute_script(
        "return [...document.querySelectorAll('table')].map((t) => t.caption?.textContent ?? '')"
    )
    assert all(captions)
    assert page.execute_script("return document.documentElement.lang") == "en"
    assert len(page.find_elements("css selector", "main")) == 1


CONTRAST = """
const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const style = getComputedStyle(document.documentElement);
const light = (name) => {
  probe.fillStyle = style.getPropertyValue(name);
  probe.fillRect(0, 0, 1, 1);
  const parts = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
  const [r, g, b] = parts.map((p) => (p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const [one, other] = [light(arguments[0]), light(arguments[1])].sort((a, b) => b - a);
return (one + 0.05) / (other + 0.05);
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(show, theme):
    """The ratio of WCAG 2.2 for texts, and less for marks that have a shape of their own, too."""
    page = show(("t", measured(raw())))
    page.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    pairs = [("--ink", "--paper"), ("--quiet", "--paper"), ("--quiet", "--raised")]
    pairs += [("--accent", "--paper"), ("--bad", "--paper"), ("--caveat", "--paper")]
    pairs += [("--ink", "--bad-paper"), ("--accent", "--bad-paper"), ("--own-ink", "--own")]
    pairs += [("--library-ink", "--library"), ("--special-ink", "--special")]
    low = {pair: ratio for pair in pairs if (ratio := page.execute_script(CONTRAST, *pair)) < 4.5}
    assert low == {}
    marks = [("--holds", "--paper"), ("--forced", "--holds"), ("--good", "--paper")]
    low = {pair: ratio for pair in marks if (ratio := page.execute_script(CONTRAST, *pair)) < 2.5}
    assert low == {}


@pytest.mark.parametrize("width", [420, 1400])
def test_the_page_fits_its_window(show, width):
    long = "t.py::" + "test_with_a_long_name_" * 12
    stall = (long, 1.5, "worker", 1, "x" * 500)
    page = show((long, measured(raw())), changes=CHANGES, stalls=[stall])
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide = "return document.documentElement.scrollWidth"
        assert page.execute_script(wide) <= width
        page.execute_script("location.hash = '#test-0'")
        page.find_element("css selector", "dialog .test")
        assert (
            page.execute_script(
                "const d = document.querySelector('dialog'); return d.scrollWidth - d.clientWidth"
            )
            <= 0
        )
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def shown_in_print(page, selector):
    return page.execute_script(
        "const found = [...document.querySelectorAll(arguments[0])];"
        "return found.filter((node) => node.checkVisibility()).length",
        selector,
    )


def test_print_has_the_tables_and_no_controls(show):
    page = show(*many(3), changes=CHANGES)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert shown_in_print(page, "input, select, #theme, .more, dialog") == 0
        assert shown_in_print(page, "table.tests tbody tr") == 5
        assert shown_in_print(page, "thead button") > 0
        assert shown_in_print(page, "body > details p") > 0
        page.execute_script("location.hash = '#test-1'")
        page.find_element("css selector", "dialog .test")
        assert shown_in_print(page, "dialog .test h1") == 1
        assert shown_in_print(page, "main, body > header, dialog > button") == 0
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_browser_prints_it(show):
    page = show(*many(3))
    pdf = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 5_000


def test_a_run_without_tests_says_so(show):
    page = show()
    assert "No test was measured." in page.find_element("css selector", ".sentence").text
    assert number_of(page, "table") == 0
