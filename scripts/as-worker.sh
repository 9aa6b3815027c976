#!/bin/sh
# as-worker.sh COMMAND…: the entry point of the image of jobs.
#
# Root becomes the user that api runs as, too, so that both own what lies in /data. Of what the container was given, the worker keeps the
# capabilities that it uses, as ambient ones: they outlive the change of user, and every run gives them up before it begins.
#
#   SETUID, SETGID   each run gets a user of its own
#   CHOWN            that user's temporary folder is handed over, and taken back to be removed
#   KILL             a run of another user is cancelled, and ended at its time limit
#   SYS_ADMIN        each run gets namespaces of its own; not given by docker-compose.yml (docs/operations.md)
#
# A container that was given none of them is started as that user (`user: "10001:10001"`): runs share it then.
set -eu

ID=10001

if [ "$(id -u)" = 0 ]; then
    effective="$(sed -n 's/^CapEff:[[:space:]]*/0x/p' /proc/self/status)"
    keep=-all
    for capability in chown:0 kill:5 setgid:6 setuid:7 sys_admin:21; do
        if [ $((effective >> ${capability#*:} & 1)) = 1 ]; then keep="$keep,+${capability%:*}"; fi
    done
    case "$keep" in
    *+setgid*+setuid*) ;;
    *)
        echo "as-worker.sh: root without SETUID and SETGID cannot become the user $ID; give both, or start the container as $ID:$ID" >&2
        exit 1
        ;;
    esac
    # Root's home is closed to that user.
    export HOME=/
    set -- setpriv --reuid "$ID" --regid "$ID" --clear-groups --no-new-privs --inh-caps "$keep" --ambient-caps "$keep" "$@"
fi
exec "$@"
