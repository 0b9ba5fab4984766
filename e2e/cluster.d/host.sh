# shellcheck shell=bash
# What this machine has to have. Sourced by ../cluster.
# shellcheck disable=SC2154 # root is of common.sh

# A program, and the package and versions of Debian 12 that it comes with.
PACKAGES='
containerd containerd=1.6.*
runc runc=1.1.*
iptables iptables=1.8.*
ip iproute2=6.*
mmdebstrap mmdebstrap=1.3.*
buildah buildah=1.28.*
openssl openssl=3.*
/usr/lib/cni/bridge containernetworking-plugins=1.1.*
'
KUBERNETES=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)

need_root() { [[ $(id -u) == 0 ]] || fail 'the namespaces and cgroups of a node need root: run it as root'; }

need_host() {
    local command package missing=()
    for command in unshare nsenter setsid flock cc strip curl python3; do
        command -v "$command" >/dev/null || fail "$command is missing: install it"
    done
    while read -r command package; do
        [[ -z $command ]] || command -v "$command" >/dev/null || missing+=("$package")
    done <<<"$PACKAGES"
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

install_packages() {
    command -v apt-get >/dev/null || fail "this machine has no apt: install ${*%%=*} (versions as Debian 12 has them)"
    say "installing ${*%%=*}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"; } >&2 ||
        fail "apt cannot install $* (see above)"
}

# Fails here, rather than in the middle, when a program is not to be had.
get_programs() {
    "$root/e2e/tools/fetch" etcd kubectl envoy coredns "${KUBERNETES[@]}" >/dev/null ||
        fail 'a program cannot be had (see above)'
}
