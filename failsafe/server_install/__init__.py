"""What is put on a mail server so that failsafe's key can do nothing there but read: program, list, rule, line. Pure; docs/server-side.md tells it."""

from failsafe.server_install.judge import Shown, Verdict, judge_shown
from failsafe.server_install.listed import settings_of
from failsafe.server_install.script import Step, authorized_keys_line, install_script, remove_script, steps

__all__ = [
    "Shown",
    "Step",
    "Verdict",
    "authorized_keys_line",
    "install_script",
    "judge_shown",
    "remove_script",
    "settings_of",
    "steps",
]
