# shellcheck shell=bash
# etcd, the API server, the controllers, the scheduler. Sourced by ../cluster.
#
# They run in the node's network, so that the API server reaches webhooks at the addresses of pods and services.

start_etcd() {
    # What is in there does not outlive the cluster: no need to wait for the disk.
    start_on_node etcd "$(program etcd)" --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn
}

start_api_server() {
    local options=(
        --etcd-servers=http://127.0.0.1:2379
        --advertise-address="$NODE_IP"
        --secure-port=6443
        --service-cluster-ip-range="$SERVICE_CIDR"
        --authorization-mode="Node,RBAC"
        --enable-admission-plugins=NodeRestriction
        --allow-privileged=true
        --client-ca-file="$PKI/ca.crt"
        --tls-cert-file="$PKI/kube-apiserver.crt"
        --tls-private-key-file="$PKI/kube-apiserver.key"
        --kubelet-certificate-authority="$PKI/ca.crt"
        --kubelet-client-certificate="$PKI/kube-apiserver-client.crt"
        --kubelet-client-key="$PKI/kube-apiserver-client.key"
        --kubelet-preferred-address-types=InternalIP
        --service-account-issuer=https://kubernetes.default.svc.cluster.local
        --service-account-key-file="$PKI/service-accounts.key"
        --service-account-signing-key-file="$PKI/service-accounts.key"
        --cert-dir="$STATE/run"
    )
    await etcd etcd on_node curl -sf http://127.0.0.1:2379/health
    start_on_node kube-apiserver "$(program kube-apiserver)" "${options[@]}"
    await 'the API server' kube-apiserver kubectl get --raw /readyz
}

start_controllers() {
    start_controller kube-controller-manager --root-ca-file="$PKI/ca.crt" --use-service-account-credentials \
        --service-account-private-key-file="$PKI/service-accounts.key" \
        --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
    start_controller kube-scheduler
}

start_controller() { # name option…
    local config=$PKI/$1.kubeconfig
    # Not looked up is how aggregated API servers authenticate: there are none.
    start_on_node "$1" "$(program "$1")" --kubeconfig="$config" --authorization-kubeconfig="$config" \
        --authentication-kubeconfig="$config" --authentication-skip-lookup --leader-elect=false \
        --bind-address=127.0.0.1 --cert-dir="$STATE/run" "${@:2}"
}
