#!/usr/bin/env bash
# machine.sh TREE NAME [OPTION...]: boots the tree with systemd-nspawn, with no network but its loopback. All it writes
# goes to memory, the tree stays as it is. Ends when whoever started it ends, however that comes about: nspawn and all
# below it live in a process namespace that is killed with this process. Needs root.
set -euo pipefail

tree=$1 name=$2
shift 2

# A control group of its own, or two machines at once would meet in one.
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
  [ -e "$hierarchy/cgroup.procs" ] || continue
  for stale in "$hierarchy"/ferryd-boot-*; do
    if [ -d "$stale" ] && ! kill -0 "${stale##*-}" 2>/dev/null; then
      find "$stale" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    fi
  done
  mkdir "$hierarchy/ferryd-boot-$$"
  echo $$ >"$hierarchy/ferryd-boot-$$/cgroup.procs"
done

# The tree's systemd knows control groups of version 2 only, whatever the host has; and as nobody writes to the tree,
# several machines may have it.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child=KILL --mount-proc \
  systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --volatile=overlay --settings=no \
  --link-journal=no --console=pipe --directory="$tree" --machine="$name" "$@"
