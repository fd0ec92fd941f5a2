"""The programs that run on a mail server: one text there, parts here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from failsafe.backup import serverside, serverwrite

PROGRAMS = pytest.mark.parametrize("package", [serverside, serverwrite], ids=["reads", "restores"])
OLDEST = (3, 6)  # the Python that it has to run with


def parts_of(package: ModuleType) -> Iterator[tuple[str, ast.Module]]:
    assert package.__file__ is not None
    for part in package.PARTS:
        yield part, ast.parse(Path(package.__file__).with_name(f"{part}.py").read_text())


def own_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name))


@PROGRAMS
def test_the_whole_is_one_program_for_an_old_python_that_needs_nothing_of_ours(package: ModuleType) -> None:
    tree = ast.parse(package.program(), feature_version=OLDEST)
    compile(package.program(), "the program", "exec")
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names]

    assert {str(name).split(".")[0] for name in modules} <= set(sys.stdlib_module_names)


@PROGRAMS
def test_no_name_of_it_is_missing(package: ModuleType) -> None:
    ruff = Path(sys.executable).parent / "ruff"
    outcome = subprocess.run(
        [ruff, "check", "--isolated", "--select", "F821,F823", "-"], input=package.program(), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip

    assert outcome.returncode == 0, outcome.stdout


@PROGRAMS
def test_each_name_has_one_part_and_each_part_takes_only_from_earlier_ones(package: ModuleType) -> None:
    homes: dict[str, str] = {}
    for part, tree in parts_of(package):
        names = Counter(own_names(tree))
        assert {name: homes[name] for name in names if name in homes} == {}, part
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("failsafe"):
                assert str(node.module).rpartition(".")[0] == package.__name__, "nothing else of failsafe is there"
                for each in node.names:
                    assert (each.asname, homes.get(each.name)) == (None, str(node.module).rpartition(".")[2]), each.name
        homes |= dict.fromkeys(names, part)


@PROGRAMS
def test_every_part_is_in_it(package: ModuleType) -> None:
    assert package.__file__ is not None
    files = {file.stem for file in Path(package.__file__).parent.glob("*.py")} - {"__init__", "__main__"}

    assert files == set(package.PARTS)


def test_what_is_installed_is_what_is_sent() -> None:
    printed = subprocess.run([sys.executable, "-m", "failsafe.backup.serverside"], capture_output=True, text=True, timeout=60, check=True).stdout  # fmt: skip

    assert printed == serverside.program()
