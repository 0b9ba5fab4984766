# shellcheck shell=bash
# The processes of the cluster. Sourced by ../cluster.
#
# All of them, containers too, are members of cgroups below one of ours, and stay so whoever dies. That tells them from
# every foreign process, also when a process id was used again, and so a crash leaves nothing that `down` cannot find.

cgroup_mounts() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }

# The cgroup that processes are found by: of the hierarchy that counts them.
tracked() {
    local mount
    mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/mounts)
    [[ -n $mount ]] || mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [[ -n $mount ]] || fail 'no cgroups are mounted here: mount cgroup2 on /sys/fs/cgroup'
    printf '%s/%s\n' "$mount" "$NAME"
}

make_cgroups() {
    local mount file
    while read -r mount; do
        # Version 2 has to be told which controllers children may have; this machine's own ones are there already.
        if [[ -s $mount/cgroup.controllers ]]; then
            sed 's/[^ ]*/+&/g' "$mount/cgroup.controllers" >"$mount/cgroup.subtree_control"
        fi
        mkdir -p "$mount/$NAME" || fail "no cgroup can be made in $mount (is it read-only?)"
        if [[ -s $mount/$NAME/cgroup.controllers ]]; then
            sed 's/[^ ]*/+&/g' "$mount/$NAME/cgroup.controllers" >"$mount/$NAME/cgroup.subtree_control"
        fi
        # In version 1 a new cpuset is empty, and takes no process.
        for file in cpuset.cpus cpuset.mems; do
            if [[ -f $mount/$file ]]; then cat "$mount/$file" >"$mount/$NAME/$file"; fi
        done
    done < <(cgroup_mounts)
    mkdir -p "$(tracked)/daemons"
}

# Starts a component in a session of its own, and returns when it is in the cgroup (or has ended).
start() { # component command…
    local component=$1
    shift
    # shellcheck disable=SC2016 # expanded by the inner shell
    setsid bash -c 'echo $$ >"$1" && shift && exec "$@"' start "$(tracked)/daemons/cgroup.procs" "$@" \
        </dev/null >>"$STATE/log/$component.log" 2>&1 9>&- &
    printf '%s\n' "$!" >"$STATE/pids/$component"
    until running "$component"; do
        kill -0 "$!" 2>/dev/null || break
        sleep 0.01
    done
}

join_cgroup() {
    mkdir -p "$(tracked)/guests"
    printf '%s\n' "$$" >"$(tracked)/guests/cgroup.procs"
}

pid_of() { cat "$STATE/pids/$1" 2>/dev/null; } # component

# The id alone would not do: it may be another process by now.
running() { # component
    local pid
    pid=$(pid_of "$1") || return 1
    grep -qx "$pid" "$(tracked)/daemons/cgroup.procs" 2>/dev/null
}

members() { find "$(tracked)" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u; }

# Again and again, because what is killed may have made a child meanwhile.
kill_members() {
    local all end=$((SECONDS + DEADLINE))
    while mapfile -t all < <(members) && ((${#all[@]} > 0)); do
        ((SECONDS < end)) || fail "processes do not end after SIGKILL: ${all[*]}"
        kill -KILL "${all[@]}" 2>/dev/null || true
        sleep 0.05
    done
}

# A cgroup is busy for a moment after its last process has ended.
remove_cgroups() {
    local mount end=$((SECONDS + DEADLINE))
    while read -r mount; do
        while [[ -d $mount/$NAME ]]; do
            find "$mount/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [[ -d $mount/$NAME ]] || break
            ((SECONDS < end)) || fail "the cgroup $mount/$NAME is still busy after $DEADLINE s"
            sleep 0.05
        done
    done < <(cgroup_mounts)
}
