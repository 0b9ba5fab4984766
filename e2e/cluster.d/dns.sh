# shellcheck shell=bash
# CoreDNS: on the node, behind the Service `kube-dns`. Sourced by ../cluster.

start_dns() {
    cat >"$STATE/Corefile" <<COREFILE
. {
    bind $NODE_IP
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $PKI/coredns.kubeconfig
        pods insecure
    }
}
COREFILE
    kubectl apply --server-side -f - >/dev/null <<YAML || fail_of kube-apiserver 'the Service kube-dns is refused (see above)'
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}}
spec:
  clusterIP: $DNS_IP
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$NODE_IP], conditions: {ready: true}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
- {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects: [{kind: User, name: system:coredns, apiGroup: rbac.authorization.k8s.io}]
YAML
    start_on_node coredns "$(program coredns)" -conf "$STATE/Corefile"
}

await_dns() {
    await 'CoreDNS to know the services' coredns on_node curl -sf http://127.0.0.1:8181/ready
    await 'CoreDNS at its cluster IP' kube-proxy answers "$DNS_IP" 53
}
