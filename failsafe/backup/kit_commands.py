"""The commands that a recovery kit prints: blocks for a POSIX shell, filled in, for restic and Python alone. Pure.

Each block may be pasted whole into a new terminal. Passwords are written by the shell itself (printf, here-documents), so that none is ever
an argument of a program, which others on the machine could read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from failsafe.backup.kit import Kit, KitRepository, KitServer

FOLDER = "failsafe-restore"  # in the home folder
ENDING = "END-OF-FILE"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands. `name`: stable, for programs ("open", "restore vps", "put-back"); `title` is for people."""

    name: str
    title: str
    commands: str
    result: str = ""  # the folder that it makes


def open_block(repository: KitRepository) -> Block:
    """Makes a folder that nobody else can read, with all that opens the repository, and lists its snapshots."""
    here = _here(repository)
    lines = ["umask 077", f"mkdir -p {here} && cd {here}", f"printf '%s\\n' {quote(repository.password)} > password"]
    for file in (*(repository.ssh.files if repository.ssh else ()), *repository.attached):
        lines += _write(file.path, file.content)
    if repository.ssh is not None:
        lines += _write("ssh_config", repository.ssh.config.encode())
    lines += _write("environment", "".join(f"{line}\n" for line in _environment(repository)).encode())
    lines += [". ./environment", f"{_restic(repository)} snapshots --no-lock --compact"]
    return Block("open", f"Open the repository {repository.name}", "\n".join(lines) + "\n")


def restore_block(repository: KitRepository, server: KitServer) -> Block:
    """Fetches the newest snapshot of a server, and makes Maildirs of it, every message compared with its digest."""
    mail = f"mail-of-{server.name}"
    lines = [
        f"cd {_here(repository)} && . ./environment",
        f"{_restic(repository)} restore latest --no-lock --host {quote(server.host)} --target {quote(server.name)}",
        f"cd {quote(server.name)} && python3 rebuild.py {quote(f'../{mail}')}",
    ]
    return Block(f"restore {server.name}", f"Get the mail of {server.name}", "\n".join(lines) + "\n", mail)


def put_back_block(repository: KitRepository) -> Block | None:
    """Puts keys/ and config back where the repository has lost them; overwrites nothing. None where the kit does not hold them."""
    if not repository.files:
        return None
    lines = [f"cd {_here(repository)} && . ./environment", "mkdir -p lost/keys"]
    for file in repository.files:
        lines += _write(f"lost/{file.path}", file.content)
    lines += _put(repository)
    lines.append(f"{_restic(repository)} snapshots --no-lock --compact")
    return Block("put-back", f"Put keys/ and config back into {repository.name}", "\n".join(lines) + "\n")


def blocks_of(kit: Kit, repository: KitRepository) -> tuple[Block, ...]:
    """All of one repository, in the order in which they are needed."""
    put_back = put_back_block(repository)
    restores = (restore_block(repository, server) for server in kit.servers)
    return (open_block(repository), *restores, *(() if put_back is None else (put_back,)))


def sftp_path(url: str) -> str:
    """Where an sftp: URL leads on its server; relative to the login's folder where it does not begin with "/"."""
    if url.lower().startswith("sftp://"):
        return url[7:].partition("/")[2]
    return re.sub(r"^(?:[^@/:]+@)?(?:\[[^\]]*\]|[^:/\[\]]*):", "", url[5:], count=1)


def _here(repository: KitRepository) -> str:
    return f'"$HOME/{FOLDER}/{repository.name}"'  # a name of the configuration: letters, digits, "-" and "_"


def _environment(repository: KitRepository) -> Iterable[str]:
    """The file `environment`, read by each block."""
    here = f"$HOME/{FOLDER}/{repository.name}"
    yield "umask 077"
    yield "unset RESTIC_PASSWORD RESTIC_PASSWORD_COMMAND RESTIC_REPOSITORY_FILE"
    yield f"export RESTIC_REPOSITORY={quote(repository.address)}"
    yield f'export RESTIC_PASSWORD_FILE="{here}/password"'
    attached = {file.path for file in repository.attached}
    for name, value in repository.environment.items():
        yield f'export {name}="{here}/{name}"' if name in attached else f"export {name}={quote(value)}"


def _restic(repository: KitRepository) -> str:
    return "restic" if repository.ssh is None else "restic -o sftp.command='ssh -F ssh_config repository -s sftp'"


def _put(repository: KitRepository) -> list[str]:
    """From the folder `lost` to where the repository lies."""
    if repository.kind == "local":
        return [  # where the disk is attached now, which the file `environment` says
            'test -d "$RESTIC_REPOSITORY/keys" || mkdir "$RESTIC_REPOSITORY/keys"',
            'test -e "$RESTIC_REPOSITORY/config" || cp lost/config "$RESTIC_REPOSITORY/config"',
            "for key in lost/keys/*; do",
            '  cmp -s "$key" "$RESTIC_REPOSITORY/${key#lost/}" || cp -f "$key" "$RESTIC_REPOSITORY/keys/"',
            "done",
        ]
    if repository.ssh is not None:
        return _put_by_sftp(repository)
    if repository.kind in ("s3", "rest"):
        return [*_write("put_back.py", put_back_program()), "python3 put_back.py lost"]
    names = ", ".join(file.path for file in repository.files[:3])
    return [f"echo {quote(f'Now copy {names} from the folder lost to {repository.url}, with the tools of that place.')}"]


def _put_by_sftp(repository: KitRepository) -> list[str]:
    place = sftp_path(repository.url).rstrip("/") or "."
    puts = [f"-mkdir {_by_sftp(f'{place}/keys')}"]
    puts += [
        f"put {_by_sftp(f'lost/{file.path}')} {_by_sftp(f'{place}/{file.path}')}"
        for file in repository.files
        if file.path != "config"
    ]
    config, sftp = _by_sftp(f"{place}/config"), "sftp -F ssh_config -b - repository"
    return [
        f"{sftp} <<'{ENDING}'",
        *puts,
        ENDING,
        f"echo {quote(f'ls {config}')} | {sftp} ||",
        f"  echo {quote(f'put lost/config {config}')} | {sftp}",
    ]


def _by_sftp(path: str) -> str:
    """A path in sftp's own batch language."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def put_back_program() -> bytes:
    """Python for S3 and REST servers, with the standard library alone."""
    return Path(__file__).with_name("kit_put_back.py").read_bytes()


def _write(name: str, content: bytes) -> list[str]:
    """Lines that write a file: its text where it is text, else base64."""
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    plain = text.endswith("\n") and re.fullmatch(r"[\t\n -~]*", text) is not None and ENDING not in text.split("\n")
    if plain:
        return [f"cat > {name} <<'{ENDING}'", *text[:-1].split("\n"), ENDING]
    return [f"python3 -m base64 -d > {name} <<'{ENDING}'", *_encoded(content), ENDING]


def _encoded(content: bytes) -> list[str]:
    from base64 import b64encode

    text = b64encode(content).decode("ascii")
    return [text[start : start + 76] for start in range(0, len(text), 76)]
