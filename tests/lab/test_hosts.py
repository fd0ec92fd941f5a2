"""What the lab gives to whoever uses it: access, accounts, programs, and its own end."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.names import ALICE, CA_FILE, PASSWORDS, PROBE, PYTHON, REPOSITORY, TSIG_FILE
from tests.lab.world import World
from tests.support import wait_until

pytestmark = pytest.mark.lab

LAYOUT = "fs"

SUBMIT = f"""
import smtplib, ssl, sys
with smtplib.SMTP_SSL(sys.argv[1], 465, timeout=20, context=ssl.create_default_context(cafile={CA_FILE!r})) as smtp:
    if sys.argv[2]:
        smtp.login({ALICE!r}, sys.argv[2])
    smtp.sendmail({ALICE!r}, ['someone@sender.test'], 'Subject: out\\r\\n\\r\\nhello\\r\\n')
"""

RECIPIENT = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=20) as smtp:
    smtp.ehlo(); smtp.mail('probe@sender.test'); print(smtp.rcpt(sys.argv[2])[0])
"""


@pytest.mark.parametrize("host", ["primary", "secondary"])
def test_the_nas_logs_in_to_a_mail_host_whose_key_it_knows(lab: Lab, host: str) -> None:
    assert lab.nas.run("ssh", f"root@{lab.hosts[host].address}", "hostname").stdout == f"{host}\n"


def test_the_nas_refuses_a_mail_host_whose_key_it_does_not_know(lab: Lab) -> None:
    done = lab.nas.run(
        *("ssh", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"),
        *(f"root@{lab.primary.address}", "true"),
        check=False,
    )
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_the_tsig_secret_on_the_nas_is_for_its_owner_alone(lab: Lab) -> None:
    assert lab.nas.path(TSIG_FILE).stat().st_mode & 0o777 == 0o600


def test_this_projects_code_runs_on_the_nas(lab: Lab) -> None:
    script = "import failsafe; print(failsafe.__file__)"
    done = lab.nas.run(PYTHON, "-c", script, env={"PYTHONPATH": str(REPOSITORY)})
    assert done.stdout.strip() == str(REPOSITORY / "failsafe" / "__init__.py")


@pytest.mark.parametrize("host", ["primary", "secondary"])
def test_both_servers_know_the_probe_account_and_no_stranger(lab: Lab, host: str) -> None:
    address = lab.hosts[host].address
    assert lab.nas.run(PYTHON, "-c", RECIPIENT, address, PROBE).stdout == "250\n"
    assert lab.nas.run(PYTHON, "-c", RECIPIENT, address, "nobody@example.test").stdout == "550\n"


def test_a_user_submits_mail_with_a_password_and_it_leaves(lab: Lab) -> None:
    lab.nas.run(PYTHON, "-c", SUBMIT, lab.primary.address, PASSWORDS[ALICE])
    wait_until(lab.sender.deliveries, 60, "the message arrived elsewhere")


def test_nobody_submits_mail_without_a_password(lab: Lab) -> None:
    done = lab.nas.run(PYTHON, "-c", SUBMIT, lab.primary.address, "", check=False)
    assert "SMTPRecipientsRefused" in done.stderr


def test_folders_lie_on_disk_as_the_layout_says(lab: Lab) -> None:
    lab.primary.seed(ALICE, 10)
    maildir = lab.primary.disk("/var/vmail/example.test/alice")
    assert (maildir / "Archive" / "2026" / "cur").is_dir()
    assert (maildir / "Entw&APw-rfe" / "cur").is_dir()
    assert (maildir / "cur").is_dir()


def test_the_machines_own_files_stay_as_they_are(lab: Lab) -> None:
    lab.nas.write("/etc/failsafe-lab-was-here", "x")
    assert lab.nas.sh("cat /etc/failsafe-lab-was-here").stdout == "x"
    assert not Path("/etc/failsafe-lab-was-here").exists()


def test_a_link_in_a_host_leads_to_the_hosts_own_file(lab: Lab) -> None:
    lab.nas.sh("ln -sfn /run /root/absolute; ln -sfn ../root/absolute /root/relative")
    lab.nas.write("/root/relative/there", "x")
    assert lab.nas.sh("cat /run/there").stdout == "x"


def test_a_signal_to_a_job_reaches_the_program_and_shows_in_its_status(lab: Lab) -> None:
    job = lab.nas.popen("bash", "-c", "trap 'echo stopping; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    wait_until(lambda: job.stdout() == "ready\n", 30, "the job is ready")
    job.send_signal(signal.SIGTERM)
    assert job.wait(30) == 7
    assert job.stdout() == "ready\nstopping\n"
    job.close()


def test_a_job_that_is_killed_says_so(lab: Lab) -> None:
    job = lab.nas.popen("sleep", "600")
    job.send_signal(signal.SIGKILL)
    assert job.wait(30) == -signal.SIGKILL
    job.close()


def test_a_command_that_outlasts_its_deadline_is_ended_inside_the_host_too(lab: Lab) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        lab.nas.run("sleep", "4321", timeout=0.5)
    wait_until(lambda: lab.nas.run("pgrep", "-f", "^sleep 4321", check=False).returncode == 1, 30, "it is gone")


def test_two_labs_live_side_by_side(lab: Lab) -> None:
    one = World({"nas": ["10.77.0.14"]})
    one.up()
    try:
        one.run("ip", "netns", "exec", "nas", "ip", "addr", "show", "dev", "eth0")
        assert one.pid != lab.world.pid
    finally:
        one.down()
    assert lab.nas.connect(lab.primary.address, 25) == "open"


def test_a_world_ends_with_the_process_that_made_it(lab: Lab) -> None:
    script = (
        "import sys; from tests.lab.world import World; w = World({'nas': ['10.77.0.14']}); w.up();"
        "print(w.pid, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen([PYTHON, "-c", script], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    world = int(owner.stdout.readline())
    assert Path(f"/proc/{world}").exists()
    owner.kill()
    owner.wait(30)
    wait_until(lambda: not Path(f"/proc/{world}").exists(), 30, "the world is gone")
    owner.stdout.close()


def test_where_namespaces_are_forbidden_the_reason_is_given() -> None:
    done = subprocess.run(
        [
            *("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"),
            *(PYTHON, "-c", "from tests.lab import availability; print(availability())"),
        ],
        cwd=REPOSITORY,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("namespaces are not allowed here: ")
    assert "Operation not permitted" in done.stdout
