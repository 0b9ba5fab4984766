# shellcheck shell=bash
# Names, addresses, and the small things that all parts use. Sourced by ../cluster.
# shellcheck disable=SC2034 # used by the other parts

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
NAME=mizzen-cluster
STATE=/var/lib/$NAME
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/mizzen-e2e
DEADLINE=120 # seconds to wait for what takes a few on an idle machine

# The node's address and that of this machine on the link between them: of a network that is reserved for documentation.
NODE=node
NODE_IP=198.51.100.2
OUTSIDE_IP=198.51.100.1
LINK=mizzen0
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10

PKI=$STATE/pki
KUBECONFIG_ADMIN=$STATE/admin.kubeconfig
CONTAINERD_SOCKET=$STATE/run/containerd.sock
# In the order in which they start.
COMPONENTS=(namespaces etcd containerd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns)

say() { printf 'cluster: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# Tries a command until it succeeds. Gives up when the component that it depends on has ended.
await() { # what component command…
    local what=$1 component=$2 end=$((SECONDS + DEADLINE))
    shift 2
    until "$@" >/dev/null 2>&1; do
        # It may have ended because all of it is done.
        running "$component" || "$@" >/dev/null 2>&1 ||
            fail_of "$component" "$component has ended while waiting for $what"
        ((SECONDS < end)) || fail_of "$component" "waited $DEADLINE s for $what"
        sleep 0.1
    done
}

# Fails with the end of a component's log. What runs goes on, so that it can be looked at.
fail_of() { # component message
    local log=$STATE/log/$1.log
    say "the end of $log:"
    tail -n 15 "$log" >&2
    fail "$2 (e2e/cluster down removes what is there)"
}

# Holds a lock until this script ends. Whatever starts daemons has to close its descriptor, 9.
only_one_at_a_time() {
    mkdir -p "$CACHE"
    exec 9>"$CACHE/.cluster.lock"
    # Of a script that was killed, a command may still hold it for a moment.
    flock --timeout 10 9 || fail 'another e2e/cluster up or down is at work: wait for it, or end it'
}

need_cluster() { running namespaces || fail 'no cluster runs: e2e/cluster up (after e2e/cluster down, when one has crashed)'; }

program() { # name
    awk -v name="$1" -v cache="$CACHE" '$1 == name { print cache "/" name "-" $2 "/" name }' "$root/e2e/tools/versions"
}

kubectl() { HOME=$STATE/run "$(program kubectl)" --kubeconfig "$KUBECONFIG_ADMIN" "$@"; }
