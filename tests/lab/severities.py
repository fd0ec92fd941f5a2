"""With which severities the doctor can say each of its codes, read from its source, so that none is forgotten where faults are planted."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import failsafe
from failsafe.doctor_codes import CODES

BAD = {"FAIL": "fail", "WARN": "warn"}
Names = Callable[[ast.expr], set[str]]


def sayable() -> set[tuple[str, str]]:
    """(code, severity) of every `Finding` that some line makes, and that is bad. What `status` finds is its own."""
    root = Path(failsafe.__file__).parent
    sources = [file.read_text() for file in sorted(root.rglob("*.py")) if root / "status" not in file.parents]
    return {pair for text in sources if "Finding(" in text for pair in _Module(ast.parse(text)).pairs() if pair[0] in CODES}


class _Module:
    """Arguments of `Finding` are constants, names of constants, parameters of the function around it, or variables in it."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self._constants: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign):
                self._constants |= {
                    name.id: value.value
                    for name, value in _assigned(node)
                    if isinstance(value, ast.Constant) and name.id not in BAD
                }

    def pairs(self) -> Iterator[tuple[str, str]]:
        for function in self._functions:
            for call in _calls(function, "Finding"):
                for code in self._values(function, call.args[0], self._code):
                    for severity in self._values(function, call.args[1], _severity):
                        yield code, severity

    def _code(self, node: ast.expr) -> set[str]:
        if isinstance(node, ast.Constant):
            return {str(node.value)}
        known = self._constants.get(node.id) if isinstance(node, ast.Name) else None
        return set() if known is None else {str(known)}

    def _values(self, function: ast.FunctionDef, node: ast.expr, read: Names) -> set[str]:
        """All that an expression can be."""
        if isinstance(node, ast.IfExp):
            return self._values(function, node.body, read) | self._values(function, node.orelse, read)
        if isinstance(node, ast.Tuple | ast.List):
            return {value for each in node.elts for value in self._values(function, each, read)}
        if (found := read(node)) or not isinstance(node, ast.Name):
            return found
        given = [(function, each) for each in _given(function, node.id)]
        given += [
            (caller, each) for caller in self._functions if caller is not function for each in _passed(caller, function, node.id)
        ]
        return {value for place, each in given for value in self._values(place, each, read)}


def _severity(node: ast.expr) -> set[str]:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return {BAD[name]} if name in BAD else set()


def _assigned(node: ast.Assign) -> Iterator[tuple[ast.Name, ast.expr]]:
    """(name, value), each of several at once by itself."""
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield target, node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
            yield from ((name, value) for name, value in pairs if isinstance(name, ast.Name))


def _given(function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    """What a variable of the function is assigned, or goes through in a loop."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            yield from (value for target, value in _assigned(node) if target.id == name)
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name) and node.target.id == name:
            yield node.iter


def _passed(caller: ast.FunctionDef, function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    """What is passed for a parameter of the function."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    for call in _calls(caller, function.name) if name in names else ():
        if names.index(name) < len(call.args):
            yield call.args[names.index(name)]
        yield from (keyword.value for keyword in call.keywords if keyword.arg == name)


def _calls(function: ast.FunctionDef, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node
