//! Ports of a ServiceEntry.

use std::collections::HashSet;

use super::super::{Problems, checks, rules::is_dns_label};
use crate::{
    api::service_entry as spec,
    model::{Code, Protocol, ServicePort},
};

/// The ports that can be used.
pub(super) fn read(ports: &[spec::ServicePort], problems: &mut Problems) -> Vec<ServicePort> {
    let mut seen = Seen::default();
    if ports.is_empty() {
        problems.add(Code::PortsMissing, "spec.ports", "no ports: nothing is reachable");
    }
    let ports = ports.iter().enumerate();
    ports.filter_map(|(i, port)| read_one(&format!("spec.ports[{i}]"), port, &mut seen, problems)).collect()
}

/// What earlier ports have.
#[derive(Default)]
struct Seen<'a> {
    names: HashSet<&'a str>,
    numbers: HashSet<u16>,
}

fn read_one<'a>(
    field: &str,
    port: &'a spec::ServicePort,
    seen: &mut Seen<'a>,
    problems: &mut Problems,
) -> Option<ServicePort> {
    if !is_dns_label(&port.name) {
        let reason = format!("{:?} is not the name of a port: use letters, digits and inner '-'", port.name);
        problems.add(Code::PortNameInvalid, format!("{field}.name"), reason);
    }
    let protocol = Protocol::parse(&port.protocol);
    if protocol.is_none() && !port.protocol.is_empty() {
        let reason = format!("{:?} is not known: it is detected", port.protocol);
        problems.add(Code::ProtocolUnknown, format!("{field}.protocol"), reason);
    }
    let target = match port.target_port {
        0 => Some(None),
        target => checks::port(|| format!("{field}.targetPort"), target.into(), problems).map(Some),
    };
    let number = checks::port(|| format!("{field}.number"), port.number.into(), problems)?;
    let (new_name, new_number) = (seen.names.insert(&port.name), seen.numbers.insert(number));
    if !new_name {
        problems.add(
            Code::PortDuplicate,
            format!("{field}.name"),
            format!("{:?} is there twice: the first counts", port.name),
        );
    }
    if !new_number {
        problems.add(
            Code::PortDuplicate,
            format!("{field}.number"),
            format!("{number} is there twice: the first counts"),
        );
    }
    (new_name && new_number).then_some(ServicePort {
        name: port.name.as_str().into(),
        number,
        protocol: protocol.unwrap_or(Protocol::Auto),
        target: target?,
        target_name: "".into(),
    })
}
