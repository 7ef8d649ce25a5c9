"""What the project says of itself is so: CONTRIBUTING's tables, the changelog, the workflows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### `(\S+)/`\n(.*?)(?=^#)", CONTRIBUTING, flags=re.MULTILINE | re.DOTALL)
TABLES = {
    folder: re.findall(r"^\| `(\S+)` \| \S.* \|$", text, re.MULTILINE) for folder, text in SECTIONS
}
BUILT = {"__pycache__", ".so", ".pyd"}


def folders(top: str) -> set[str]:
    """Every folder below ``top`` in which a file is kept, and ``top`` itself."""
    files = [path for path in ROOT.joinpath(top).rglob("*") if path.is_file()]
    kept = [path for path in files if not BUILT & {path.parent.name, path.suffix}]
    return {path.parent.relative_to(ROOT).as_posix() for path in kept}


def test_every_folder_of_the_sources_has_its_table():
    assert set(TABLES) == folders("src") | folders("pytest_gilknock") | {"tests"}


@pytest.mark.parametrize("folder", sorted(TABLES))
def test_every_file_has_its_line(folder):
    entries = [path for path in ROOT.joinpath(folder).iterdir() if path.name not in BUILT]
    if folder == "tests":
        names = {path.name for path in entries if path.is_dir() and not path.name.startswith(".")}
    else:
        files = [path for path in entries if path.is_file() and path.suffix not in BUILT]
        names = {re.sub(r"\.(py|c|h)$", "", path.name) for path in files} - {"__init__"}
    lines = TABLES[folder]
    assert len(lines) == len(set(lines)), f"CONTRIBUTING.md, {folder}/: a line twice"
    missing, surplus = names - set(lines), set(lines) - names
    assert not missing | surplus, f"CONTRIBUTING.md, {folder}/: {missing=}, {surplus=}"


def test_the_changelog_begins_with_the_version_that_is_next():
    version = re.search(r'^version = "(.+)"$', ROOT.joinpath("pyproject.toml").read_text(), re.M)[1]
    headings = re.findall(r"^## (.+)$", ROOT.joinpath("CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0].split()[0] == version


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda p: p.name)
def test_a_workflow_has_few_rights_and_runs_what_was_reviewed(path):
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^permissions:\n  contents: read\n(?! )", text, re.MULTILINE)
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    for action, comment in uses:
        if action.startswith("$/.github/workflows/"):
            continue  # a workflow of this very commit
        assert re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
