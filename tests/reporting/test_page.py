"""The page of --gil-export=html: what it says, and that nothing from outside can become markup."""

import base64
import json
import zlib
from html.parser import HTMLParser

import pytest
from support.scripted import blamed, breach, disabled, measured, raw, totals
from support.traces import MAIN, trace

pytest.importorskip("jinja2", reason="the page needs Jinja2")

from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.page import BATCH, page_text, sentence
from pytest_gilknock.reporting.results import Results

CALM = "No test kept a thread waiting for the GIL for a millisecond or more."
HOSTILE = "t.py::test[</script><img src=x onerror=alert(1)>'\"&\u2028]"


class Page(HTMLParser):
    """The elements of a page, and the texts of its scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.scripts = {}
        self.inside = None
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data
        else:
            self.text += data

    @property
    def run(self):
        return json.loads(self.scripts["run"])

    def details(self, batch):
        packed = base64.b64decode(self.scripts[f"details-{batch}"])
        return json.loads(zlib.decompress(packed))


def results_of(*tests, run=None):
    results = Results(top=10, sort="wait", keep_all=True, root="/src")
    for name, record in tests:
        results.add(name, "failed" if "verdicts" in record else "passed", record)
    results.add_process(totals(run or raw()))
    return results


def page(*tests, run=None):
    return Page("".join(page_text(results_of(*tests, run=run))))


def test_the_rows_are_the_tests():
    one = page(("a.py::test_a", measured(raw())), ("b.py::test_b", breach(raw())))
    heads = [column["head"] for column in one.run["columns"]]
    rows = [dict(zip(heads, row, strict=True)) for row in one.run["rows"]]
    assert rows[0] == {
        "contention": 0.5,
        "wait": 0.25,
        "max wait": 0.0052,
        "threads": 2,
        "time": 1.0,
        "held by": "app/pool.py:31 burn",
        "test": "a.py::test_a",
    }
    assert one.run["flags"] == ["", "breach failed"]


def test_a_test_has_its_threads_stacks_and_verdicts():
    stack = (("/src/app/pool.py", 31, "burn", "zlib.compress"), ("/src/t.py", 3, "test", None))
    record = breach(raw(blame=[(stack, 12, "worker", 0.1, 25, 0.0, 0)]))
    (details,) = page(("t.py::test", record)).details(0)
    assert details["verdicts"] == [["max wait 5 ms", True]]
    assert details["threads"][0] == ["worker", 0.4, 0.05, 0.0041, 50, 25]
    frames = ["t.py:3 test", "app/pool.py:31 burn", "(zlib.compress)"]
    assert details["blame"] == [[frames, 0.1]]
    assert details["victims"] == [[["app/loop.py:7 run"], 0.2]]
    assert details["own"] == ["app/loop.py:7 run", "app/pool.py:31 burn", "t.py:3 test"]


def test_details_are_packed_in_batches():
    one = page(*((f"t.py::test_{number:03}", measured(raw())) for number in range(BATCH + 1)))
    assert [len(one.details(batch)) for batch in (0, 1)] == [BATCH, 1]


def test_names_from_outside_stay_text():
    blame = [blamed("</script><b>.py", 1, "</script><img src=x>", 12, "</script>", 0.1, 5)]
    text = "".join(page_text(results_of((HOSTILE, measured(raw(blame=blame))))))
    one = Page(text)
    tags = [tag for tag, _ in one.tags]
    assert "img" not in tags
    assert "b" not in tags
    assert one.run["rows"][0][-1] == HOSTILE
    assert not [attrs for _, attrs in one.tags if any(name.startswith("on") for name in attrs)]


def test_the_page_loads_nothing():
    one = page(("t.py::test", measured(raw())))
    assert not [attrs for _, attrs in one.tags if {"src", "href"} & attrs.keys()]
    policies = [attrs["content"] for tag, attrs in one.tags if attrs.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "No test kept a thread waiting for the GIL for a millisecond or more."),
        (
            [raw(wait=0.0005)],
            "No test kept a thread waiting for the GIL for a millisecond or more.",
        ),
        ([raw(wait=0.2)], "1 test kept threads waiting 200 ms; one place did 50 % of it."),
        ([raw(), raw()], "2 tests kept threads waiting 500 ms; one place did 40 % of it."),
        ([raw(wait=9.0)], "1 test kept threads waiting 9.00 s."),
        ([raw(blame=[])], "1 test kept threads waiting 250 ms."),
        ([disabled()], CALM),
    ],
)
def test_the_run_in_a_sentence(readings, said):
    results = results_of(*((str(number), measured(one)) for number, one in enumerate(readings)))
    assert sentence(results.everything(), results.places) == said


def test_without_a_gil_the_page_says_so():
    one = page(("t", measured(disabled())), run=disabled())
    assert "The GIL was disabled" in one.text
    assert one.run["rows"][0][:3] == [None, None, None]


def test_the_format_is_found_and_says_what_it_lacks(monkeypatch):
    report = find("html")
    report.check()
    monkeypatch.setattr("pytest_gilknock.reporting.file_reports.html.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'pytest-gilknock\[html\]'"):
        report.check()


def test_tests_whose_threads_waited_have_a_timeline():
    results = results_of(("t", measured(raw())), ("calm", measured(raw(wait=0.0))))
    spans = [("t", "call", 1_000, 9_000), ("calm", "call", 9_000, 10_000)]
    events = [(1_000, 3_000, MAIN, 0), (9_000, 9_500, MAIN, 0)]
    results.add_process({**totals(raw()), "trace": trace(events, spans)})
    calm, waited = Page("".join(page_text(results))).details(0)
    assert calm["timeline"] is None
    assert waited["timeline"]["threads"] == [{"name": "MainThread", "slices": [0.0, 2.0, 1]}]
