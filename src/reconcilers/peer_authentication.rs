//! PeerAuthentications (translation §3.3).

use std::collections::BTreeMap;

use super::{Problems, age, selector::check_labels};
use crate::{
    api::{self, peer_authentication::MutualTlsMode},
    model::{Code, PeerAuthentication, Problem, peer_authentication::MtlsMode},
};

/// What an object asks of the workloads that it is for.
#[must_use]
pub fn convert(policy: &api::PeerAuthentication) -> (Option<PeerAuthentication>, Vec<Problem>) {
    let mut problems = Problems::of("PeerAuthentication", &policy.metadata);
    let spec = &policy.spec;
    let selector = spec.selector.as_ref().map(|s| s.match_labels.clone()).filter(|labels| !labels.is_empty());
    if let Some(labels) = &selector {
        check_labels("spec.selector.matchLabels", labels, &mut problems);
    } else if !spec.port_level_mtls.is_empty() {
        problems.add(
            Code::PortMtlsWithoutSelector,
            "spec.portLevelMtls",
            "has no effect without a selector with labels",
        );
    }
    let mut ports = BTreeMap::new();
    for (port, mtls) in spec.port_level_mtls.iter().filter(|_| selector.is_some()) {
        match u16::try_from(*port) {
            Ok(number @ 1..) => _ = ports.insert(number, mode(mtls.mode)),
            _ => problems.add(
                Code::PortOutOfRange,
                format!("spec.portLevelMtls[{port}]"),
                format!("{port} is not a port: 1 to 65535"),
            ),
        }
    }
    let made = PeerAuthentication {
        object: problems.object().clone(),
        age: age(&policy.metadata),
        selector,
        mode: spec.mtls.as_ref().and_then(|mtls| mode(mtls.mode)),
        ports,
    };
    (Some(made), problems.into_vec())
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
        assert_eq!(problems, ["spec.portLevelMtls[70000]: 70000 is not a port: 1 to 65535"]);
    }
}
