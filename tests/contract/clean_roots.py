"""Clean Debian roots: debootstrap's smallest, kept as a tarball, unpacked for each test and entered with its own processes and mounts.

Nothing of this machine is inside but its name servers and, where it has one of its own, its list of certificate authorities.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "failsafe-tests" / "roots"
MIRROR = "http://deb.debian.org/debian"
AUTHORITIES = "/etc/ssl/certs/of-this-machine.crt"
PATIENCE = 900.0  # seconds for one command: apt and pip over a slow line

needs_all = pytest.mark.skipif(
    not os.environ.get("FAILSAFE_ALL"), reason="takes minutes and a mirror of Debian's: ./dev test --all"
)
needs_roots = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("debootstrap", path="/usr/sbin:/usr/bin") is None, reason="needs root and debootstrap"
)


@dataclass(frozen=True)
class Root:
    folder: Path
    suite: str
    network_of: int = 0  # the process whose network it has; 0: this machine's

    def put(self, file: Path, place: str) -> None:
        target = self.folder / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)

    def run(self, line: str, *, user: str = "root", timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """A line of sh, as a person would type it."""
        become = "" if user == "root" else f"setpriv --reuid={user} --regid={user} --init-groups "
        enter = (
            f"mount --rbind /dev {self.folder}/dev && mount -t proc proc {self.folder}/proc && "
            f'exec chroot {self.folder} /usr/bin/env -i "$@"'
        )
        environment = {
            "HOME": "/root" if user == "root" else "/nonexistent",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/root/.local/bin",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
        }
        if not self.network_of and (self.folder / AUTHORITIES.lstrip("/")).exists():
            environment |= {"PIP_CERT": AUTHORITIES, "SSL_CERT_FILE": AUTHORITIES}
        words = ["nsenter", "-t", str(self.network_of), "--net"] if self.network_of else []
        words += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", enter, "sh"]
        words += [f"{name}={value}" for name, value in environment.items()]
        return subprocess.run(
            [*words, "sh", "-c", f"cd / && {become}sh -c {_quoted(line)}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@contextmanager
def clean_root(suite: str) -> Iterator[Root]:
    """A root of `suite` for the block; its disk is a folder of its own."""
    tarball = _tarball(suite)
    with tempfile.TemporaryDirectory(prefix=f"failsafe-{suite}-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["tar", "-xf", tarball, "-C", folder], check=True, timeout=300)
        root = Root(Path(folder), suite)
        (root.folder / "etc" / "resolv.conf").unlink(missing_ok=True)
        root.put(Path("/etc/resolv.conf"), "/etc/resolv.conf")
        own = os.environ.get("SSL_CERT_FILE")
        if own and Path(own).is_file():
            root.put(Path(own), AUTHORITIES)
        yield root


def _tarball(suite: str) -> Path:
    file = CACHE / f"{suite}.tar"
    if file.exists():
        return file
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"failsafe-debootstrap-{suite}-", dir="/var/tmp") as folder:
        made = ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, folder, MIRROR]
        subprocess.run(made, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "-cf", f"{file}.new", "--one-file-system", "-C", folder, "."], check=True, timeout=300)
    Path(f"{file}.new").replace(file)
    return file
