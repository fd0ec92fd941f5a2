"""From what a server shows to what is read there."""

from __future__ import annotations

from failsafe.backup.layouts import Container, Mount, Sight, Wanted, judge_source, plan_look
from failsafe.backup.source import parse_sight, within


def container(name: str, mounts: dict[str, str], **more: str) -> Container:
    shown = tuple(Mount("bind", "", source, place) for place, source in mounts.items())
    return Container(name, "running", mounts=shown, **more)  # type: ignore[arg-type]


def test_maildir_needs_no_look() -> None:
    wanted = Wanted("maildir", "/var/vmail", extra_paths=("/etc/postfix",))
    assert plan_look(wanted) is None
    source = judge_source(wanted, Sight())
    assert (source.reach.root, [tree.path for tree in source.reach.trees]) == ("/var/vmail", ["/etc/postfix"])


def test_docker_mailserver_looks_two_folders_up_but_never_in_the_root() -> None:
    look = plan_look(Wanted("docker-mailserver", "/srv/dms"))
    assert look is not None
    assert {"/srv/dms/compose*.y*ml", "/srv/*.env"} <= set(look.paths)
    assert not any(path.startswith(("/compose", "/*.env", "/.env", "/certs")) for path in look.paths)


def test_an_extra_path_that_the_layout_takes_anyway_is_read_once() -> None:
    source = judge_source(Wanted("docker-mailserver", "/srv/dms", extra_paths=("/srv/dms/config", "/etc/x")), Sight())
    paths = [tree.path for tree in source.reach.trees]
    assert (paths.count("/srv/dms/config"), paths.count("/etc/x")) == (1, 1)


def test_mail_that_comes_another_way_is_not_looked_for_but_the_files_are() -> None:
    source = judge_source(Wanted("docker-mailserver", container="mailserver", reads_mail=False), Sight(trouble="no engine"))
    assert (source.fault, source.reach.root) == ("", "")
    assert "no engine" in source.missing[0].why


def test_of_two_mailcows_the_one_in_the_named_folder_is_read() -> None:
    sight = Sight(tuple(
        container(f"{project}-dovecot", {"/var/vmail": f"/v/{project}", "/mail_crypt": f"/c/{project}"}, project=project,
                  service="dovecot-mailcow", folder=f"/opt/{project}")
        for project in ("one", "two")
    ))  # fmt: skip
    assert judge_source(Wanted("mailcow", "/opt/two"), sight).reach.root == "/v/two"
    both = judge_source(Wanted("mailcow"), sight)
    assert "more than one mailcow" in both.fault
    assert "path" in both.mend


def test_mailu_on_another_database_is_told_what_to_do() -> None:
    source = judge_source(Wanted("mailu", "/mailu"), Sight())
    (data,) = (tree for tree in source.reach.trees if tree.path == "/mailu/data")
    assert data.needs == ("main.db",)
    assert "commands" in data.lacks


def test_mailu_without_its_compose_file_is_incomplete() -> None:
    source = judge_source(Wanted("mailu", "/mailu"), Sight(paths={"/mailu/mailu.env": False}))
    assert [item.name for item in source.missing] == ["/mailu/docker-compose.yml"]


def test_what_docker_says_is_read_with_its_compose_files() -> None:
    (seen,) = parse_sight([{
        "container": "mailserver", "status": "running",
        "labels": {"project.working_dir": "/srv/mail", "project.config_files": "compose.yaml,/srv/other.yaml", "project.environment_file": ""},
        "mounts": [["volume", "mail", "/var/lib/docker/volumes/mail/_data", "/var/mail/"], ["tmpfs", "", "", "/tmp"]],
    }]).containers  # fmt: skip
    assert seen.files == ("/srv/mail/compose.yaml", "/srv/other.yaml")
    assert seen.mounts == (Mount("volume", "mail", "/var/lib/docker/volumes/mail/_data", "/var/mail"),)


def test_the_settings_of_a_program_installed_there_are_the_limit() -> None:
    source = judge_source(Wanted("maildir", "/var/vmail", extra_paths=("/etc/postfix", "/root"), commands={"x": "y"}), Sight())
    permitted = {
        "root": "/srv/mail",
        "naming": "domain/user",
        "files": [{"path": "/etc/postfix", "leave_out": ["*.db"]}],
        "commands": ["z"],
        "stock": {},
    }
    limited = within(source, permitted, reads_mail=True)
    assert [(tree.path, tree.leave_out) for tree in limited.reach.trees] == [("/etc/postfix", ("*.db",))]
    assert (limited.reach.root, list(limited.reach.commands)) == ("/srv/mail", ["z"])
    assert [item.name for item in limited.missing] == ["/root", "commands/x"]
