#!/bin/sh
# Takes away what failsafe put on the mail server "@NAME@", to be run there as root. Mail, and all else, stays as it is.
@COMMON@
login=@LOGIN_Q@
key=@KEY_Q@
line=@LINE_Q@

take_away() {
    [ -e "$1" ] || return 0
    rm -f "$1"
    changed=yes
    say "$1: taken away"
}

# Not while a session of theirs is at work; our key opens no new one any more.
userdel_patiently() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        ! userdel "$login" 2>/dev/null || return 0
        sleep 1
    done
    userdel "$login" || fail "the user $login cannot be taken away yet; the rest is still there: run this again"
}

main() {
    [ "$(id -u)" = 0 ] || fail "this has to be run as root: … | ssh root@THIS-SERVER sh"
    if id -u "$login" >/dev/null 2>&1; then
        find_keys
        [ ! -f "$keys" ] || settle_keys no
        if [ "$(getent passwd "$login" | cut -d: -f5)" = @MADE_BY_US_Q@ ]; then
            userdel_patiently
            rm -f @FOLDER@/.ssh/authorized_keys
            [ ! -d @FOLDER@/.ssh ] || rmdir @FOLDER@/.ssh
            changed=yes
            say "user $login: taken away"
        fi
    fi
    take_away @RULE@
    take_away @LIST@
    take_away @PROGRAM@
    take_away @SERVE@
    [ ! -d @FOLDER@ ] || rmdir @FOLDER@ || say "@FOLDER@ holds files that are not ours: it stays"
    if [ "$changed" = yes ]; then say "done"; else say "nothing was there"; fi
}

main
