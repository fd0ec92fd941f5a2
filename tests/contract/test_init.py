"""`failsafe init` as a person meets it: a real terminal, a real sshd, a real name server; and the same with flags alone."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from failsafe.adapters.server_look import look_at_server
from failsafe.adapters.ssh import SshHost
from failsafe.setting_up.places import find_places
from failsafe.setting_up.sight import Size
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.mailstore import Store
from tests.contract.processes import command, run, surroundings
from tests.contract.sshd import Sshd, make_key
from tests.contract.stacks import Engine, WithPath
from tests.contract.typist import Typist

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(bool(missing("knot")), reason=missing("knot"))]


@dataclass
class Server:
    """A mail server with two mailboxes behind an sshd, and the name server of its domain."""

    sshd: Sshd
    dns: NameServer
    mail: Path

    @property
    def fingerprint(self) -> str:
        """As its own console shows it."""
        said = subprocess.run(["ssh-keygen", "-lf", f"{self.sshd.host_key}.pub"], capture_output=True, text=True, check=True)
        return said.stdout.split()[1]

    def flags(self, folder: Path, **changed: str) -> list[str]:
        said = {
            "domain": "example.org", "ssh": self.sshd.address, "host-key": self.fingerprint, "look-as": self.sshd.address,
            "look-key": str(self.sshd.key), "layout": "maildir", "path": str(self.mail), "imap": "none", "primary": "mail.example.org",
            "secondary": "fastmail", "strategy": "on-demand", "dns": "none", "state-dir": f"{folder}/state",
            "repository": f"{folder}/repository", "offsite": "none", "probe": "none", "resolver": self.dns.address,
        } | {key.replace("_", "-"): value for key, value in changed.items()}  # fmt: skip
        return [word for key, value in said.items() if value for word in (f"--{key}", value)]


@pytest.fixture(scope="module")
def server(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    store = Store(folder)
    for user in ("ann", "bob"):
        store.put(f"{user}@example.org", "", "1.host:2,S")
    store.calm()
    with name_server("knot", folder / "knot") as dns:
        yield Server(sshd, dns, store.root)


def sit_down(server: Server, home: Path, tmp_path: Path) -> Typist:
    words = ["init", "--resolver", server.dns.address, "--look-key", str(server.sshd.key)]
    return Typist(command(home / "failsafe.toml", *words), tmp_path, surroundings())


def test_a_person_who_answers_ends_with_a_configuration_that_backs_up(server: Server, tmp_path: Path) -> None:
    home, address, key_file = tmp_path / "etc", server.sshd.address, str(server.dns.key_file)
    came = {}
    with sit_down(server, home, tmp_path) as person:
        for question, answer in (
            ("such as example.org: ", "?"), ("What stands after the @", None), ("such as example.org: ", "example.org"),
            ("example.org MX: 10 mail.example.org", None), ("MX records [mail.example.org]: ", ""),
            ("[failsafe@mail.example.org]: ", address), (f"ssh-ed25519 {server.fingerprint}", None), ("the fingerprint itself): ", "y"),
            (f"(USER@HOST, none) [root@127.0.0.1:{server.sshd.port}]: ", address), ("Which kind of mail server is it?", "maildir"),
            ("DOMAIN/USER/ Maildirs", str(server.mail)), ("[mail.example.org:993]: ", ""), ("The secondary [none]: ", "fastmail"),
            ("Strategy [on-demand]: ", ""), ("How are the records changed? [none]: ", "rfc2136"),
            ("(HOST:PORT) [ns1.example.org:53]: ", server.dns.address), ("TSIG key [failsafe.]: ", ""),
            (f"[{home}/rfc2136.key]: ", key_file), ("The state folder [", f"{tmp_path}/state"),
            ("(a folder, or a restic URL) [", f"{tmp_path}/repository"), ("(none: later) [none]: ", ""),
            ("[failsafe-probe@example.org]: ", ""),
        ):  # fmt: skip
            came[question] = person.expect(question)
            if answer is not None:
                person.type(answer)
        plan = person.expect("Write this? [y/N] ")
        assert not home.exists()
        person.type("y")
        assert person.end(120) == 0, person.shown
    said = person.stdout()
    assert "Fastmail takes mail for a domain whose MX records point elsewhere" in came["Strategy [on-demand]: "]
    assert "of mail: about" in came["The state folder ["]
    assert f"{key_file} (there already)" in plan
    assert "The doctor finds" in said
    assert "sed -i.old" in said.rstrip().splitlines()[-1]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {
        "failsafe.toml": 0o600, "id_ed25519": 0o600, "id_ed25519.pub": 0o644, "known_hosts": 0o644, "probe.password": 0o600,
        "repository.password": 0o600,
    }  # fmt: skip
    assert not [file for file in home.glob("*.password") if file.read_text().strip() in person.shown + said]
    run(home / "failsafe.toml", "config", "check")
    with (server.sshd.folder / "authorized_keys").open("a") as keys:
        keys.write((home / "id_ed25519.pub").read_text())
    out, _ = run(home / "failsafe.toml", "backup", "--json")
    line = json.loads(out)
    assert (line["result"], line["messages"]["total"]) == ("ok", 2)


def test_yes_never_takes_a_host_key_and_another_one_is_refused(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "etc" / "failsafe.toml"
    _, err = run(config, "init", *server.flags(tmp_path, host_key=""), "--yes", cwd=tmp_path, status=2)
    assert "--host-key" in err
    assert server.fingerprint in err
    _, err = run(config, "init", *server.flags(tmp_path, host_key="SHA256:" + "A" * 43), cwd=tmp_path, status=3)
    assert server.fingerprint in err
    assert not config.parent.exists()


def test_leaving_at_any_question_is_exit_5_and_writes_nothing(server: Server, tmp_path: Path) -> None:
    home = tmp_path / "etc"
    flags = server.flags(tmp_path)
    pairs = list(zip(flags[::2], flags[1::2], strict=True))
    asked = {"--domain": "org: ", "--host-key": "itself): ", "--repository": "URL) [", "--probe": "example.org]: "}
    ways = (Typist.interrupt, Typist.end_of_input, lambda person: person.type("q"))
    for number, (left_out, prompt) in enumerate(asked.items()):
        words = [word for flag, value in pairs if flag != left_out for word in (flag, value)]
        with Typist(command(home / "failsafe.toml", "init", *words), tmp_path, surroundings()) as person:
            person.expect("At each question")
            person.expect(prompt)
            if left_out == "--probe":
                person.type("none")
                person.expect("Write this? [y/N] ")
            ways[number % 3](person)
            assert person.end() == 5, (left_out, person.shown)
        assert not home.exists(), left_out


def test_a_container_is_found_over_ssh_with_its_folder_and_size(server: Server, tmp_path: Path) -> None:
    """The one command, through a real sshd, with a stand-in for the container engine."""
    engine = Engine(tmp_path / "engine")
    engine.add("mailserver", {"/var/mail": tmp_path / "dms/mail-data", "/tmp/docker-mailserver": tmp_path / "dms/config",
                              "/var/mail-state": tmp_path / "dms/mail-state"})  # fmt: skip
    for name in ("config", "mail-state"):
        (tmp_path / "dms" / name).mkdir(parents=True)
    store = tmp_path / "dms" / "mail-data" / "example.org" / "ann" / "cur"
    store.mkdir(parents=True)
    (store / "1.host:2,S").write_bytes(b"x" * 5000)
    before = sorted(path for path in (tmp_path / "dms").rglob("*"))
    sight = look_at_server(WithPath(engine.install(), server.sshd.host()))
    (place,) = [each for each in find_places(sight) if each.layout == "docker-mailserver"]
    assert (place.path, place.container) == (str(tmp_path / "dms"), "")
    assert sight.size_of(place.mail) == Size(5000, 1)
    assert sight.trouble == ""
    assert sorted(path for path in (tmp_path / "dms").rglob("*")) == before
    assert "exec" not in engine.calls()


def test_a_server_that_lets_nobody_in_or_has_no_python_is_said_so(server: Server, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    sight = look_at_server(SshHost("root@mail", server.sshd.address, stranger, server.sshd.known_hosts))
    assert "does not accept the login" in sight.trouble
    empty = tmp_path / "empty"
    empty.mkdir()
    sight = look_at_server(WithPath(empty, server.sshd.host(), alone=True))
    assert "install Python 3 there" in sight.mend
