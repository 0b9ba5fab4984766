# shellcheck shell=bash
# Who is who: one authority, a certificate for each component, and its kubeconfig. Sourced by ../cluster.

make_credentials() {
    mkdir -m 700 "$PKI"
    sign ca /CN=kubernetes-ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
    issue kube-apiserver /CN=kube-apiserver \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
    issue kube-apiserver-client /O=system:masters/CN=kube-apiserver
    issue kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
    # Signs the tokens of service accounts.
    openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/service-accounts.key"

    write_kubeconfig kubelet kubelet
    local user
    for user in kube-controller-manager kube-scheduler kube-proxy coredns; do
        issue "$user" "/CN=system:$user"
        write_kubeconfig "$user" "$user"
    done
    issue admin /O=system:masters/CN=admin
    write_kubeconfig admin ../admin
}

# A certificate for servers and clients.
issue() { # name subject [alternative names]
    sign "$1" "$2" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -addext basicConstraints=critical,CA:FALSE \
        -addext extendedKeyUsage=serverAuth,clientAuth ${3:+-addext "subjectAltName=$3"}
}

sign() { # name subject option…
    openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 30 -subj "$2" \
        -keyout "$PKI/$1.key" -out "$PKI/$1.crt" "${@:3}" 2>>"$STATE/log/pki.log" ||
        fail "openssl cannot make the certificate $1 (see $STATE/log/pki.log)"
}

write_kubeconfig() { # certificate, file below pki
    local file=$PKI/$2.kubeconfig
    cat >"$file" <<YAML
apiVersion: v1
kind: Config
current-context: $NAME
contexts: [{name: $NAME, context: {cluster: $NAME, user: $1}}]
clusters:
- name: $NAME
  cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w 0 "$PKI/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w 0 "$PKI/$1.crt"), client-key-data: $(base64 -w 0 "$PKI/$1.key")}
YAML
    chmod 600 "$file"
}
