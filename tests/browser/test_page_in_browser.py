"""The page of --gil-export=html in a real browser: headless Chromium, driven by Selenium."""

import shutil

import pytest
from support.scripted import blamed, breach, measured, raw, totals

from pytest_gilknock.reporting.page import page_text
from pytest_gilknock.reporting.page_of_results import page_of
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.terminal import doubts

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
def show(browser, tmp_path):
    """Opens the page of some tests; fails if the browser complained about anything."""

    def open_page(*tests):
        results = Results(top=10, sort="wait", keep_all=True, root="/src")
        for name, record in tests:
            results.add(name, "failed" if "verdicts" in record else "passed", record)
        results.add_process(totals(raw()))
        path = tmp_path / "gil.html"
        path.write_text(
            "".join(page_text(page_of(results, [line.text for line in doubts(results)]))),
            encoding="utf-8",
        )
        browser.get(path.as_uri())
        return browser

    yield open_page
    assert browser.get_log("browser") == []


def many(number):
    return [
        (f"t.py::test_{place:05}", measured(raw(wait=(place + 1) / number)))
        for place in range(number)
    ]


def texts(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


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


def test_names_from_outside_stay_text(show):
    page = show((HOSTILE, measured(raw())))
    assert page.title == "GIL contention"
    assert page.find_elements("css selector", "main img") == []
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
