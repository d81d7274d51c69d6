"""Templates are found with their metadata, and everything wrong with them is said at once."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from salesops_kit.errors import InputError
from salesops_kit.publishing.templates import discover, read_template
from tests.publishing.kit import write_template


def test_a_template_is_read(tmp_path: Path) -> None:
    write_template(tmp_path, "won_deals", audience="teams")
    template = discover(tmp_path)["won_deals"]
    assert (template.title, template.audience, template.tables) == ("Won deals", "teams", ("bookings.deals",))
    assert list(template.parameters) == ["team", "quarter", "data", "horizon"]
    assert len(template.sha256) == 64


@pytest.mark.parametrize("name", ["Con", "con", "lpt1", "a b", "x" * 61, "2nd", "a-b"])
def test_a_file_name_that_is_no_report_is_refused(tmp_path: Path, name: str) -> None:
    path = write_template(tmp_path, name)
    with pytest.raises(InputError, match="no report name"):
        read_template(path)


def test_all_problems_of_all_templates_at_once(tmp_path: Path) -> None:
    write_template(tmp_path, "one", audience="leader", ttle="x")
    write_template(tmp_path, "two", parameters="team = 1", tables="deals")
    (tmp_path / "three.ipynb").write_text("{}")
    (tmp_path / "four.ipynb").write_bytes(b"\xff\xfe{")
    notebook = nbformat.v4.new_notebook()
    nbformat.write(notebook, tmp_path / "five.ipynb")
    with pytest.raises(InputError) as refused:
        discover(tmp_path)
    files = {problem.file for problem in refused.value.problems}
    assert files == {"one.ipynb", "two.ipynb", "three.ipynb", "four.ipynb", "five.ipynb"}
    text = str(refused.value)
    for part in (
        "wrong audience",
        "unknown salesops metadata 'ttle'",
        "not a parameter",
        "no tables",
        "no salesops",
    ):
        assert part in text


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no report templates"):
        discover(tmp_path)
