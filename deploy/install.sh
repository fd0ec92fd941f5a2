#!/bin/sh
# Installs failsafe on a NAS or any other Linux machine, and upgrades it when it is run again. POSIX sh.
#
#   sh install.sh [options] [WHEEL]      WHEEL: a file failsafe_mail-*.whl; left out, the newest from PyPI
#
# Each version lies in a folder of its own, and `current` is a link to the one in use. The link is moved last, in one step, when the
# new version has shown that it runs and takes the configuration and the database: whatever fails before leaves the old one working.
# Nothing that failsafe has stored is ever removed, neither by this nor by --remove.
set -eu

usage() {
    cat <<'TEXT'
usage: sh install.sh [options] [WHEEL]
  WHEEL             a file failsafe_mail-*.whl; left out, the newest version from PyPI
  --prefix DIR      where the program lies          (root: /opt/failsafe; else ~/.local/share/failsafe)
  --bin DIR         where the command is put        (root: /usr/local/bin; else ~/.local/bin)
  --user NAME       who runs it; made if missing    (root: failsafe; else you)
  --config DIR      configuration and secrets       (root: /etc/failsafe; else ~/.config/failsafe)
  --state DIR       database, staging, caches       (root: /var/lib/failsafe; else ~/.local/state/failsafe)
  --start WITH      systemd, cron or nothing        (default, for root: what is there)
  --keep N          versions that stay              (default 2: this one and the one before)
  --back            use the version before this one again
  --remove          take the program away; configuration, state and backups stay
  --dry-run         say what would be done, and do nothing
exit codes: 0 done, 2 something is missing here (it says what, and how to get it), 4 it failed and the old version is in use
TEXT
}

say() { printf '%s\n' "install: $*"; }
stop() {
    code=$1
    shift
    printf '%s\n' "install: $*" >&2
    exit "$code"
}

# does WHAT COMMAND…: says it, then does it, unless this is a dry run.
does() {
    say "$1"
    shift
    [ "$dry" = yes ] || "$@"
}

wheel='' dry=no verb=install keep=2 start=''
if [ "$(id -u)" = 0 ]; then
    root=yes prefix=/opt/failsafe bin=/usr/local/bin user=failsafe config=/etc/failsafe state=/var/lib/failsafe
else
    root=no prefix=$HOME/.local/share/failsafe bin=$HOME/.local/bin user=$(id -un)
    config=$HOME/.config/failsafe state=$HOME/.local/state/failsafe start=nothing
fi
etc=${FAILSAFE_INSTALL_ETC:-/etc} # where units, cron lines and logrotate files go; another folder for tests

while [ $# -gt 0 ]; do
    case "$1" in
    --prefix | --bin | --user | --config | --state | --start | --keep)
        [ $# -ge 2 ] && [ -n "$2" ] || { usage >&2; stop 2 "$1 needs a value"; }
        name=${1#--}
        case "$name$2" in prefix[!/]* | bin[!/]* | config[!/]* | state[!/]*) stop 2 "$1 needs a path that begins with /" ;; esac
        case "$name" in
        prefix) prefix=${2%/} ;; bin) bin=${2%/} ;; user) user=$2 ;; config) config=${2%/} ;; state) state=${2%/} ;;
        start) start=$2 ;; keep) keep=$2 ;;
        esac
        shift
        ;;
    --back) verb=back ;;
    --remove) verb=remove ;;
    --dry-run) dry=yes ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; stop 2 "there is no option $1" ;;
    *) [ -z "$wheel" ] || stop 2 "one wheel at a time: $wheel, $1"; wheel=$1 ;;
    esac
    shift
done
case "$start" in '' | systemd | cron | nothing) ;; *) stop 2 "--start is systemd, cron or nothing, not $start" ;; esac
case "$keep" in '' | *[!0-9]* | 0 | 1) stop 2 "--keep needs a number, 2 or more: the version before must stay" ;; esac
case "$user" in '' | *[!a-zA-Z0-9._-]* | -*) stop 2 "--user: $user is no user's name" ;; esac
case "$prefix$bin$config$state" in *[\'\"\\\$\`\ ]*) stop 2 "a path with a blank, a quote, \$ or \\ is more than this script takes" ;; esac
if [ -z "$start" ]; then
    if [ -d /run/systemd/system ]; then start=systemd; elif [ -d "$etc/cron.d" ]; then start=cron; else start=nothing; fi
fi

unit=$etc/systemd/system/failsafe.service cron=$etc/cron.d/failsafe rotate=$etc/logrotate.d/failsafe
file=$config/failsafe.toml

# --- what this machine must have ---------------------------------------------------------------------------------------------

# A virtual environment may lie anywhere; the Python that it stands on must not lie in somebody's home, where another user cannot come.
is_good='import sys
sys.exit(sys.version_info < (3, 11) or (sys.argv[1] == "yes" and sys.base_prefix.startswith(("/root/", "/home/"))))'

find_python() { # the first in PATH that is new enough and, where it is for another user, in nobody's home
    places=$PATH:
    while [ -n "$places" ]; do
        place=${places%%:*} places=${places#*:}
        case "$root$place" in yes/root/* | yes/home/* | yes[!/]* | yes) continue ;; esac
        for name in python3 python3.14 python3.13 python3.12 python3.11; do
            [ -x "$place/$name" ] || continue
            "$place/$name" -c "$is_good" "$root" 2>/dev/null || continue
            printf '%s' "$place/$name"
            return
        done
    done
}

get() { # get PACKAGES…: how this machine's person gets them
    if command -v apt-get >/dev/null 2>&1; then printf 'apt-get install %s' "$*"
    elif command -v dnf >/dev/null 2>&1; then printf 'dnf install %s' "$(printf '%s' "$*" | sed 's/python3-venv/python3-pip/; s/openssh-client/openssh-clients/')"
    elif command -v apk >/dev/null 2>&1; then printf 'apk add %s' "$(printf '%s' "$*" | sed 's/python3-venv/py3-pip/')"
    elif command -v opkg >/dev/null 2>&1; then printf 'opkg install %s (Entware)' "$(printf '%s' "$*" | sed 's/python3-venv/python3-pip/')"
    else printf "install %s from your system's package centre, or use the container image" "$*"; fi
}

demand() {
    missing=no
    python=$(find_python)
    if [ -z "$python" ]; then
        missing=yes
        have=$(python3 --version 2>/dev/null || echo none)
        say "needs Python 3.11 or newer (here: $have): $(get python3 python3-venv)" >&2
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        missing=yes
        say "Python's venv is missing: $(get python3-venv)" >&2
    fi
    if ! command -v restic >/dev/null 2>&1; then
        missing=yes
        say "needs restic 0.14 or newer: $(get restic)" >&2
    fi
    command -v ssh >/dev/null 2>&1 || say "note: no ssh here; only repositories at sftp: need it: $(get openssh-client)" >&2
    [ -z "$wheel" ] || [ -f "$wheel" ] || { missing=yes; say "there is no file $wheel" >&2; }
    case "$wheel" in '' | *.whl) ;; *) missing=yes; say "$wheel is not a wheel: its name should end with .whl" >&2 ;; esac
    if [ "$root" = no ] && [ "$start" != nothing ]; then
        missing=yes
        say "--start $start needs root" >&2
    fi
    [ "$missing" = no ] || stop 2 "nothing was done; get what is missing, then run this again"
}

# --- user and folders --------------------------------------------------------------------------------------------------------

make_user() {
    [ "$root" = yes ] || return 0
    ! id "$user" >/dev/null 2>&1 || return 0
    if command -v useradd >/dev/null 2>&1; then
        does "making the user $user: no password, no shell, home $state" \
            useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$user"
    elif command -v adduser >/dev/null 2>&1; then
        does "making the user $user: no password, no shell, home $state" adduser -S -D -H -h "$state" -s /sbin/nologin "$user"
    else
        stop 2 "this system has neither useradd nor adduser: make a user without a shell in its settings, then: --user NAME"
    fi
}

make_folder() { # make_folder DIR: of the user alone; one that is there keeps what is in it
    [ -d "$1" ] || does "making $1" mkdir -p "$1"
    does "$1 is $user's alone (mode 0700)" chmod 700 "$1"
    [ "$root" = no ] || does "$1 belongs to $user" chown "$user" "$1"
}

# --- the new version ---------------------------------------------------------------------------------------------------------

new='' switched=no stopped=no
leave() {
    code=$?
    trap - EXIT HUP INT TERM
    if [ "$switched" = no ] && [ -n "$new" ]; then
        rm -rf "$new" "$prefix/current.new"
        if [ -e "$prefix/current" ]; then say "the version in use stays: $(readlink "$prefix/current")" >&2; fi
    fi
    [ "$stopped" = no ] || systemctl start failsafe || say "failsafe could not be started again: systemctl status failsafe" >&2
    exit "$code"
}

as_user() { # as_user COMMAND…: as the user whom the program runs as
    if [ "$root" = no ]; then "$@"; else "$python" -IS -c "$become" "$user" "$@"; fi
}

become='import os, pwd, sys
who = pwd.getpwnam(sys.argv[1])
if os.getuid() == 0 and who.pw_uid != 0:
    os.initgroups(who.pw_name, who.pw_gid)
    os.setgid(who.pw_gid)
    os.setuid(who.pw_uid)
    os.environ.update(HOME=who.pw_dir, USER=who.pw_name, LOGNAME=who.pw_name)
os.umask(0o077)
os.execvp(sys.argv[2], sys.argv[2:])'

install_version() {
    what=${wheel:-failsafe-mail}
    new=$prefix/versions/$(date -u +%Y%m%dT%H%M%SZ)
    if [ "$dry" = yes ]; then
        say "installing $what into $new, with $python"
        return 0
    fi
    [ ! -e "$new" ] || stop 4 "$new is there already: another install.sh is at work; wait a second"
    (umask 022; mkdir -p "$prefix/versions")
    trap leave EXIT
    trap 'exit 5' HUP INT TERM
    say "installing $what into $new, with $python"
    (umask 022; "$python" -I -m venv "$new") || stop 4 "the folder for Python's packages could not be made"
    (umask 022; "$new/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input --upgrade "$what") ||
        stop 4 "pip could not install it; what it said is above"
    version=$(as_user "$new/bin/failsafe" --version) || stop 4 "the new version does not run as $user"
    say "it is $version"
}

try_version() { # what the new version says of the configuration and of the database, before it is used
    [ "$dry" = no ] || return 0
    if [ ! -e "$file" ]; then
        say "there is no $file yet: the database is made when there is one"
        return 0
    fi
    if ! as_user "$new/bin/failsafe" --config "$file" config check >/dev/null; then
        [ ! -x "$prefix/current/bin/failsafe" ] || ! as_user "$prefix/current/bin/failsafe" --config "$file" config check >/dev/null 2>&1 ||
            stop 4 "the new version does not take $file, which the old one does; mend what it says above first"
        say "note: $file has faults, in the version in use too; mend them, then: failsafe config check"
        return 0
    fi
    if [ "$start" = systemd ] && systemctl is-active --quiet failsafe 2>/dev/null; then
        say "stopping the daemon for the change"
        systemctl stop failsafe
        stopped=yes
    fi
    say "bringing the database to the new version; a copy of it is kept beside it"
    as_user "$new/bin/failsafe" --config "$file" db upgrade || stop 4 "the database could not be brought to the new version"
}

use_version() { # use_version FOLDER: one step, in which there is always a version in use
    rm -f "$prefix/current.new"
    ln -s "$1" "$prefix/current.new"
    "$1/bin/python" -I -c 'import os, sys; os.replace(sys.argv[1], sys.argv[2])' "$prefix/current.new" "$prefix/current"
}

switch() {
    if [ "$dry" = yes ]; then
        say "moving $prefix/current to the new version"
        return 0
    fi
    say "moving $prefix/current to $new"
    use_version "$new"
    switched=yes
}

drop_old() { # versions are named by their time, so that the oldest come first
    [ "$dry" = no ] || return 0
    in_use=$(readlink "$prefix/current")
    count=$(ls -1 "$prefix/versions" | wc -l)
    for old in "$prefix"/versions/*; do
        [ "$count" -gt "$keep" ] || break
        [ "$old" != "$in_use" ] || continue
        does "removing an older version: $old" rm -rf "$old"
        count=$((count - 1))
    done
}

# --- command, unit, cron -----------------------------------------------------------------------------------------------------

put() { # put FILE MODE < TEXT: whole or not at all
    say "writing $1"
    if [ "$dry" = yes ]; then
        cat >/dev/null
        return 0
    fi
    mkdir -p "$(dirname "$1")"
    rm -f "$1.new"
    (umask 077; cat >"$1.new")
    [ -s "$1.new" ] || stop 4 "there is nothing to write into $1: the wheel is not whole"
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
}

# The command runs as the user, whoever of root calls it: a file of root's in the state folder would stop the daemon.
# `init` is the exception: it may look at the mail server with your own keys, so what it wrote is handed over afterwards.
command_text() {
    if [ "$root" = no ]; then
        printf '#!/bin/sh\nexec %s/current/bin/failsafe "$@"\n' "$prefix"
        return 0
    fi
    cat <<TEXT
#!/bin/sh
# Written by failsafe's install.sh: failsafe, as the user $user.
now=$prefix/current/bin
[ "\$(id -u)" = 0 ] || exec "\$now/failsafe" "\$@"
for word in "\$@"; do
    [ "\$word" = init ] || continue
    "\$now/failsafe" "\$@"
    code=\$?
    for folder in '$config' '$state'; do [ ! -d "\$folder" ] || chown -R '$user' "\$folder"; done
    exit \$code
done
exec "\$now/python" -IS -c '$become' '$user' "\$now/failsafe" "\$@"
TEXT
}

not_usual() { # sed's words for a unit whose state lies elsewhere; systemd makes /var/lib/failsafe and no other
    [ "$state" = /var/lib/failsafe ] || printf '%s' "s|^StateDirectory=failsafe|ReadWritePaths=$state|; /^StateDirectoryMode=/d"
}

from_wheel() { # from_wheel PATH: a file of deploy/, which the wheel carries, with this installation's own paths
    carried=$("$prefix/current/bin/python" -I -c 'import failsafe, os, sys; print(os.path.join(os.path.dirname(failsafe.__file__), "_deploy", sys.argv[1]))' "$1")
    sed -e "$(not_usual)" -e "s|/etc/failsafe|$config|g; s|/usr/local/bin/failsafe|$bin/failsafe|g; s|/var/lib/failsafe|$state|g" \
        -e "s|^User=.*|User=$user|; s|^Group=.*|Group=$(id -gn "$user")|; s|^\(\* \* \* \* \*\) failsafe |\1 $user |; s|su failsafe failsafe|su $user $(id -gn "$user")|" "$carried"
}

start_with() {
    [ "$root" = yes ] || return 0
    if [ "$dry" = yes ]; then
        case "$start" in systemd) say "writing $unit" ;; cron) say "writing $cron and $rotate" ;; esac
        return 0
    fi
    case "$start" in
    systemd)
        from_wheel systemd/failsafe.service | put "$unit" 644
        [ ! -d /run/systemd/system ] || systemctl daemon-reload
        ;;
    cron)
        from_wheel cron/failsafe | put "$cron" 644
        from_wheel logrotate/failsafe | put "$rotate" 644
        ;;
    esac
}

tell_next() {
    say "done."
    case ":$PATH:" in *":$bin:"*) ;; *) say "note: $bin is not in your PATH; the command is $bin/failsafe" ;; esac
    if [ ! -e "$file" ]; then
        say "next: failsafe init"
        case "$start" in
        systemd) say "then: systemctl enable --now failsafe" ;;
        cron) say "then nothing: $cron begins by itself when $file is there" ;;
        nothing) say "then start \`failsafe run\` with the machine, or \`failsafe tick\` each minute" ;;
        esac
    fi
}

# --- the three things it can do ----------------------------------------------------------------------------------------------

install_all() {
    demand
    make_user
    make_folder "$config"
    make_folder "$state"
    install_version
    try_version
    switch
    command_text | put "$bin/failsafe" 755
    start_with
    if [ "$stopped" = yes ]; then
        stopped=no
        does "starting the daemon again" systemctl start failsafe
    fi
    drop_old
    tell_next
}

go_back() {
    python=$(find_python)
    in_use=$(readlink "$prefix/current" 2>/dev/null) || stop 2 "nothing is installed in $prefix"
    before=''
    for each in "$prefix"/versions/*; do
        [ "$each" != "$in_use" ] || break
        [ ! -x "$each/bin/failsafe" ] || before=$each
    done
    [ -n "$before" ] || stop 2 "there is no older version in $prefix/versions"
    does "moving $prefix/current to $before, which is $("$before/bin/failsafe" --version)" use_version "$before"
    say "if it says that the database is newer than it: what it names there is the way back"
    [ "$start" != systemd ] || say "then: systemctl restart failsafe"
}

remove() {
    [ "$root" = no ] || [ ! -e "$unit" ] || [ ! -d /run/systemd/system ] || does "stopping the daemon" systemctl disable --now failsafe
    for each in "$unit" "$cron" "$rotate" "$bin/failsafe"; do
        [ ! -e "$each" ] || does "removing $each" rm -f "$each"
    done
    for each in "$prefix/current" "$prefix/versions"; do
        [ ! -e "$each" ] && [ ! -L "$each" ] || does "removing $each" rm -rf "$each"
    done
    [ ! -d "$prefix" ] || [ "$dry" = yes ] || rmdir "$prefix" 2>/dev/null || true
    say "what stays, and is yours to remove: $config (with the passwords of the repositories: without them no backup opens), $state, the user $user"
    say "every backup stays where it is. What failsafe left on other machines was named by: failsafe uninstall --plan"
}

case "$verb" in
install) install_all ;;
back) go_back ;;
remove) remove ;;
esac
