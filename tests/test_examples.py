"""The examples and the README run as a reader would run them."""

import importlib.util
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def _font_cache():
    """matplotlib announces on stderr that it builds its cache, once per machine."""
    import matplotlib.font_manager  # noqa: F401 - its effect


@pytest.fixture
def run(capfd):
    """Function for the output of a script that must neither fail nor warn."""
    import matplotlib.pyplot as plt

    def run(path):
        capfd.readouterr()
        runpy.run_path(str(path), run_name="__main__")
        output, errors = capfd.readouterr()
        assert errors == ""
        return output

    plt.switch_backend("Agg")
    yield run
    plt.close("all")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_silently_and_writes_no_file(path, run, tmp_path, monkeypatch):
    """Examples are what users copy: a warning in them is a warning everywhere."""
    monkeypatch.chdir(tmp_path)
    output = run(path)
    assert not list(tmp_path.iterdir())
    if path.name == "quickstart.py":
        check_table(output)
    if path.name == "plot_grid.py":
        check_grids(output)
    if path.name == "plot_scaling_laws.py":
        check_scaling_laws(output)


def check_table(output):
    """The quickstart's table holds three models with sensible scores."""
    assert "Best parameters of KANRegressor" in output
    rows = [line.split() for line in output.splitlines() if "Regressor  " in line]
    assert [row[0] for row in rows] == [
        "KANRegressor",
        "MLPRegressor",
        "HistGradientBoostingRegressor",
    ]
    scores = np.array([row[1:3] for row in rows], dtype=float)
    assert np.isfinite(scores).all()
    assert (scores > 0.2).all()


def check_grids(output):
    """The figures are those that the authors of KAN print in their documentation."""
    uniform = " ".join(f"{knot:8.4f}" for knot in range(-22, 23, 4))
    assert output.count(uniform) == 3
    assert "-3.3793  -0.8336  -0.2805   0.2751   0.8132   3.3837" in output
    difference = re.search(r"phi and its formula: (\S+)", output)[1]
    assert float(difference) < 1e-14


def check_scaling_laws(output):
    """With enough rows the error of cubic splines falls as grid_size ** -4."""
    header, *rows = [line.split() for line in output.splitlines()]
    grids = np.array([name.removeprefix("G=") for name in header[2:]], dtype=float)
    assert [row[0] for row in rows] == ["n=100", "n=300", "n=1000"]
    errors = np.array([row[1:] for row in rows], dtype=float)
    assert (errors < 0.02).all()
    law = errors[-1, 0] * (grids / grids[0]) ** -4.0
    assert (errors[-1] < 2 * law).all()


def test_the_example_of_the_readme_runs_and_has_twelve_lines(run, tmp_path):
    """It is the first thing that anybody tries."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    assert len(example.splitlines()) == 12
    path = tmp_path / "example.py"
    path.write_text(example, encoding="utf-8")
    scores = re.findall(r"R2: (\S+)", run(path))
    assert len(scores) == 2
    assert min(map(float, scores)) > 0.8


STALE = "the README is stale: run `python docs/readme.py` and copy what it prints"


@pytest.fixture(scope="module")
def script():
    """docs/readme.py as a module."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figure_of_the_readme_is_what_its_script_draws(script):
    """The features in their order, and their shares."""
    import matplotlib.pyplot as plt

    display = script.drawn_effects()
    plt.close(display.figure_)
    figure = script.FIGURE.read_text(encoding="utf-8")
    shown = re.findall(r"<!-- (.*?) -->", figure, re.DOTALL)
    drawn = script.titles(display)
    assert [text for text in shown if text in drawn] == drawn, STALE
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"![{script.caption(display)}](docs/effects.svg)" in readme, STALE


def test_the_formula_of_the_readme_is_what_its_script_finds(script):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n```\n{script.written_law()}\n```\n" in readme, STALE
