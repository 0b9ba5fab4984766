//! What one proxy has, in the form of Envoy's own `config_dump`.

use std::collections::BTreeMap;

use envoy_types::pb::{
    envoy::{
        admin::v3::{
            BootstrapConfigDump, ClustersConfigDump, ConfigDump, EcdsConfigDump, EndpointsConfigDump,
            ListenersConfigDump, RoutesConfigDump, ScopedRoutesConfigDump, SecretsConfigDump,
            clusters_config_dump::DynamicCluster,
            ecds_config_dump::EcdsFilterConfig,
            endpoints_config_dump::DynamicEndpointConfig,
            listeners_config_dump::{DynamicListener, DynamicListenerState},
            routes_config_dump::DynamicRouteConfig,
            secrets_config_dump::DynamicSecret,
        },
        config::{
            core::v3::{DataSource, data_source::Specifier},
            route::v3::{RouteConfiguration, VirtualHost},
        },
        extensions::transport_sockets::tls::v3::{Secret, secret::Type},
    },
    google::protobuf::Any,
};
use prost::Message;

use super::any;
use crate::{
    pb::nds::NameTable,
    snapshot::{Resource, ResourceType, host_name_parts},
    xds::clients::Client,
};

const REDACTED: &str = "[redacted]";

/// What a proxy has, as far as its stream knows, in the order of contract §1.1. Private parts of secrets are
/// replaced.
#[must_use]
pub fn config_dump(client: &Client, with_endpoints: bool) -> ConfigDump {
    let all = |t| -> Vec<(String, Any)> {
        let held = client.machine().contents(t);
        held.into_values().map(|r| (r.version.to_string(), body(t, &r))).collect()
    };
    let mut configs = vec![any(&BootstrapConfigDump::default()), any(&clusters(all(ResourceType::Cluster)))];
    if with_endpoints {
        configs.push(any(&endpoints(all(ResourceType::Endpoint))));
    }
    let listeners = client.machine().contents(ResourceType::Listener).into_values().map(|r| DynamicListener {
        name: r.name.to_string(),
        active_state: Some(DynamicListenerState {
            version_info: r.version.to_string(),
            listener: Some(body(ResourceType::Listener, &r)),
            ..Default::default()
        }),
        ..Default::default()
    });
    configs.push(any(&ListenersConfigDump { dynamic_listeners: listeners.collect(), ..Default::default() }));
    configs.push(any(&ScopedRoutesConfigDump::default()));
    configs.push(any(&routes(with_hosts(client))));
    configs.push(any(&secrets(client)));
    configs.push(any(&extensions(all(ResourceType::ExtensionConfig))));
    ConfigDump { configs }
}

/// The table of names that a proxy's agent has, as far as its stream knows.
#[must_use]
pub fn name_table(client: &Client) -> Option<NameTable> {
    let held = client.machine().contents(ResourceType::NameTable).into_values().next()?;
    NameTable::decode(held.body_bytes()).ok()
}

/// Route configurations with the virtual hosts that were sent apart, under the names that whole ones have.
fn with_hosts(client: &Client) -> Vec<(String, Any)> {
    let (configs, hosts) = {
        let machine = client.machine();
        (machine.contents(ResourceType::Route), machine.contents(ResourceType::VirtualHost))
    };
    let mut pieces: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for (name, resource) in &hosts {
        let (config, plain) = host_name_parts(name);
        let Ok(mut host) = VirtualHost::decode(resource.body_bytes()) else { continue };
        plain.clone_into(&mut host.name);
        let piece = RouteConfiguration { virtual_hosts: vec![host], ..RouteConfiguration::default() };
        pieces.entry(config).or_default().extend(piece.encode_to_vec());
    }
    let made = configs.into_values().map(|r| {
        let mut body = body(ResourceType::Route, &r);
        body.value.extend(pieces.remove(&*r.name).unwrap_or_default());
        (r.version.to_string(), body)
    });
    made.collect()
}

fn body(t: ResourceType, resource: &Resource) -> Any {
    Any { type_url: t.type_url().to_owned(), value: resource.body_bytes().to_vec() }
}

fn clusters(all: Vec<(String, Any)>) -> ClustersConfigDump {
    let made = |(version_info, any)| DynamicCluster { version_info, cluster: Some(any), ..Default::default() };
    ClustersConfigDump { dynamic_active_clusters: all.into_iter().map(made).collect(), ..Default::default() }
}

fn endpoints(all: Vec<(String, Any)>) -> EndpointsConfigDump {
    let made =
        |(version_info, any)| DynamicEndpointConfig { version_info, endpoint_config: Some(any), ..Default::default() };
    EndpointsConfigDump { dynamic_endpoint_configs: all.into_iter().map(made).collect(), ..Default::default() }
}

fn routes(all: Vec<(String, Any)>) -> RoutesConfigDump {
    let made = |(version_info, any)| DynamicRouteConfig { version_info, route_config: Some(any), ..Default::default() };
    RoutesConfigDump { dynamic_route_configs: all.into_iter().map(made).collect(), ..Default::default() }
}

fn extensions(all: Vec<(String, Any)>) -> EcdsConfigDump {
    let made = |(version_info, any)| EcdsFilterConfig { version_info, ecds_filter: Some(any), ..Default::default() };
    EcdsConfigDump { ecds_filters: all.into_iter().map(made).collect() }
}

fn secrets(client: &Client) -> SecretsConfigDump {
    let held = client.machine().contents(ResourceType::Secret);
    let made = held.into_values().map(|r| DynamicSecret {
        name: r.name.to_string(),
        version_info: r.version.to_string(),
        secret: Some(Any {
            type_url: ResourceType::Secret.type_url().to_owned(),
            value: redacted(&r.body_bytes(), &r.name).encode_to_vec(),
        }),
        ..Default::default()
    });
    SecretsConfigDump { dynamic_active_secrets: made.collect(), ..Default::default() }
}

/// A secret without what is private. One that cannot be read shows its name only.
fn redacted(bytes: &[u8], name: &str) -> Secret {
    let mut secret = Secret::decode(bytes).unwrap_or_else(|_| Secret { name: name.to_owned(), ..Secret::default() });
    let hidden =
        || Some(DataSource { specifier: Some(Specifier::InlineString(REDACTED.to_owned())), ..Default::default() });
    match &mut secret.r#type {
        Some(Type::TlsCertificate(certificate)) => {
            certificate.private_key = hidden();
            certificate.pkcs12 = certificate.pkcs12.take().and_then(|_| hidden());
            certificate.password = certificate.password.take().and_then(|_| hidden());
            certificate.private_key_provider = None;
        }
        Some(Type::SessionTicketKeys(keys)) => keys.keys = hidden().into_iter().collect(),
        Some(Type::GenericSecret(generic)) => {
            generic.secret = hidden();
            generic.secrets.clear();
        }
        // Trusted certificates are public.
        Some(Type::ValidationContext(_)) | None => {}
    }
    secret
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::TlsCertificate;

    use super::*;

    #[test]
    fn private_keys_are_not_shown() {
        let inline =
            |s: &str| Some(DataSource { specifier: Some(Specifier::InlineString(s.to_owned())), ..Default::default() });
        let secret = Secret {
            name: "s".to_owned(),
            r#type: Some(Type::TlsCertificate(TlsCertificate {
                certificate_chain: inline("CHAIN"),
                private_key: inline("PRIVATE"),
                password: inline("PASS"),
                ..Default::default()
            })),
        };
        let shown = format!("{:?}", redacted(&secret.encode_to_vec(), "s"));
        assert!(shown.contains("CHAIN") && shown.contains(REDACTED));
        assert!(!shown.contains("PRIVATE") && !shown.contains("\"PASS\""), "{shown}");
        assert_eq!(redacted(b"\xff\xff", "broken").name, "broken");
    }
}
