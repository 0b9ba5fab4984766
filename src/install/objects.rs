//! The objects of each component.

mod access;
mod base;
mod common;
mod gateway;
mod injector;
mod mesh;
pub(super) mod operator;
mod pilot;
mod validator;

use super::{ComponentName, InstallError, Object, context::Context};
use crate::api::istio_operator::Component;

/// All objects that are asked for.
pub(super) fn all(context: &Context) -> Result<Vec<Object>, InstallError> {
    let components = &context.spec.components;
    let mut all = Vec::new();
    if components.base.enabled == Some(true) {
        all.extend(base::definitions(context));
    }
    let mut namespaces = Vec::new();
    if components.base.enabled == Some(true) || components.pilot.enabled == Some(true) {
        namespaces.push((ComponentName::Base, context.namespace.clone()));
    }
    if components.pilot.enabled == Some(true) {
        let made = pilot::objects(context).into_iter().chain(access::of_control_plane(context));
        let made = made.chain(mesh::objects(context)).chain(injector::objects(context));
        let made = made.chain(validator::objects(context));
        all.extend(made.map(|value| Object::new(ComponentName::Pilot, value)));
    }
    for (component, path, list) in [
        (ComponentName::IngressGateways, "ingressGateways", &components.ingress_gateways),
        (ComponentName::EgressGateways, "egressGateways", &components.egress_gateways),
    ] {
        check_names(context, path, list)?;
        for gateway in list.iter().filter(|gateway| gateway.enabled == Some(true)) {
            let namespace = gateway::namespace(context, gateway);
            if !namespaces.iter().any(|(_, known)| known == namespace) {
                namespaces.push((component, namespace.to_owned()));
            }
            let made = gateway::objects(context, component, gateway)?;
            all.extend(made.into_iter().map(|value| Object::new(component, value)));
        }
    }
    all.extend(namespaces.into_iter().map(|(component, name)| Object::new(component, base::namespace(&name))));
    for object in &mut all {
        common::label(context, object);
    }
    Ok(all)
}

/// Each gateway must have a name, and no other one in its namespace the same.
fn check_names(context: &Context, path: &str, list: &[Component]) -> Result<(), InstallError> {
    for (i, gateway) in list.iter().enumerate() {
        let wrong =
            |reason: String| Err(InstallError::Value { path: format!("spec.components.{path}[{i}].name"), reason });
        if gateway.name.is_empty() {
            return wrong("must be given".to_owned());
        }
        let place = |gateway: &Component| (gateway.name.clone(), gateway::namespace(context, gateway).to_owned());
        if list[..i].iter().any(|other| place(other) == place(gateway)) {
            return wrong(format!("{:?} is the name of another one in the same namespace", gateway.name.0));
        }
    }
    Ok(())
}
