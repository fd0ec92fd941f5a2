"""Every module that opens a connection is known: those that speak with a person's mail servers are watched by the real fail2ban, the others say with whom they speak."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.contract.sessions import LOOKS_OF

ROOT = Path(__file__).parents[2] / "failsafe"
OPENERS = frozenset({"connect", "connect_over", "create_connection", "Connection", "Transport"})
LIBRARIES = (
    "http", "socket", "paramiko", "fabric", "imapclient", "imaplib", "smtplib",
    "failsafe.adapters.sockets", "failsafe.adapters.imap_line", "failsafe.adapters.way",
)  # fmt: skip
OTHERS = {
    "adapters/host_keys": "SSH without a login, in verbs that a person calls: init, accept, restore",
    "adapters/https_get": "what a domain publishes on the web, and registries",
    "adapters/imap_line": "the line of those that log in over IMAP",
    "adapters/own_line": "references of our own line",
    "adapters/relayside": "runs on another machine, for adapters/ssh_way",
    "adapters/rfc2136": "name servers",
    "adapters/sockets": "for the others",
    "adapters/way": "for the others",
    "adapters/web_answer": "monitors of others",
    "looks/surroundings": "other doors of a server, where port 25 is blocked on the way: tests/contract/test_surroundings.py",
    "server_target": "a file of SQLite",
}


def test_every_module_that_opens_a_connection_has_a_row_or_says_with_whom_it_speaks() -> None:
    """One that is missing: a row for it in tests/contract/sessions.py where it speaks with a mail server, else its reason above."""
    found = {str(file.relative_to(ROOT).with_suffix("")) for file in ROOT.rglob("*.py") if opens(file)}

    assert found == {*OTHERS, *(look.opens for look in LOOKS_OF.values())}


def opens(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    if not any(f"{opener}(" in text for opener in OPENERS):
        return False
    tree = ast.parse(text)
    imported = {name for node in ast.walk(tree) for name in imports(node)}
    if not any(name == library or name.startswith(f"{library}.") for name in imported for library in LIBRARIES):
        return False
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any((call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "")) in OPENERS for call in calls)


def imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
