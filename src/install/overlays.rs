//! Patches that a component says of its objects (`k8s.overlays`).

use super::{ComponentName, InstallError, Object, tree};
use crate::api::istio_operator::{Component, Components, Overlay};

/// Applies them; one for an object that is not there is a warning.
pub(super) fn apply(
    components: &Components,
    objects: &mut [Object],
    warnings: &mut Vec<String>,
) -> Result<(), InstallError> {
    let gateways = |list: &'_ [Component]| list.iter().flat_map(|gateway| gateway.k8s.overlays.clone()).collect();
    let all: [(ComponentName, Vec<Overlay>); 4] = [
        (ComponentName::Base, components.base.k8s.overlays.clone()),
        (ComponentName::Pilot, components.pilot.k8s.overlays.clone()),
        (ComponentName::IngressGateways, gateways(&components.ingress_gateways)),
        (ComponentName::EgressGateways, gateways(&components.egress_gateways)),
    ];
    for (component, overlays) in all {
        for overlay in overlays {
            let found = objects.iter_mut().find(|object| object.component == component && is_meant(&overlay, object));
            match found {
                Some(object) => patch(&overlay, object)?,
                None => warnings.push(format!(
                    "an overlay of {component} is for {} {}, which is not among its objects",
                    overlay.kind, overlay.name
                )),
            }
        }
    }
    Ok(())
}

fn is_meant(overlay: &Overlay, object: &Object) -> bool {
    let id = object.id();
    let is_version = overlay.api_version.is_empty() || overlay.api_version == object.r#type.api_version;
    is_version && overlay.kind == id.kind && overlay.name == id.name
}

fn patch(overlay: &Overlay, object: &mut Object) -> Result<(), InstallError> {
    let id = object.id();
    for patch in &overlay.patches {
        let wrong = |reason| InstallError::Overlay { object: id.clone(), path: patch.path.clone(), reason };
        let steps = tree::steps(&patch.path).map_err(wrong)?;
        tree::set(&mut object.value, &steps, patch.value.clone()).map_err(wrong)?;
    }
    Ok(())
}
