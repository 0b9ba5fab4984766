# shellcheck shell=bash
# containerd, kubelet and kube-proxy. Sourced by ../cluster.

start_containerd() {
    write_cni
    write_containerd_config
    start_on_node containerd containerd --config "$STATE/containerd.toml"
}

write_cni() {
    mkdir -p "$STATE/cni"
    cat >"$STATE/cni/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
JSON
}

write_containerd_config() {
    cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause:local"
  # Without the right to lower a score, runc fails ("can't get final child's PID from pipe").
  restrict_oom_score_adj = true
  disable_apparmor = true
  # As other runtimes have it: a gateway listens on port 80 without being root.
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
TOML
}

start_node() {
    write_kubelet_config
    await containerd containerd ctr_here version
    start_on_node kubelet "$(program kubelet)" --config "$STATE/kubelet.yaml" --kubeconfig "$PKI/kubelet.kubeconfig" \
        --hostname-override "$NODE" --node-ip "$NODE_IP"
    # The limits of connection tracking belong to the whole machine: nothing of them is set.
    start_on_node kube-proxy "$(program kube-proxy)" --kubeconfig "$PKI/kube-proxy.kubeconfig" \
        --hostname-override "$NODE" --proxy-mode iptables --iptables-min-sync-period 100ms --cluster-cidr "$POD_CIDR" \
        --oom-score-adj 0 --conntrack-max-per-core 0 --conntrack-min 0 \
        --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
}

write_kubelet_config() {
    # Nothing outside of the cluster has a name.
    : >"$STATE/resolv.conf"
    cat >"$STATE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
volumePluginDir: /var/lib/kubelet/volume-plugins
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $STATE/resolv.conf
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
maxPods: 200
# Changed ConfigMaps and Secrets are in Pods after seconds, not a minute.
syncFrequency: 5s
# Lowering the score is a right that not every machine gives.
oomScoreAdj: 0
# The disk is the machine's: images and pods stay, however full it is.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
YAML
}

await_node() {
    await 'the node to be ready' kubelet kubectl wait --for=condition=Ready "node/$NODE" --timeout=1s
    await 'service accounts' kube-controller-manager kubectl get serviceaccount default
    await 'the API server at its cluster IP' kube-proxy answers "$API_SERVICE_IP" 443
}

# Whether a port accepts connections on the node.
answers() { # address port
    on_node timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2"
}
