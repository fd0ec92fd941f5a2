set -eu
umask 022
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export LC_ALL PATH
fresh=
changed=no

say() { printf 'failsafe: %s\n' "$*"; }

fail() {
    printf 'failsafe: %s\n' "$*" >&2
    [ -z "$fresh" ] || rm -f "$fresh"
    exit 1
}

# sshd may look for keys elsewhere than in ~/.ssh/authorized_keys. Sets $their_home and $keys.
find_keys() {
    their_home=$(getent passwd "$login" | cut -d: -f6)
    [ -n "$their_home" ] || fail "the user $login has no home folder, so sshd finds no keys of theirs"
    keys=$(sshd -T -C "user=$login,host=localhost,addr=127.0.0.1" 2>/dev/null | sed -n 's/^authorizedkeysfile //p' | cut -d' ' -f1) || keys=
    [ "$keys" != none ] || fail "sshd_config says AuthorizedKeysFile none: nobody can log in by key"
    keys=$(printf '%s' "${keys:-.ssh/authorized_keys}" | sed "s|%h|$their_home|g; s|%u|$login|g; s|%%|%|g")
    case $keys in /*) ;; *) keys=$their_home/$keys ;; esac
    if [ -h "$keys" ] || [ -h "$(dirname "$keys")" ]; then
        fail "$keys is a symbolic link, or lies in one: root does not write through links of others; put a file there"
    fi
}

# The file $1 gets what $4 prints, owner $2 and mode $3: whole or not at all, and only where it is not so already. $5: a command that must like it.
put() {
    if [ -h "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; }; then fail "$1 is no plain file: move it away, then run this again"; fi
    fresh=$(mktemp "$1.XXXXXX")
    $4 >"$fresh"
    chown "$2" "$fresh"
    chmod "$3" "$fresh"
    if [ -n "${5:-}" ] && ! $5 "$fresh" >/dev/null 2>&1; then fail "what was to become $1 is refused by \`$5\`; nothing was changed there"; fi
    if cmp -s "$fresh" "$1" && [ "$(stat -c '%u:%g %a' "$1")" = "$(stat -c '%u:%g %a' "$fresh")" ]; then
        rm -f "$fresh"
        say "$1: as it should be"
    else
        mv -f "$fresh" "$1"
        changed=yes
        say "$1: written"
    fi
    fresh=
}

# The lines of authorized_keys without those that have our key, but for one that is exactly $line; with $add = yes that line is there.
keys_text() {
    LINE=$line KEY=$key ADD=$add awk '
        $0 == ENVIRON["LINE"] && ENVIRON["ADD"] == "yes" { if (!there) print; there = 1; next }
        $0 !~ /^[ \t]*#/ && index(" " $0 " ", " " ENVIRON["KEY"] " ") { next }
        { print }
        END { if (!there && ENVIRON["ADD"] == "yes") print ENVIRON["LINE"] }' "$keys"
}

settle_keys() {
    add=$1
    put "$keys" "$(stat -c '%u:%g' "$keys")" "$(stat -c %a "$keys")" keys_text
}
