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
def test_an_example_runs_silently_and_writes_no_file(
    path, run, tmp_path, tmp_path_factory, monkeypatch
):
    """Examples are what users copy: a warning in them is a warning everywhere."""
    monkeypatch.chdir(tmp_path)
    output = run(shortened(path, tmp_path_factory))
    assert not list(tmp_path.iterdir())
    if path.name in CHECKS:
        CHECKS[path.name](output)


SHORTER = {"plot_pde.py": ("MAX_ITER = 300", "MAX_ITER = 60")}


def shortened(path, tmp_path_factory):
    """An example that takes seconds; the same one unless it is named above."""
    if path.name not in SHORTER:
        return path
    source, (long, short) = path.read_text(encoding="utf-8"), SHORTER[path.name]
    assert source.count(long) == 1
    shorter = tmp_path_factory.mktemp("shorter") / path.name
    shorter.write_text(source.replace(long, short), encoding="utf-8")
    return shorter


def check_quickstart(output):
    """Models win and lose where its prose says so."""
    rows = [line.rsplit(maxsplit=4) for line in output.splitlines()[1:]]
    scores = {row[0].strip(): np.array(row[1:4], dtype=float) for row in rows}
    kan, trees = scores["KANRegressor"], scores["HistGradientBoosting"]
    others = np.max([scores[name] for name in scores if name != "KANRegressor"], axis=0)
    assert len(scores) == 4
    assert kan[0] > trees[0] + 0.05
    assert abs(kan[0] - scores["RidgeCV"][0]) < 0.05
    assert kan[1] > others[1] + 0.05
    assert trees[2] > kan[2] > scores["RidgeCV"][2] + 0.4


def check_effects(output):
    """The model is good enough to be explained, and its intervals hold."""
    assert float(re.search(r"R2 on 206 other cars: (\S+)", output)[1]) > 0.8
    assert 85 <= int(re.search(r"90% intervals hold (\d+)%", output)[1]) <= 97
    assert "class and gears: " in output


def check_pipeline(output):
    """Encoding changes little, and trees are behind."""
    gains = [float(gain) for gain in re.findall(r"  ([+-]\S+) \+- \S+\n", output)]
    as_is, encoded, trees, linear = gains
    assert as_is == 0
    assert abs(encoded) < 0.02
    assert trees < -0.05
    assert linear < 0


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


def check_equations(output):
    """Both solutions are close to the closed ones; Poisson's trained for a fifth."""
    poisson, *bratu = (float(line.split()[-1]) for line in output.splitlines())
    assert poisson < 5e-3
    assert len(bratu) == 4
    assert max(bratu) < 1e-4


CHECKS = {
    "quickstart.py": check_quickstart,
    "plot_effects.py": check_effects,
    "plot_pipeline.py": check_pipeline,
    "plot_grid.py": check_grids,
    "plot_pde.py": check_equations,
    "plot_scaling_laws.py": check_scaling_laws,
}


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
