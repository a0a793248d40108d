"""Executes the recipes of the README as they are written."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
RECIPE = re.compile(r"```python\n(.*?)```\n```text\n(.*?)```", re.S)

recipes = RECIPE.findall(README.read_text())


def test_number():
    assert len(recipes) >= 10


@pytest.mark.parametrize("code, output", recipes, ids=[code.strip().splitlines()[0] + f" {n}" for n, (code, _) in enumerate(recipes)])
def test_recipe(code, output, capsys, tmp_path, monkeypatch):
    file = tmp_path / "recipe.py"
    file.write_text(code)  # the source of a function is read from its file
    exec(compile(code, str(file), "exec"), {"__name__": "recipe"})
    assert capsys.readouterr().out == output
