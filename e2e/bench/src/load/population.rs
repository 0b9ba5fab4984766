//! Who the clients are: what is said of each follows from its number. Pure.

use clap::ValueEnum;
use envoy_types::pb::{
    envoy::config::core::v3::{Locality, Node},
    google::protobuf::{Struct, Value, value::Kind},
};
use serde::{Deserialize, Serialize};

use super::Args;

/// Zones of the diverse profile.
pub(super) const ZONES: u32 = 3;

/// Istio versions of the diverse profile; that of the plain one is the first.
const VERSIONS: [&str; 2] = ["1.29.0", "1.28.2"];

/// How clients differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// By namespace only.
    Plain,
    /// By workload, zone and Istio version too. A tenth of the workloads has a Sidecar object, a tenth a
    /// DestinationRule of its own, a tenth an EnvoyFilter; a tenth of the services fails over between zones.
    Diverse,
}

/// All clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Population {
    pub(super) profile: Profile,
    pub(super) namespaces: u32,
    /// Workloads of the diverse profile.
    pub(super) workloads: u32,
    /// Whether they take whole route configurations.
    pub(super) whole_routes: bool,
}

/// What tells a client from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) index: usize,
    pub(super) namespace: u32,
    /// `None` in the plain profile.
    pub(super) workload: Option<u32>,
    zone: u32,
    version: u32,
}

/// Some of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Who {
    Everyone,
    /// Those of a namespace.
    Namespace(u32),
    /// Those of a workload.
    Workload(u32),
    /// Those who see the services of a namespace.
    Seeing(u32),
}

impl Population {
    pub(super) fn new(args: &Args) -> Self {
        let (profile, namespaces, workloads) = (args.profile, args.namespaces, args.workloads);
        Self { profile, namespaces, workloads, whole_routes: args.whole_routes }
    }

    pub(super) fn is_diverse(&self) -> bool {
        self.profile == Profile::Diverse
    }

    pub(super) fn resident(&self, index: usize) -> Resident {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        if !self.is_diverse() {
            return Resident { index, namespace: number % self.namespaces, workload: None, zone: 0, version: 0 };
        }
        let (workload, nth) = (number % self.workloads, number / self.workloads);
        let (zone, version) = (nth % ZONES, nth / ZONES % 2);
        Resident { index, namespace: workload % self.namespaces, workload: Some(workload), zone, version }
    }

    /// A tenth of the workloads: those with a Sidecar object, a DestinationRule or an EnvoyFilter.
    fn tenth(&self, nth: u32) -> std::ops::Range<u32> {
        let size = self.workloads.div_ceil(10);
        if self.is_diverse() { (nth * size).min(self.workloads)..((nth + 1) * size).min(self.workloads) } else { 0..0 }
    }

    /// The workloads that a Sidecar object selects, which imports only what is of their namespace.
    pub(super) fn narrowed(&self) -> std::ops::Range<u32> {
        self.tenth(0)
    }

    /// The workloads that a DestinationRule selects.
    pub(super) fn ruled(&self) -> std::ops::Range<u32> {
        self.tenth(1)
    }

    /// The workloads that an EnvoyFilter selects.
    pub(super) fn patched(&self) -> std::ops::Range<u32> {
        self.tenth(2)
    }

    /// The label `app` of clients of a namespace: of all of them in the plain profile.
    pub(super) fn app(&self, namespace: u32) -> String {
        self.resident(namespace as usize).app()
    }

    pub(super) fn is(&self, resident: &Resident, who: Who) -> bool {
        match who {
            Who::Everyone => true,
            Who::Namespace(namespace) => resident.namespace == namespace,
            Who::Workload(workload) => resident.workload == Some(workload),
            Who::Seeing(namespace) => {
                let narrowed = resident.workload.is_some_and(|w| self.narrowed().contains(&w));
                !narrowed || resident.namespace == namespace
            }
        }
    }

    /// What a client says of itself.
    pub(super) fn node(&self, index: usize) -> Node {
        let resident = self.resident(index);
        let namespace = resident.namespace;
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let nested = |fields: &[(&str, Value)]| Value { kind: Some(Kind::StructValue(object(fields))) };
        let app = resident.app();
        let metadata = object(&[
            ("NAMESPACE", text(&format!("ns-{namespace}"))),
            ("CLUSTER_ID", text("Kubernetes")),
            ("MIZZEN_VHDS", text(if self.whole_routes { "false" } else { "true" })),
            ("ISTIO_VERSION", text(VERSIONS[resident.version as usize])),
            ("WORKLOAD_NAME", text(&app)),
            ("LABELS", nested(&[("app", text(&app))])),
            ("PROXY_CONFIG", nested(&[("discoveryAddress", text("istiod.istio-system.svc:15012"))])),
        ]);
        let locality = resident.workload.map(|_| Locality {
            region: "region".to_owned(),
            zone: format!("zone-{}", resident.zone),
            sub_zone: String::new(),
        });
        Node {
            id: resident.id(),
            cluster: format!("{app}.ns-{namespace}"),
            metadata: Some(metadata),
            locality,
            ..Node::default()
        }
    }
}

impl Resident {
    pub(super) fn id(&self) -> String {
        // 10.0.0.0/9 has room for all of them; configuration uses the other half.
        let [_, a, b, c] = u32::try_from(self.index + 1).unwrap_or(u32::MAX).to_be_bytes();
        let Self { index, namespace, .. } = self;
        format!("sidecar~10.{a}.{b}.{c}~pod-{index}.ns-{namespace}~ns-{namespace}.svc.cluster.local")
    }

    fn app(&self) -> String {
        self.workload.map_or_else(|| "client".to_owned(), workload_name)
    }

    /// Clients of the same class are to have the same.
    pub(super) fn class(&self) -> String {
        let Self { namespace, zone, version, .. } = self;
        format!("{} in ns-{namespace}, zone {zone}, version {version}", self.app())
    }
}

/// The name of a workload, and its label `app`.
pub(super) fn workload_name(workload: u32) -> String {
    format!("workload-{workload}")
}

fn object(fields: &[(&str, Value)]) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
}
