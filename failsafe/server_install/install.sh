#!/bin/sh
# What failsafe puts on the mail server "@NAME@", to be run there as root. It may be run again at any time, and then changes what is not as it should be:
#   @FOLDER@/server.py   the program that reads mail; it belongs to root
#   @FOLDER@/serve       starts it, and nothing else
#   @LIST@   what it may read, and which commands it may run; it belongs to root
#   a line of authorized_keys for @LOGIN@: failsafe's key can start that program, and nothing else
#   @RULE@   only where the program has to run as another user than @LOGIN@
# `failsafe config server @NAME@ --remove` prints what takes all of it away again.
@COMMON@
login=@LOGIN_Q@
runner=@RUNNER_Q@ # "": the owner of $root
root=@ROOT_Q@
key=@KEY_Q@
line=@LINE_Q@

find_python() {
    old=
    for python in /usr/bin/python3 /usr/local/bin/python3 /usr/libexec/platform-python; do
        [ -x "$python" ] || continue
        if "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null; then
            "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 7))' ||
                say "$("$python" -V 2>&1) is here: mail is read with it, but live SQLite databases need 3.7 or newer"
            return 0
        fi
        old="$("$python" -V 2>&1) ($python)"
    done
    fail "Python 3.6 or newer is needed here, and there is ${old:-none}: apt-get install python3, or dnf install python3"
}

# Whoever can change a name above a file can change the file.
demand_roots_alone() {
    place=$1
    while :; do
        [ -z "$(find -H "$place" -prune \( ! -user 0 -o -perm -020 -o -perm -002 \) -print)" ] ||
            fail "$place must belong to root, and be writable by root alone: chown root $place; chmod go-w $place"
        [ "$place" != / ] || return 0
        place=$(dirname "$place")
    done
}

make_login() {
    if ! id -u "$login" >/dev/null 2>&1; then
        command -v useradd >/dev/null || fail "there is no user $login here, and no useradd to make one: make it, then run this again"
        # '*' is no password, and unlike '!' no lock: sshd lets nobody in whose account is locked
        useradd --system --user-group --home-dir @FOLDER@ --no-create-home --shell /bin/sh --comment @MADE_BY_US_Q@ --password '*' "$login"
        changed=yes
        say "user $login: made"
    fi
    [ "$(getent passwd "$login" | cut -d: -f3)" = 0 ] && runner=$login
    return 0
}

# Who the program runs as: the login itself, or by one rule of sudo another user. Sets $group, which may read the list.
choose_runner() {
    if [ -z "$runner" ]; then
        [ -d "$root" ] || fail "there is no folder $root here, in which the mail should lie: correct path in failsafe's configuration"
        runner=$(stat -c %U "$root")
        [ "$runner" != UNKNOWN ] || runner="#$(stat -c %u "$root")"
    fi
    case $runner in
    "#"*) group=$(stat -c %g "$root") ;;
    *) group=$(id -g "$runner") ;;
    esac
    start=@PROGRAM@
    [ "$runner" = "$login" ] && return 0
    command -v sudo >/dev/null ||
        fail "mail here belongs to $runner, and $login needs sudo to read it: apt-get install sudo, or let failsafe log in as root (ssh = \"root@…\")"
    start="sudo -n -u '$runner' @PROGRAM@"
}

whole_program() {
    printf '#!%s -IS\n' "$python"
    program_text
}

serve_text() {
    cat <<END
#!/bin/sh
# What failsafe's key starts, whatever was asked for. Of the caller's environment only who calls is passed on.
exec /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SSH_CONNECTION="\${SSH_CONNECTION:-}" $start
END
}

rule_text() {
    cat <<END
# failsafe: $login may run the one program that reads mail, as $runner, without arguments.
Defaults!@PROGRAM@ env_reset, !setenv, !requiretty, !use_pty, env_keep = "SSH_CONNECTION"
$login ALL=($runner) NOPASSWD: NOSETENV: @PROGRAM@ ""
END
}

put_program() {
    mkdir -p @FOLDER@
    demand_roots_alone @FOLDER@
    demand_roots_alone "$(dirname @LIST@)"
    put @PROGRAM@ 0:0 755 whole_program
    put @SERVE@ 0:0 755 serve_text
    put @LIST@ "0:$group" 640 list_text
}

put_rule() {
    if [ "$runner" = "$login" ]; then
        [ ! -e @RULE@ ] || { rm -f @RULE@; changed=yes; say "@RULE@: taken away, $login needs no rule"; }
        return 0
    fi
    put @RULE@ 0:0 440 rule_text "visudo -c -q -f"
}

put_key() {
    find_keys
    owner=0:0 mode=644 folder_mode=755 # root's, so that nobody who gets in as $login can change what the key may do
    case $their_home/$keys in
    @FOLDER@/*) ;;
    "$their_home/$their_home"/*) owner=$(stat -c '%u:%g' "$their_home") mode=600 folder_mode=700 ;;
    esac
    folder=$(dirname "$keys")
    [ -d "$folder" ] || { mkdir -p "$folder"; chown "$owner" "$folder"; chmod "$folder_mode" "$folder"; }
    [ -e "$keys" ] || { : >"$keys"; chown "$owner" "$keys"; chmod "$mode" "$keys"; }
    settle_keys yes
    ! command -v restorecon >/dev/null || restorecon -R "$folder" >/dev/null 2>&1 || true
}

# What sshd lets a caller set in the environment is read by the shell that starts our line.
look_at_sshd() {
    sshd -T -C "user=$login,host=localhost,addr=127.0.0.1" 2>/dev/null | while read -r word value; do
        case $word in
        acceptenv) case $value in LANG | LC_* | COLORTERM | NO_COLOR | TERM) ;; *)
            say "warning: sshd takes $value from whoever calls (AcceptEnv in sshd_config); the fewer the better" ;; esac ;;
        permittunnel) [ "$value" = no ] || [ "$login" != root ] || say "warning: sshd_config says PermitTunnel $value, which our line cannot forbid to root" ;;
        permituserenvironment) [ "$value" = no ] || say "warning: sshd_config says PermitUserEnvironment $value" ;;
        esac
    done
}

try_it() {
    said=$(runuser -u "$login" -- @SERVE@ 2>&1 | tr -d '\000') || true
    case $said in
    *'"hello":"failsafe"'*'"fault"'*) fail "the program does not like what it found: ${said#*\"fault\":}" ;;
    *'"hello":"failsafe"'*) say "it answers, as ${runner}" ;;
    *) fail "the program does not answer: $said" ;;
    esac
}

main() {
    [ "$(id -u)" = 0 ] || fail "this has to be run as root: … | ssh root@THIS-SERVER sh"
    find_python
    make_login
    choose_runner
    put_program
    put_rule
    put_key
    look_at_sshd
    try_it
    if [ "$changed" = yes ]; then say "done: failsafe's key can read mail here, and nothing else"; else say "nothing was changed"; fi
}

list_text() {
    cat <<'@END@'
@LIST_TEXT@
@END@
}

program_text() {
    cat <<'@END@'
@PROGRAM_TEXT@
@END@
}

main
