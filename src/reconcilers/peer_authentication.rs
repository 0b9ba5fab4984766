//! PeerAuthentications (translation §3.3).

use std::collections::BTreeMap;

use super::{Problems, age, checks, target::For};
use crate::{
    api::{
        self,
        peer_authentication::{MutualTlsMode, PortModes},
    },
    model::{Code, PeerAuthentication, Problem, peer_authentication::MtlsMode},
};

/// What an object asks of the workloads that it is for.
#[must_use]
pub fn convert(policy: &api::PeerAuthentication) -> (Option<PeerAuthentication>, Vec<Problem>) {
    let mut problems = Problems::of("PeerAuthentication", &policy.metadata);
    let spec = &policy.spec;
    For { selector: spec.selector.as_ref(), ..For::default() }.check(&mut problems);
    let selector = spec.selector.as_ref().map(|s| s.match_labels.clone()).filter(|labels| !labels.is_empty());
    let ports = spec.port_level_mtls.as_ref().map(|modes| ports(modes, &mut problems)).unwrap_or_default();
    if selector.is_none() && spec.port_level_mtls.as_ref().is_some_and(|modes| !modes.is_empty()) {
        problems.add(
            Code::PortMtlsWithoutSelector,
            "spec.portLevelMtls",
            "has no effect without a selector with labels",
        );
    }
    let made = PeerAuthentication {
        object: problems.object().clone(),
        age: age(&policy.metadata),
        ports: if selector.is_some() { ports } else { BTreeMap::new() },
        selector,
        mode: spec.mtls.as_ref().and_then(|mtls| mode(mtls.mode)),
    };
    (Some(made), problems.into_vec())
}

/// The modes of single ports.
fn ports(modes: &PortModes, problems: &mut Problems) -> BTreeMap<u16, Option<MtlsMode>> {
    if modes.is_empty() {
        problems.add(Code::ClauseEmpty, "spec.portLevelMtls", "is empty: name a port, or leave it out");
    }
    let port = |port: u32, problems: &mut Problems| {
        checks::port(|| format!("spec.portLevelMtls[{port}]"), port.into(), problems)
    };
    modes.iter().filter_map(|(number, mtls)| Some((port(*number, problems)?, mode(mtls.mode)))).collect()
}

const fn mode(said: MutualTlsMode) -> Option<MtlsMode> {
    match said {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(MtlsMode::Disable),
        MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &str) -> (PeerAuthentication, Vec<String>) {
        let yaml = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: ns}}\nspec: {spec}"
        );
        let (made, problems) = convert(&serde_yaml_ng::from_str(&yaml).expect("a PeerAuthentication"));
        (made.expect("made"), problems.iter().map(|p| format!("{}: {}", p.field, p.reason)).collect())
    }

    #[test]
    fn unset_inherits_and_ports_need_a_selector() {
        let (made, problems) = read("{mtls: {mode: UNSET}, portLevelMtls: {80: {mode: STRICT}}}");
        assert_eq!((made.mode, made.ports.len()), (None, 0));
        assert_eq!(problems, ["spec.portLevelMtls: has no effect without a selector with labels"]);
        let (made, problems) = read(
            "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}, 81: {}, 70000: {}}}",
        );
        assert_eq!(made.mode, Some(MtlsMode::Strict));
        assert_eq!(made.ports, BTreeMap::from([(80, Some(MtlsMode::Disable)), (81, None)]));
        assert_eq!(problems, ["spec.portLevelMtls[70000]: 70000 is not a port: use 1 to 65535"]);
    }
}
