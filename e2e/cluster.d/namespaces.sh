# shellcheck shell=bash
# The node's network namespace and mount namespace. Sourced by ../cluster.
#
# Only processes hold them: no name of them and no mount is left in this machine's own, however the cluster ends. What a kubelet
# and containerd write to fixed places (/run, /var/lib, /var/log) and what they would set in the kernel stays inside.

make_namespaces() {
    start namespaces unshare --mount --net --propagation slave \
        bash -c "$(declare -f inside_mounts inside_network); set -euo pipefail; $(declare -p NAME STATE NODE_IP SERVICE_CIDR)
            inside_mounts; inside_network; touch \"\$STATE/run/namespaces\"; exec sleep infinity"
    await 'the namespaces' namespaces test -e "$STATE/run/namespaces"
    # The way in from this machine.
    remove_link
    ip link add "$LINK" type veth peer name outside netns "$(pid_of namespaces)" ||
        fail "the link $LINK cannot be made (see above)"
    ip address add "$OUTSIDE_IP/24" dev "$LINK"
    ip link set "$LINK" up
    on_node ip link set outside master node0 up
}

inside_mounts() {
    local key
    # Containers may share mounts with the node.
    mount --make-rshared /
    mkdir -p "$STATE/lib/$NAME" "$STATE/sysctl"
    mount --rbind "$STATE" "$STATE/lib/$NAME"
    mount --rbind "$STATE/lib" /var/lib
    mount --bind "$STATE/log" /var/log
    mount -t tmpfs tmpfs /run
    # A kubelet sets these unless they are so already: here it only reads that they are.
    for key in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
        kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
        mkdir -p "$STATE/sysctl/${key%/*}"
        printf '%s\n' "${key#*=}" >"$STATE/sysctl/${key%=*}"
        mount --bind "$STATE/sysctl/${key%=*}" "/proc/sys/${key%=*}"
    done
}

inside_network() {
    ip link set lo up
    # A bridge, because not every kernel has dummy links.
    ip link add node0 type bridge
    ip address add "$NODE_IP/24" dev node0
    ip link set node0 up
    # Cluster IPs need a route to be seen at all; to anywhere else there is none, and clients hear so at once.
    ip route add "$SERVICE_CIDR" dev node0 src "$NODE_IP"
    ip route add unreachable default
    printf 1 >/proc/sys/net/ipv4/ip_forward
    # Answers of a service in the pod's own network have to pass the rules that undo its address.
    printf 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
}

# Not `ip netns exec`: that mounts another /sys, where a kubelet finds no cgroups.
on_node() {
    local holder
    holder=$(pid_of namespaces)
    nsenter --mount="/proc/$holder/ns/mnt" --net="/proc/$holder/ns/net" "$@"
}

start_on_node() { # component command…
    local holder
    holder=$(pid_of namespaces)
    start "$1" nsenter --mount="/proc/$holder/ns/mnt" --net="/proc/$holder/ns/net" "${@:2}"
}

# What a person or a test runs is a member too: else it would keep the namespace after the cluster has ended.
run_in_node_network() { # command…
    local kubectl
    kubectl=$(program kubectl)
    join_cgroup
    KUBECONFIG=$KUBECONFIG_ADMIN PATH=${kubectl%/*}:$PATH exec nsenter --net="/proc/$(pid_of namespaces)/ns/net" "$@"
}

# It goes with its other end, but the kernel takes its time for that.
remove_link() {
    if [[ -e /sys/class/net/$LINK ]]; then ip link delete "$LINK" 2>/dev/null || true; fi
}
