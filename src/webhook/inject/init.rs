//! The init container that redirects traffic to the proxy (contract §5.3, §6.5).

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    Context, INIT, InjectError, annotations,
    proxy::{USER, image_type, interception},
};

const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
/// Never redirected: Envoy's metrics and readiness.
const OWN_PORTS: &str = "15090,15021";

/// The container; none where nothing is redirected.
pub(super) fn containers(context: &Context<'_>) -> Result<Vec<Value>, InjectError> {
    if interception(context) == "NONE" {
        return Ok(Vec::new());
    }
    let values = &context.settings.values.global;
    let mut made = json!({
        "name": INIT,
        "image": values.image(&values.proxy_init.image, image_type(context.target.pod).unwrap_or_default()),
        "args": arguments(context)?,
        "securityContext": {
            "allowPrivilegeEscalation": values.proxy.privileged,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": values.proxy.privileged,
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
        "resources": values.proxy_init.resources.as_ref().unwrap_or(&values.proxy.resources),
    });
    if !values.image_pull_policy.is_empty() {
        made["imagePullPolicy"] = values.image_pull_policy.as_str().into();
    }
    let variables: Vec<Value> =
        context.config.proxy_metadata().map(|(name, value)| json!({"name": name, "value": value})).collect();
    if !variables.is_empty() {
        made["env"] = variables.into();
    }
    Ok(vec![made])
}

fn arguments(context: &Context<'_>) -> Result<Vec<String>, InjectError> {
    let (pod, values) = (context.target.pod, &context.settings.values.global);
    let traffic = |name: &str| format!("traffic.sidecar.istio.io/{name}");
    let ranges = |name: &str, usual: &str| {
        Ok::<_, InjectError>(annotations::ranges(pod, &traffic(name))?.unwrap_or(usual).to_owned())
    };
    let ports = |name: &str, usual: &str| {
        Ok::<_, InjectError>(annotations::ports(pod, &traffic(name))?.unwrap_or(usual).to_owned())
    };
    let excluded = ports("excludeInboundPorts", &values.proxy.exclude_inbound_ports)?;
    let status = status_port(context)?.filter(|port| *port > 0).map(|port| port.to_string());
    let never = [Some(OWN_PORTS.to_owned()), status, Some(excluded).filter(|ports| !ports.is_empty())];
    let mut all: Vec<String> = vec!["istio-iptables".to_owned()];
    let mut flag = |name: &str, value: String| all.extend([name.to_owned(), value]);
    flag("-p", OUTBOUND.to_string());
    flag("-z", INBOUND.to_string());
    flag("-u", USER.to_string());
    flag("-m", interception(context).to_owned());
    flag("-i", ranges("includeOutboundIPRanges", &values.proxy.include_ip_ranges)?);
    flag("-x", ranges("excludeOutboundIPRanges", &values.proxy.exclude_ip_ranges)?);
    flag("-b", ports("includeInboundPorts", &values.proxy.include_inbound_ports)?);
    flag("-d", never.into_iter().flatten().collect::<Vec<_>>().join(","));
    let optional = [
        ("-q", ports("includeOutboundPorts", &values.proxy.include_outbound_ports)?),
        ("-o", ports("excludeOutboundPorts", &values.proxy.exclude_outbound_ports)?),
        ("-k", rerouted(pod).to_owned()),
        ("-c", annotations::text(pod, &traffic("excludeInterfaces")).to_owned()),
    ];
    optional.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(name, value)| flag(name, value));
    let level = annotations::given(pod, "sidecar.istio.io/agentLogLevel").unwrap_or(&values.logging.level);
    all.push(format!("--log_output_level={level}"));
    Ok(all)
}

/// The interfaces of virtual machines in the Pod; the older name counts where the newer one is not there.
fn rerouted(pod: &Pod) -> &str {
    let newer = annotations::given(pod, "istio.io/reroute-virtual-interfaces");
    newer.unwrap_or_else(|| annotations::text(pod, "traffic.sidecar.istio.io/kubevirtInterfaces"))
}

/// The port of the agent's pages, to which the node's probes go; 0 is none.
pub(super) fn status_port(context: &Context<'_>) -> Result<Option<u16>, InjectError> {
    const ANNOTATION: &str = "status.sidecar.istio.io/port";
    match annotations::text(context.target.pod, ANNOTATION) {
        "" => Ok(Some(context.config.port("statusPort")?)),
        text => text.parse().map(Some).map_err(|_| annotations::wrong(ANNOTATION, text, "a port, or 0 for none")),
    }
}
