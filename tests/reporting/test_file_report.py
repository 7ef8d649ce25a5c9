"""A file report is found by its format's name; a new format is a new module and nothing else."""

import json
from pathlib import Path

import pytest
from support.scripted import raw, sampled

from pytest_gilknock.model.metrics import METRICS
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
        f"test_a.py::t[\\x07] {metric}" for metric in METRICS
    ]
