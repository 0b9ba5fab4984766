//! What a workload is called in OpenTelemetry, by the conventions of Kubernetes, where a provider of the mesh asks for it
//! (contract §5.3).

use k8s_openapi::api::core::v1::Container;
use serde_json::Value;

use super::{
    Context, PROXY,
    annotations::{label, text},
};

/// What `serviceAttributeEnrichment` of a provider must be.
const ENRICHED: &str = "OTEL_SEMANTIC_CONVENTIONS";

/// The value of `OTEL_RESOURCE_ATTRIBUTES`, if any provider asks for it.
pub(super) fn attributes(context: &Context<'_>) -> Option<String> {
    let mut providers = context.settings.mesh_config["extensionProviders"].as_array().into_iter().flatten();
    let asks = |provider: &Value| provider["opentelemetry"]["serviceAttributeEnrichment"] == ENRICHED;
    if !providers.any(asks) {
        return None;
    }
    let (pod, namespace) = (context.target.pod, context.target.namespace);
    let said = |name: &str| text(pod, &format!("resource.opentelemetry.io/{name}")).to_owned();
    let or = |said: String, usual: String| if said.is_empty() { usual } else { said };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).filter(|c| c.name != PROXY);
    let containers: Vec<&Container> = containers.collect();
    let of_image = match containers.as_slice() {
        [only] => version(only.image.as_deref().unwrap_or_default()),
        _ => String::new(),
    };
    // The Pod's name is not known yet: the kubelet puts it in.
    let instance = containers.first().map(|first| format!("{namespace}.$(POD_NAME).{}", first.name));
    let all = [
        ("service.namespace", or(said("service.namespace"), namespace.to_owned())),
        (
            "service.version",
            or(or(said("service.version"), label(pod, "app.kubernetes.io/version").to_owned()), of_image),
        ),
        ("service.instance.id", or(said("service.instance.id"), instance.unwrap_or_default())),
    ];
    let all = all.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}"));
    Some(all.collect::<Vec<_>>().join(",")).filter(|all| !all.is_empty())
}

/// Tag and digest of an image, as far as they are there.
fn version(image: &str) -> String {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    let last = name.rsplit('/').next().unwrap_or_default();
    let tag = last.split_once(':').map_or("", |(_, tag)| tag);
    [tag, digest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("@")
}
