"""On what kind of file system a folder lies, told without a library."""

from __future__ import annotations

from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})


def file_system_of(folder: Path, *, ask: bool = True) -> str:
    """The kind of file system that holds `folder` ("ext4", "nfs4", …); "" where the system does not say.

    With `ask=False` the folder itself is not touched, and links in it are not followed: a dead network share would keep us for ever.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    place, best, kind = folder.resolve() if ask else folder, "", ""
    for line in mounts:
        fields = line.split(" ")
        mount = fields[1].replace("\\040", " ")
        if len(mount) >= len(best) and place.is_relative_to(mount):
            best, kind = mount, fields[2]
    return kind
