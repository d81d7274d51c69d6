"""The rules that every report template keeps, read from its text, so that a new one is held to them."""

from __future__ import annotations

import ast
import copy
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from salesops_kit.project import TEMPLATES
from salesops_kit.publishing.contract import parse_parameters
from salesops_kit.publishing.templates import read_template
from salesops_kit.registry import find_table

FOLDER = Path(__file__).resolve().parent.parent / TEMPLATES
NOTEBOOKS = sorted(path for path in FOLDER.glob("*.ipynb") if not path.name.startswith("."))
MOST_CELLS, MOST_CELLS_OF_A_REVIEW, MOST_LINES = 14, 30, 5
PACKAGES = ("salesops_kit.display", "salesops_kit.workbook")

# What a cell may be made of: imports, names given to results, and calls with names and literals.
ALLOWED = (
    *(ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.Assign, ast.Expr, ast.Call, ast.keyword),
    *(ast.Name, ast.Attribute, ast.Constant, ast.List, ast.Tuple, ast.Load, ast.Store),
)
WORDS = {
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef), "def"),
    ast.ClassDef: "class",
    ast.Lambda: "lambda",
    **dict.fromkeys((ast.For, ast.While, ast.AsyncFor), "loop"),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "comprehension"),
    **dict.fromkeys((ast.BinOp, ast.AugAssign, ast.UnaryOp, ast.Compare, ast.BoolOp), "arithmetic"),
    ast.JoinedStr: "f-string",
}
PARTS_OF_OTHERS = (
    *(ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.arguments, ast.arg, ast.comprehension),
    *(ast.FormattedValue, ast.expr_context),
)
FORBIDDEN_CALLS = ("open", "eval", "exec", "print", "display", "getattr", "__import__")


def sources(notebook: Any) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"]]


def is_code(cell: Any) -> bool:
    return bool(cell["cell_type"] == "code")


def calls(source: str, method: str) -> list[ast.Call]:
    """The calls of ``book.<method>`` in a cell."""
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and ast.unparse(node.func.value) == "book"
    ]


def statement_problems(source: str) -> list[str]:
    """What a code cell holds that belongs into an analysis or a story."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, PARTS_OF_OTHERS):
            continue
        if not isinstance(node, ALLOWED):
            found.append(f"a cell holds a {WORDS.get(type(node), type(node).__name__)}")
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            found += [
                f"a cell imports {name}"
                for name in modules
                if not any(name == p or name.startswith(p + ".") for p in PACKAGES)
            ]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            if called in FORBIDDEN_CALLS or last.startswith(("read_", "to_")):
                found.append(f"a cell reads, writes or prints with {called}")
            if last in ("groupby", "group_by", "aggregate", "agg", "merge", "pivot_table", "apply", "query"):
                found.append(f"a cell computes with {last}")
    lines = [line for line in source.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        found.append(f"a cell has {len(lines)} lines")
    return found


def heading_problems(notebook: Any) -> list[str]:
    found = []
    markdown = [
        source for cell, source in zip(notebook["cells"], sources(notebook), strict=True) if not is_code(cell)
    ]
    lines = [line for source in markdown for line in source.splitlines()]
    titles = [line for line in lines if line.startswith("# ")]
    if is_code(notebook["cells"][0]) or not markdown[0].startswith("# ") or len(titles) != 1:
        found.append("the first cell does not hold the one title")
    elif len(markdown[0].splitlines()) < 3:
        found.append("the first cell does not say who reads this and why")
    for line in lines:
        mark, _, text = line.partition(" ")
        if set(mark) == {"#"} and len(mark) > 1:
            if len(mark) > 2:
                found.append(f"heading {text!r} lies deeper than ##")
            if not text.rstrip().endswith("?"):
                found.append(f"heading {text!r} is no question")
    return found


def order_problems(notebook: Any) -> list[str]:
    """Parameters, opening, headlines, questions, end: what stands in the wrong place or is missing."""
    found = []
    texts = sources(notebook)
    code = [(n, texts[n]) for n, cell in enumerate(notebook["cells"]) if is_code(cell)]
    limit = (
        MOST_CELLS_OF_A_REVIEW
        if "review" in notebook["metadata"]["salesops"]["title"].lower()
        else MOST_CELLS
    )
    if len(code) > limit:
        found.append(f"{len(code)} code cells")
    tagged = [
        n for n, cell in enumerate(notebook["cells"]) if "parameters" in cell["metadata"].get("tags", [])
    ]
    if [n for n, _source in code[:1]] != tagged:
        found.append("the first code cell is not the one parameters cell")
    if "open_workbook(" not in code[1][1]:
        found.append("the second code cell does not open the workbook")
    if code[-1][1].strip() != "book.close()":
        found.append("the last code cell does not close the book")
    if not any(calls(source, "note") for _n, source in code[1:]):
        found.append("no cell shows the data-quality note")
    for n, source in code[1:]:
        if not (calls(source, "table") or calls(source, "show")):
            continue
        before = notebook["cells"][n - 1]
        if is_code(before) or not texts[n - 1].startswith("## "):
            found.append(f"no question stands before {source.splitlines()[0]!r}")
    return found


def parameter_problems(notebook: Any) -> list[str]:
    code = [
        source for cell, source in zip(notebook["cells"], sources(notebook), strict=True) if is_code(cell)
    ]
    parameters, problems = parse_parameters(code[0], file="template")
    found = [f"parameters: {problem}" for problem in problems]
    used = {
        node.id for source in code[1:] for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)
    }
    found += [f"parameter {name} is never used" for name in parameters if name not in used]
    found += [
        f"there is no parameter {name}"
        for name in ("team", "quarter", "as_of", "data")
        if name not in parameters
    ]
    return found


def table_problems(notebook: Any) -> list[str]:
    """Tables asked for and not declared, or the other way round, unknown tables and unknown options."""
    found = []
    asked: list[str] = []
    code = [
        source for cell, source in zip(notebook["cells"], sources(notebook), strict=True) if is_code(cell)
    ]
    for source in code:
        for call in [*calls(source, "table"), *calls(source, "headlines")]:
            name = ast.literal_eval(call.args[0])
            asked.append(name)
            try:
                spec = find_table(name)
            except ValueError as error:
                found.append(str(error))
                continue
            found += [f"{name} has no option {k.arg}" for k in call.keywords if k.arg not in spec.options]
    declared = notebook["metadata"]["salesops"]["tables"]
    found += [f"{name} is asked for and not declared" for name in sorted({*asked} - {*declared})]
    found += [f"{name} is declared and never asked for" for name in sorted({*declared} - {*asked})]
    if len(declared) != len(set(declared)):
        found.append("a table is declared twice")
    return found


def stripped_problems(notebook: Any) -> list[str]:
    found = []
    for cell in notebook["cells"]:
        if is_code(cell) and (cell["outputs"] or cell["execution_count"] is not None):
            found.append(f"cell {cell['id']} holds outputs or was executed")
        if cell.get("attachments"):
            found.append(f"cell {cell['id']} has attachments")
        wrong = set(cell["metadata"]) - {"tags"}
        found += [f"cell {cell['id']} has metadata {name}" for name in sorted(wrong)]
    wrong = set(notebook["metadata"]) - {"kernelspec", "language_info", "salesops"}
    found += [f"the notebook has metadata {name}" for name in sorted(wrong)]
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    return found


def broken_rules(notebook: Any) -> list[str]:
    """Every rule that a template breaks, in words."""
    code = [
        source for cell, source in zip(notebook["cells"], sources(notebook), strict=True) if is_code(cell)
    ]
    return [
        *(problem for source in code[1:] for problem in statement_problems(source)),
        *heading_problems(notebook),
        *order_problems(notebook),
        *parameter_problems(notebook),
        *table_problems(notebook),
        *stripped_problems(notebook),
    ]


def test_there_are_templates() -> None:
    assert NOTEBOOKS, f"no notebook in {FOLDER}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_template_keeps_the_rules(path: Path) -> None:
    assert broken_rules(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_template_is_a_valid_notebook_that_the_driver_accepts(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert read_template(path).report == path.stem


# Each rule broken once in an otherwise good template: the name of the rule must come up, and no other.

PARAMETERS = (
    'team: str = "company"    # Team | one of: teams\nquarter: str = ""  # Quarter | one of: quarters\n'
    'as_of: str = ""  # Cut-off | format: date\ndata: str = "sample"  # Dataset | format: dataset'
)
GOOD = {
    "metadata": {
        "kernelspec": {"name": "python3"},
        "salesops": {
            "title": "Wins",
            "description": "d",
            "audience": "leaders",
            "tables": ["funnel.win_rate"],
        },
    },
    "cells": [
        {"id": "a", "cell_type": "markdown", "metadata": {}, "source": "# Who wins?\n\nFor leaders."},
        {"id": "b", "cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": PARAMETERS},
        {
            "id": "c",
            "cell_type": "code",
            "metadata": {},
            "source": "from salesops_kit.workbook import open_workbook\n"
            "book = open_workbook(team=team, quarter=quarter, as_of=as_of, data=data)",
        },
        {"id": "d", "cell_type": "code", "metadata": {}, "source": "book.note()"},
        {"id": "e", "cell_type": "markdown", "metadata": {}, "source": "## Do reps differ?"},
        {
            "id": "f",
            "cell_type": "code",
            "metadata": {},
            "source": 'reps = book.table("funnel.win_rate", by="rep")\nbook.show(reps, story)',
        },
        {"id": "g", "cell_type": "code", "metadata": {}, "source": "book.close()"},
    ],
}
for _cell in GOOD["cells"]:
    if _cell["cell_type"] == "code":  # type: ignore[index]
        _cell |= {"outputs": [], "execution_count": None}  # type: ignore[operator]


def changed(index: int, **fields: Any) -> Any:
    notebook = copy.deepcopy(GOOD)
    notebook["cells"][index].update(fields)  # type: ignore[index]
    return notebook


def test_a_good_template_breaks_no_rule() -> None:
    assert broken_rules(GOOD) == []


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("def f():\n    pass", "def"),
        ("class A:\n    pass", "class"),
        ("f = lambda x: x", "lambda"),
        ("for x in book:\n    pass", "loop"),
        ("while book:\n    pass", "loop"),
        ("x = [y for y in book]", "comprehension"),
        ("x = dict(a for a in book)", "comprehension"),
        ("x = 1 + 2", "arithmetic"),
        ("x = -1", "arithmetic"),
        ("x = reps > 2", "arithmetic"),
        ("x = reps[0]", "Subscript"),
        ("x = f'{book}'", "f-string"),
        ("if book:\n    pass", "If"),
        ("with book:\n    pass", "With"),
        ("import pandas", "imports pandas"),
        ("from salesops_kit.workbookery import x", "imports salesops_kit.workbookery"),
        ("x = open('a.csv')", "with open"),
        ("x = reps.groupby('a')", "groupby"),
        ("x = pd.read_csv('a.csv')", "read_csv"),
        ("book.a()\nbook.b()\n\nbook.c()\nbook.d()\nbook.e()\nbook.f()", "6 lines"),
    ],
)
def test_a_cell_that_computes_is_named(code: str, rule: str) -> None:
    problems = broken_rules(changed(3, source=f"book.note()\n{code}" if "book.a" not in code else code))
    assert any(rule in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("notebook", "rule"),
    [
        (changed(0, source="# Who wins?"), "who reads this"),
        (changed(0, source="Who wins?\n\nFor leaders."), "the one title"),
        (changed(4, source="## Reps differ"), "is no question"),
        (changed(4, source="## Do reps differ?\n### How much?"), "deeper than ##"),
        (changed(4, source="Reps."), "no question stands before"),
        (changed(4, source="# Do reps differ?"), "the one title"),
        (changed(1, metadata={}), "not the one parameters cell"),
        (changed(1, source=PARAMETERS.replace("# Team ", "# Team=x ")), "'=' in the help"),
        (changed(1, source=PARAMETERS + "\nhorizon: int = 2  # Ahead"), "horizon is never used"),
        (changed(1, source=PARAMETERS.replace("as_of", "day")), "no parameter as_of"),
        (changed(2, source="book = 1"), "does not open the workbook"),
        (changed(3, source="book.headlines('funnel.win_rate')"), "data-quality note"),
        (changed(5, source="book.show(book.exclusions(), story)"), "declared and never asked for"),
        (changed(5, source="book.table('funnel.win_rat')"), "Did you mean funnel.win_rate"),
        (changed(5, source="book.table('funnel.win_rate', bye='rep')"), "no option bye"),
        (changed(5, source="book.table('funnel.cycle')"), "funnel.cycle is asked for and not declared"),
        (changed(5, execution_count=3), "was executed"),
        (changed(5, outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}]), "holds outputs"),
        (changed(5, metadata={"collapsed": True}), "has metadata collapsed"),
        (changed(6, source="book.close(); book.note()"), "does not close the book"),
    ],
)
def test_a_broken_template_is_named(notebook: Any, rule: str) -> None:
    problems = broken_rules(notebook)
    assert any(rule in problem for problem in problems), problems


def test_too_many_cells_are_named_but_allowed_in_a_review() -> None:
    notebook = copy.deepcopy(GOOD)
    extra = {**notebook["cells"][3], "id": "x"}  # type: ignore[index]
    notebook["cells"][3:3] = [dict(extra) for _ in range(10)]  # type: ignore[index]
    assert broken_rules(notebook) == ["15 code cells"]
    notebook["metadata"]["salesops"]["title"] = "Quarterly review"  # type: ignore[index]
    assert broken_rules(notebook) == []
