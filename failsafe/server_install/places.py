"""Where everything lies on a mail server. The list's place is told by the program itself (serverside/ground.py)."""

from failsafe.backup.serverside.ground import SETTINGS

LIST = SETTINGS
FOLDER = "/opt/failsafe-server"
PROGRAM = f"{FOLDER}/server.py"
SERVE = f"{FOLDER}/serve"
RULE = "/etc/sudoers.d/failsafe-server"
MADE_BY_US = "failsafe reads mail for backups"  # the comment of a user that was made for it
