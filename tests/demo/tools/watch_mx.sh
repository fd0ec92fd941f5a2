#!/bin/bash
# Runs inside the NAS: SERVER DOMAIN. Asks the authoritative name server for the MX records again and again, with kdig, which knows
# nothing of failsafe. One line a look: the time (seconds since 1970), then the records, or "no-answer".
while sleep 0.2; do
    if records=$(kdig +short +norecurse +time=1 +retry=0 "@$1" "$2" MX 2>/dev/null); then
        printf '%s %s\n' "$EPOCHREALTIME" "$(sort -n <<<"$records" | paste -sd';')"
    else
        printf '%s no-answer\n' "$EPOCHREALTIME"
    fi
done
