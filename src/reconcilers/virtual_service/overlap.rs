//! Hosts of an object that stand for the same names.

use crate::{model::Code, reconcilers::Problems};

/// Reports hosts that lie within a wildcard of the same object. Read from behind, what lies within a wildcard begins
/// like it, and so stands behind it in order.
pub(super) fn check(hosts: &[String], problems: &mut Problems) {
    if !hosts.iter().any(|host| host.starts_with('*')) {
        return;
    }
    let backwards = |host: &String| host.trim_start_matches('*').chars().rev().collect::<String>();
    let mut sorted: Vec<(String, bool, usize)> =
        hosts.iter().enumerate().map(|(i, host)| (backwards(host), host.starts_with('*'), i)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut around: Vec<(&str, usize)> = Vec::new();
    for (text, wildcard, index) in &sorted {
        while around.last().is_some_and(|(wide, _)| !text.starts_with(wide)) {
            around.pop();
        }
        if let Some((wide, by)) = around.last()
            && *wide != text
        {
            let reason = format!("{:?} lies within {:?}, which is there as well", hosts[*index], hosts[*by]);
            problems.add(Code::HostOverlap, format!("spec.hosts[{index}]"), reason);
        }
        if *wildcard {
            around.push((text, *index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hosts: &[&str]) -> Vec<String> {
        let mut problems = Problems::of("VirtualService", &Default::default());
        check(&hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), &mut problems);
        problems.into_vec().into_iter().map(|p| p.field).collect()
    }

    #[test]
    fn what_lies_within_a_wildcard_is_told() {
        assert_eq!(found(&["a.com", "*.a.com", "b.com"]), Vec::<String>::new());
        assert_eq!(found(&["x.a.com", "*.a.com"]), ["spec.hosts[0]"]);
        assert_eq!(found(&["*.b.com", "*.a.com", "*.x.a.com", "y.x.a.com"]), ["spec.hosts[2]", "spec.hosts[3]"]);
        assert_eq!(found(&["*", "a", "*.b"]), ["spec.hosts[1]", "spec.hosts[2]"]);
        assert_eq!(found(&["xa.com", "*.a.com"]), Vec::<String>::new());
    }
}
