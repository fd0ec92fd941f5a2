"""Where a host's files are, and what it needs of this machine's."""

from pathlib import Path

from tests.lab.names import PYTHON, REPOSITORY


def folders_to_bind() -> list[str]:
    """What a host needs of this machine that its root, a layer over the machine's root mount alone, lacks."""
    mounts = {Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    mounts.discard(Path("/"))
    wanted = {REPOSITORY, PYTHON.parent.parent, PYTHON.resolve().parent.parent}
    return sorted(str(path) for path in wanted if mounts & {path, *path.parents})


def below(root: Path, path: str) -> Path:
    """`path` with its links resolved as if `root` were the root of the file system."""
    todo = [part for part in path.split("/") if part]
    here: list[str] = []
    for _ in range(200):  # more steps than any sane path has; a loop of links ends here
        if not todo:
            return root.joinpath(*here)
        part = todo.pop(0)
        if part == "..":
            here = here[:-1]
            continue
        step = root.joinpath(*here, part)
        if step.is_symlink():
            target = str(step.readlink())
            here = [] if target.startswith("/") else here
            todo = [p for p in target.split("/") if p and p != "."] + todo
        elif part != ".":
            here.append(part)
    raise OSError(f"too many links in {path}")
