"""What a session with a mail server may see and run, as it is told to the program there (serverside)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Tree:
    """A file or folder that comes along besides messages."""

    path: str
    leave_out: tuple[str, ...] = ()  # patterns of paths below it, as of fnmatch
    optional: bool = False  # it need not be there
    needs: tuple[str, ...] = ()  # names that must be among its files
    lacks: str = ""  # what it means when one is not, and how to mend it
    every: int = 0  # seconds: a file that changes all the time is read again no sooner than this


@dataclass(frozen=True, slots=True)
class Stock:
    """A command that the program there knows by name, run in a container; its output becomes commands/NAME."""

    name: str
    container: str
    every: int = 0  # seconds, as of Tree


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at before it is known what to read."""

    containers: tuple[str, ...] = ()  # by name
    services: tuple[str, ...] = ()  # by their name in a compose file
    siblings: bool = False  # also the other containers of the same compose project
    paths: tuple[str, ...] = ()  # patterns of whole paths


@dataclass(frozen=True, slots=True)
class Reach:
    """Sent along while the program is not installed there; the server's own file says it otherwise."""

    root: str  # holds DOMAIN/USER/; "" where that is not known yet, or no files of mail are read
    trees: tuple[Tree, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)  # name -> command line
    command_seconds: int = 3600  # a command is ended after this long
    naming: str = "domain/user"  # or "user@domain"
    skip: tuple[str, ...] = ()  # folders of the root that are no domains
    stock: tuple[Stock, ...] = ()
    look: Look = Look()
    postfix: str = ""  # the container that Postfix runs in; "" where it runs on the machine itself

    def settings(self) -> dict[str, Any]:
        """As serverside reads them."""
        return {
            "root": self.root,
            "naming": self.naming,
            "skip": list(self.skip),
            "files": [{"path": tree.path, "leave_out": list(tree.leave_out)} for tree in self.trees],
            "commands": dict(self.commands),
            "command_seconds": self.command_seconds,
            "stock": {stock.name: stock.container for stock in self.stock},
            "postfix": self.postfix,
            "look": {
                "containers": list(self.look.containers),
                "services": list(self.look.services),
                "siblings": self.look.siblings,
                "paths": list(self.look.paths),
            },
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """What no extra path takes along: a link, and where it points; or ("") a socket or the like."""

    path: str
    link: str


def trees_of(paths: Iterable[str]) -> tuple[Tree, ...]:
    """The configuration's extra_paths."""
    return tuple(Tree(path) for path in paths)
