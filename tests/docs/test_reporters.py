"""The recipes for other reporters show the readings."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.inner import exact

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

pytestmark = exact


def report(folder, *arguments, projects=(), plugins=()):
    for project in ("reporters", *projects):
        shutil.copytree(EXAMPLES / project, folder, dirs_exist_ok=True)
    loaded = [word for name in ("pytest_gilknock.plugin", *plugins) for word in ("-p", name)]
    subprocess.run(
        [sys.executable, "-m", "pytest", *loaded, "--gil-report", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=True,
        capture_output=True,
        timeout=120,
    )


def test_junit_has_the_properties(tmp_path):
    report(tmp_path, "--junitxml=report.xml")
    text = tmp_path.joinpath("report.xml").read_text("utf-8")
    assert re.search(r'<property name="gil_wait_s" value="0\.\d+"', text)


def test_json_report_has_the_properties(tmp_path):
    pytest.importorskip("pytest_jsonreport")
    options = ("--json-report", "--json-report-file=report.json")
    report(tmp_path, *options, plugins=["pytest_jsonreport.plugin"])
    (test,) = json.loads(tmp_path.joinpath("report.json").read_text())["tests"]
    assert "gil_blame" in {name for one in test["user_properties"] for name in one}


def test_reportlog_has_the_properties(tmp_path):
    pytest.importorskip("pytest_reportlog")
    report(tmp_path, "--report-log=report.jsonl", plugins=["pytest_reportlog.plugin"])
    assert '["gil_wait_s", ' in tmp_path.joinpath("report.jsonl").read_text()


def test_pytest_html_has_columns(tmp_path):
    pytest.importorskip("pytest_html")
    plugins = ["pytest_metadata.plugin", "pytest_html.plugin"]
    report(tmp_path, "--html=report.html", projects=["pytest_html"], plugins=plugins)
    text = tmp_path.joinpath("report.html").read_text("utf-8")
    assert "GIL wait (s)" in text
    assert re.search(r"td(&gt;|>)test_orders\.py:5 compute", text)


def test_allure_has_parameters(tmp_path):
    pytest.importorskip("allure_pytest")
    options = ("--alluredir=results",)
    report(tmp_path, *options, projects=["allure"], plugins=["allure_pytest.plugin"])
    (path,) = tmp_path.joinpath("results").glob("*-result.json")
    parameters = {one["name"]: one for one in json.loads(path.read_text("utf-8"))["parameters"]}
    assert parameters["gil_method"] == {"name": "gil_method", "value": "'exact'", "excluded": True}
