"""A file report is found by its format's name; a new format is a new module and nothing else."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.scripted import disabled, raw, sampled

from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.units import COUNT, SECONDS, SHARE
from pytest_gilknock.reporting import file_reports
from pytest_gilknock.reporting.export import check_distinct, parse_export, short_export
from pytest_gilknock.reporting.file_report import find, formats
from pytest_gilknock.reporting.results import Results

TOY = """
from pytest_gilknock.reporting.file_report import FileReport


class Names(FileReport):
    format = "toy-names"

    def check(self):
        raise ValueError("install toys")

    def write(self, results):
        for test in results.everything():
            yield test.nodeid + "\\n"
"""


def results() -> Results:
    """Of three tests, the second of which was measured by knocks alone, and of one's setup."""
    made = Results(top=0, sort="wait", keep_all=True)
    made.add("test_a.py::t[\x07]", "passed", {"phase": "call", "raw": raw()})
    made.add("test_a.py::s", "passed", {"phase": "call", "raw": sampled(50, 25)})
    made.add("test_a.py::s", "passed", {"phase": "setup", "raw": raw()})
    return made


@pytest.mark.parametrize("name", formats())
def test_a_format_is_found_by_its_name(name: str) -> None:
    report = find(name)
    assert report.format == name
    assert type(report).__module__.rpartition(".")[2] == name.replace("-", "_")
    report.check()
    assert "".join(report.write(results())).endswith("\n")


def test_the_formats_there_are() -> None:
    assert formats() == sorted(formats())
    assert {"github-action-benchmark", "html", "json", "trace"} <= set(formats())
    with pytest.raises(ValueError, match=f"'CSV' is no format; there are {', '.join(formats())}"):
        find("CSV")


def test_a_new_format_is_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    folder.joinpath("toy_names.py").write_text(TOY)
    monkeypatch.setattr(file_reports, "__path__", [*file_reports.__path__, str(folder)])
    export = parse_export("toy-names:out.txt", "here", str(tmp_path))
    export.write(results())
    assert tmp_path.joinpath("out.txt").read_text().split() == ["test_a.py::s"] * 2 + [
        "test_a.py::t[\x07]"
    ]
    with pytest.raises(ValueError, match="install toys"):
        export.check()


def test_two_exports_to_one_file_are_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("link.json").symlink_to(tmp_path / "gil.json")
    exports = [
        short_export("json", "gil.json", "--gil-json", str(tmp_path)),
        parse_export("json:other.json", "--gil-export", str(tmp_path)),
    ]
    check_distinct(exports)
    again = parse_export("json:link.json", "--gil-export", str(tmp_path))
    with pytest.raises(ValueError, match=r"link\.json' is asked for twice, as json by --gil-json"):
        check_distinct([*exports, again])


def test_github_action_benchmark_takes_a_list_of_named_values() -> None:
    benches = json.loads("".join(find("github-action-benchmark").write(results())))
    assert [bench for bench in benches if "::s" in bench["name"]] == [
        {
            "name": f"test_a.py::s {metric}",
            "unit": unit,
            "value": value,
            "extra": "method: sampled",
        }
        for metric, unit, value in [
            ("contention", "share", 0.5),
            ("max_wait", "s", sampled(50, 25)["max_wait"]),
        ]
    ]
    assert [bench["name"] for bench in benches if "::s" not in bench["name"]] == [
        f"test_a.py::t[\\x07] {metric}" for metric, row in METRICS.items() if not row.asked_for
    ]


def test_openmetrics_is_read_by_the_parser_of_prometheus() -> None:
    made = results()
    awkward = 'test_b.py::t["\\\\|{}\u00fc\\n]'
    made.add(awkward, "passed", {"phase": "call", "raw": raw(wait=0.125, max_hold=0.03)})
    text = "".join(find("openmetrics").write(made))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {family.type for family in families.values()} == {"gauge"}
    units = {family.name: family.unit for family in families.values()}
    assert units == {
        f"gilknock_{metric.name}{suffix}": suffix.removeprefix("_")
        for metric in METRICS.values()
        for suffix in [{SHARE: "_ratio", SECONDS: "_seconds", COUNT: ""}[metric.unit]]
    }
    holds = families["gilknock_max_hold_seconds"].samples
    assert [sample.value for sample in holds] == [0.03]  # the others were not audited
    waits = {
        sample.labels["test"]: sample.value for sample in families["gilknock_wait_seconds"].samples
    }
    assert waits == {"test_a.py::t[\\x07]": 0.25, awkward: 0.125}  # the sampled one has none
    contention = families["gilknock_contention_ratio"].samples
    assert [sample.labels["method"] for sample in contention] == ["sampled", "exact", "exact"]


BMF = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["value"],
            "additionalProperties": False,
            "properties": {
                name: {"type": "number"} for name in ("value", "lower_value", "upper_value")
            },
        },
    },
}
"""Bencher Metric Format, as its documentation has it."""


def test_bencher_has_the_bounds_of_each_value() -> None:
    made = results()
    machine = (2.0, 0.0, 1.0, 0.0, None)  # others took half of two processors for a second
    busy = raw(wait=0.25, wall=1.0, machine=machine, run_delay=9.0)
    made.add("test_b.py::busy", "passed", {"phase": "call", "raw": busy})
    document = json.loads("".join(find("bencher").write(made)))
    Draft202012Validator(BMF).validate(document)
    assert list(document) == ["test_a.py::s", "test_a.py::t[\\x07]", "test_b.py::busy"]
    assert list(document["test_a.py::s"]) == ["gil-contention", "gil-max-wait"]
    sampled_share = document["test_a.py::s"]["gil-contention"]
    assert 0.3 < sampled_share["lower_value"] < 0.5 < sampled_share["upper_value"] < 0.7
    assert document["test_b.py::busy"]["gil-wait"] == {
        "value": 0.25,
        "lower_value": 0.125,
        "upper_value": 0.25,
    }


def test_bencher_gets_no_name_that_is_too_long_for_it() -> None:
    made = Results(top=0, sort="wait", keep_all=True)
    for end in "ab":
        made.add("test_a.py::t[" + 2000 * "\u00fc" + end, "passed", {"phase": "call", "raw": raw()})
    names = list(json.loads("".join(find("bencher").write(made))))
    assert all(1020 < len(name.encode()) <= 1024 for name in names)
    assert len(set(names)) == 2


def test_what_was_not_measured_has_no_place_in_a_file() -> None:
    made = Results(top=0, sort="wait", keep_all=True)
    made.add("test_a.py::t", "passed", {"phase": "call", "raw": disabled()})
    assert json.loads("".join(find("bencher").write(made))) == {}
    text = "".join(find("openmetrics").write(made))
    assert all(not family.samples for family in text_string_to_metric_families(text))
