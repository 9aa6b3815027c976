#!/bin/sh
# as-worker.sh COMMAND…: the entry point of the image of jobs.
#
# A container that is started as root becomes the user that api runs as, too, so that both own what lies in /data. Of the capabilities that
# it was given it keeps those that the worker uses, as ambient ones: they outlive the change of user, and every run gives them up before
# it begins.
#
#   SETUID, SETGID   each run gets a user of its own
#   CHOWN            that user's temporary folder is handed over, and taken back to be removed
#   KILL             a run of another user is cancelled, and ended at its time limit
#
# and, when it was given more than docker-compose.yml gives (docs/operations.md):
#
#   SYS_ADMIN        each run gets namespaces of its own
#   SYS_PTRACE       the memory of all processes of a run is counted together
#
# Started as that user, which is the image's own way, it was given none of them: runs share the user then.
set -eu

ID=10001

if [ "$(id -u)" = 0 ]; then
    effective="$(sed -n 's/^CapEff:[[:space:]]*/0x/p' /proc/self/status)"
    keep=-all
    for capability in chown:0 kill:5 setgid:6 setuid:7 sys_ptrace:19 sys_admin:21; do
        if [ $((effective >> ${capability#*:} & 1)) = 1 ]; then keep="$keep,+${capability%:*}"; fi
    done
    case "$keep" in
    *+setgid*+setuid*) ;;
    *)
        echo "as-worker.sh: root without SETUID and SETGID cannot become the user $ID; give both, or start the container as the image says ($ID:$ID)" >&2
        exit 1
        ;;
    esac
    # Root's home is closed to that user.
    export HOME=/
    set -- setpriv --reuid "$ID" --regid "$ID" --clear-groups --no-new-privs --inh-caps "$keep" --ambient-caps "$keep" "$@"
fi
exec "$@"
