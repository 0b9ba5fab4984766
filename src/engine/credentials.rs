//! Secrets that proxies ask for by name (contract §3.4).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    graph::{Cx, OwnPart, Query},
    index::{Named, RuleSecrets, SecretsNamed},
    inputs::{AuthorityMaps, NamespacedName, Secrets},
    stage,
};
use crate::{
    model::{
        Namespace, SecretState, TlsSecret,
        secret::{CONFIG_MAP, SecretUse},
    },
    snapshot::{Encoder, Name, Refs, ResourceType, Slot},
    translate::secrets::{tls_certificate_secret, validation_context_secret},
};

/// The suffix of a credential that holds only a CA.
const CA_SUFFIX: &str = "-cacert";

/// The Secret of a resource name as proxies of a namespace mean it, and whether its CA is meant.
///
/// The CA of credential `n` is Secret `n-cacert`, else the CA keys of Secret `n`; so it is with ConfigMaps, which hold
/// nothing else, and may be of any namespace.
fn resolve<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace, resource: &str) -> Option<(Arc<TlsSecret>, bool)> {
    if let Some((owner, name)) = resource.strip_prefix(CONFIG_MAP).and_then(|name| name.split_once('/')) {
        let mut find = |name: &str| cx.input(&AuthorityMaps(NamespacedName::new(owner, name)));
        return find(name).or_else(|| find(name.strip_suffix(CA_SUFFIX)?)).map(|s| (s, true));
    }
    let name = resource.strip_prefix("kubernetes://")?;
    let (owner, name) = name.split_once('/').unwrap_or((namespace, name));
    // Secrets of another namespace are nobody's business (translation §7.5).
    if *owner != **namespace {
        return None;
    }
    let mut find = |name: &str| cx.input(&Secrets(NamespacedName::new(owner, name)));
    let Some(base) = name.strip_suffix(CA_SUFFIX) else { return find(name).map(|s| (s, false)) };
    find(name).or_else(|| find(base)).map(|s| (s, true))
}

/// Whether the secret of a resource name can be served to proxies of a namespace.
pub(super) fn secret_state<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace, name: &str) -> SecretState {
    resolve(cx, namespace, name).map_or(SecretState::Missing, |(secret, of_ca)| {
        if of_ca { secret.authorities.state() } else { secret.certificate.state() }
    })
}

/// Whether the secret of a resource name can be served to proxies of any namespace: of which one they are is not known
/// here. What makes a secret unusable says more than that there is none elsewhere.
pub(super) fn state_anywhere<Q: Query>(cx: &mut Cx<'_, Q>, resource: &str) -> SecretState {
    let (kind, path) = match (resource.strip_prefix(CONFIG_MAP), resource.strip_prefix("kubernetes://")) {
        (Some(path), _) => ("ConfigMap", path),
        (None, Some(path)) => ("Secret", path),
        (None, None) => return SecretState::Missing,
    };
    let (owner, name) = path.split_once('/').map_or((None, path), |(owner, name)| (Some(owner), name));
    let base = name.strip_suffix(CA_SUFFIX);
    let of_ca = kind == "ConfigMap" || base.is_some();
    let mut found: BTreeMap<Namespace, SecretUse> = BTreeMap::new();
    // What has the whole name goes before what has it without the suffix.
    for name in base.into_iter().chain([name]) {
        let all = cx.set(&SecretsNamed(kind, name.into()));
        found.extend(all.iter().filter(|(namespace, _)| owner.is_none_or(|o| *o == **namespace)).cloned());
    }
    let states: BTreeSet<SecretState> =
        found.into_values().map(|u| if of_ca { u.authorities } else { u.certificate }).collect();
    let broken = states.iter().find(|state| matches!(state, SecretState::Broken(_)));
    let best = states.get(&SecretState::Present).or(broken);
    best.cloned().unwrap_or(SecretState::Missing)
}

/// The resources of these names for proxies of a namespace.
pub(super) fn secrets<Q: Query>(
    cx: &mut Cx<'_, Q>,
    namespace: &Namespace,
    names: impl IntoIterator<Item = Name>,
) -> impl Iterator<Item = (Name, Slot)> {
    names.into_iter().map(|name| {
        let item = cx.get(&SecretItem { namespace: namespace.clone(), name: name.clone() });
        (name, item)
    })
}

/// The secrets of sidecars of a namespace: those that its DestinationRules name for workloads that they select, and
/// ConfigMaps that any rule names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SidecarSecrets(pub(super) Namespace);

impl Query for SidecarSecrets {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let sets = [Named::BySelective(self.0.clone()), Named::Public].map(|set| cx.set(&RuleSecrets(set)));
        let names: BTreeSet<Name> = sets.iter().flat_map(|set| set.iter().cloned()).collect();
        OwnPart::of(self, secrets(cx, &self.0, names))
    }
}

/// The resource of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SecretItem {
    namespace: Namespace,
    name: Name,
}

impl Query for SecretItem {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let (secret, of_ca) = resolve(cx, &self.namespace, &self.name)?;
        let message = if of_ca {
            validation_context_secret(&self.name, secret.authorities.ready()?)
        } else {
            tls_certificate_secret(&self.name, secret.certificate.ready()?)
        };
        Some(Arc::new(Encoder::message(ResourceType::Secret, self.name.clone(), &message, Refs::default())))
    }
}
