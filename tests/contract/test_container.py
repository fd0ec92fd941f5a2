"""The image's definition, read without an engine: its rules; and its build steps, run in a real Debian root (--all)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.clean_roots import clean_root, needs_all, needs_roots
from tests.contract.wheels import ROOT, real_wheel

FOLDER = ROOT / "deploy" / "container"
ORDERS = ("FROM", "RUN", "COPY", "ENV", "USER", "VOLUME", "WORKDIR", "LABEL", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD")
VOLUMES = {"/config", "/state", "/backup"}


def orders(text: str) -> list[tuple[str, str]]:
    """(order, what follows) of each line of a Containerfile; continued lines are one."""
    whole = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in whole.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def definition() -> list[tuple[str, str]]:
    return orders((FOLDER / "Containerfile").read_text())


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    composed = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    found: dict[str, Any] = composed["services"]["failsafe"]
    return found


def last(definition: list[tuple[str, str]], order: str) -> str:
    return [value for name, value in definition if name == order][-1]


def test_every_line_is_an_order_that_we_know(definition: list[tuple[str, str]]) -> None:
    assert [name for name, _value in definition if name not in ORDERS] == []


def test_each_stage_stands_on_a_pinned_base_or_on_an_earlier_stage(definition: list[tuple[str, str]]) -> None:
    stages: set[str] = set()
    for name, value in definition:
        if name == "FROM":
            base, _, stage = value.partition(" AS ")
            assert base in stages or re.fullmatch(r"[a-z./]+/[a-z]+:\d+\.\d+[a-z0-9.-]*(@sha256:[0-9a-f]{64})?", base), base
            stages.add(stage)
    assert len(stages) >= 3, "pip and its caches stay out of the image"


def test_it_runs_unprivileged_and_its_volumes_are_stated(definition: list[tuple[str, str]]) -> None:
    user = last(definition, "USER").split(":")
    script = (FOLDER / "build-root.sh").read_text()

    assert user[0].isdigit() and int(user[0]) > 0
    assert f"USER_ID={user[0]} " in script
    assert set(json.loads(last(definition, "VOLUME"))) == VOLUMES
    assert f"VOLUMES='{' '.join(json.loads(last(definition, 'VOLUME')))}'" in script


def test_every_step_is_one_of_the_script_that_a_test_runs(definition: list[tuple[str, str]]) -> None:
    steps = [value for name, value in definition if name == "RUN"]

    assert [step for step in steps if "build-root.sh" not in step] == []
    assert not any(word in step for step in steps for word in ("curl", "wget", "apt-get", "ADD"))


def test_no_secret_can_get_into_a_layer(definition: list[tuple[str, str]]) -> None:
    copied = [value for name, value in definition if name == "COPY"]

    assert not any(re.search(r"(password|secret|token)", value, re.IGNORECASE) for name, value in definition if name == "ENV")
    assert all(value.split()[0] in ("build-root.sh", "wheel/", "--from=program") for value in copied)


def test_the_healthcheck_asks_failsafe_itself_and_stops_by_itself(definition: list[tuple[str, str]]) -> None:
    health = last(definition, "HEALTHCHECK")

    assert "--timeout=" in health
    assert json.loads(health.partition("CMD ")[2])[2].startswith("failsafe status")


def test_the_entry_is_the_program_itself_so_that_signals_reach_it(definition: list[tuple[str, str]]) -> None:
    assert (last(definition, "ENTRYPOINT"), last(definition, "CMD")) == ('["failsafe"]', '["run"]')


def test_composed_it_has_no_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    assert not service["image"].endswith(":latest") and ":" in service["image"]
    assert service["user"] == "8025:8025"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert not any("docker.sock" in volume for volume in service["volumes"])


def test_composed_every_volume_of_the_image_has_a_place_and_secrets_come_by_their_folder(service: dict[str, Any]) -> None:
    places = dict(reversed(volume.split(":")[:2]) for volume in service["volumes"])

    assert set(places) >= VOLUMES
    assert "./secrets:/run/secrets:ro" in service["volumes"]  # by its files, a replaced secret would stay the old one


@needs_all
@needs_roots
def test_its_steps_make_an_image_that_runs_in_a_clean_debian(tmp_path: Path) -> None:
    (suite,) = re.findall(r"debian:(\d+)", (FOLDER / "Containerfile").read_text())
    wheel = real_wheel()
    with clean_root({"12": "bookworm", "13": "trixie"}[suite]) as root:
        root.put(FOLDER / "build-root.sh", "/usr/local/sbin/build-root.sh")
        root.put(wheel, f"/tmp/wheel/{wheel.name}")
        for step in ("packages", f"program /tmp/wheel/{wheel.name}", "check"):
            outcome = root.run(f"sh /usr/local/sbin/build-root.sh {step}")
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr

        health = root.run("FAILSAFE_CONFIG=/config/failsafe.toml failsafe status", user="failsafe")
        assert health.returncode == 2, "there is no configuration yet, and that is said"
        assert root.run("failsafe config schema", user="failsafe").stdout.startswith("{")


CONFIG = """
[controller]
id = "nas"
state_dir = "{volume}/state"
[repository.nas]
url = "{layer}/repository"
password_file = "{volume}/password"
[mail_server.vps]
layout = "maildir"
path = "{volume}/mail"
"""


def in_a_container(volume: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """failsafe where `volume` is a mount and everything beside it lies in the root's own file system."""
    script = f'mount --bind {volume} {volume} && mount -t tmpfs tmpfs /mnt && exec "$@"'
    program = [sys.executable, "-m", "failsafe", "--config", str(volume / "failsafe.toml"), *words]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *program],
        env={**os.environ, "FAILSAFE_CONTAINER": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    (folder / "mail").mkdir(parents=True)
    (folder / "failsafe.toml").write_text(CONFIG.format(volume=folder, layer=tmp_path / "layer"))
    (folder / "password").write_text("secret")
    (folder / "password").chmod(0o600)
    return folder


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root: mounts a volume in a namespace of its own")


@needs_root
@pytest.mark.parametrize(("place", "lies"), [("layer/mail", "in the container's own layer"), ("/mnt/mail", "in memory")])
def test_in_a_container_a_restore_into_what_would_vanish_with_it_is_refused(volume: Path, place: str, lies: str) -> None:
    target = volume.parent / place

    outcome = in_a_container(volume, "restore", "--mailbox", "anna@example.org", "--to", f"maildir:{target}")

    assert outcome.returncode == 2, outcome.stderr
    assert lies in outcome.stderr
    assert "mounted" in outcome.stderr
    assert not target.exists()


@needs_root
def test_in_a_container_a_restore_into_a_volume_is_not_refused(volume: Path) -> None:
    outcome = in_a_container(volume, "restore", "--mailbox", "anna@example.org", "--to", f"maildir:{volume}/restored")

    assert "gone with" not in outcome.stderr
    assert outcome.returncode == 1, "no such mailbox is known here"


@needs_root
def test_in_a_container_a_repository_in_its_own_layer_is_a_fault_of_the_configuration(volume: Path) -> None:
    outcome = in_a_container(volume, "config", "check")

    assert outcome.returncode == 2
    assert "repository.nas.url" in outcome.stderr
    assert "controller.state_dir" not in outcome.stderr
