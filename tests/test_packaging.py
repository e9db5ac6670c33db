"""What is shipped, what is promised about it, and what is tested agree."""

import configparser
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import skkan

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def setup_cfg():
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def requirements(text):
    lines = [line.strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and line[0] not in "#%"]


def constraints():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return {requirement.name: requirement for requirement in requirements(text)}


def set_up_commands():
    """The shell commands of the README, one a block."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```bash\n(.*?)\n```", readme, re.DOTALL)


def test_the_version_is_that_of_the_metadata():
    """It stands once, in the package; a stale installation would be tested in vain."""
    assert metadata.version("skkan") == skkan.__version__


def test_the_changelog_begins_with_this_version():
    """A release without notes helps nobody."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)[1] == skkan.__version__


def test_all_modules_are_in_packages():
    """`packages = find:` passes over a folder without __init__.py without a word."""
    folders = {path.parent for path in (ROOT / "skkan").rglob("*.py")}
    assert folders >= {ROOT / "skkan", ROOT / "skkan" / "solvers"}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_installed_dependencies_satisfy_setup_cfg(setup_cfg):
    """The tests say nothing about versions that are not installed."""
    text = setup_cfg["options"]["install_requires"]
    text += setup_cfg["options.extras_require"]["plot"]
    for requirement in requirements(text):
        version = metadata.version(requirement.name)
        assert requirement.specifier.contains(version), requirement


def test_constraints_pin_every_dependency_within_its_bounds(setup_cfg):
    """Each command of the README must resolve, and to one version only."""
    extras = setup_cfg["options.extras_require"]
    text = setup_cfg["options"]["install_requires"] + "".join(extras.values())
    pins = constraints()
    assert set(pins) == {requirement.name for requirement in requirements(text)}
    for requirement in requirements(text):
        (pin,) = pins[requirement.name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), requirement


def test_the_readme_has_two_commands_and_ci_runs_the_second():
    """What is told to contributors is what is tested, to the letter."""
    use, develop = set_up_commands()
    assert use.endswith("/python examples/quickstart.py")
    assert " -m pytest" in develop
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert develop in ci.splitlines()


def test_commands_are_complete():
    """Each starts from nothing but Python and a clone."""
    for command in set_up_commands():
        steps = [step.split()[0] for step in command.split(" && ")]
        assert steps == ["python3", ".venv/bin/pip", ".venv/bin/python"]
        assert "-c constraints.txt" in command
