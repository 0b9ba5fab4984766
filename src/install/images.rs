//! Which images are used. Istio's own hold its programs, which take no part in this control plane.

use crate::api::istio_operator::Text;

/// Where Istio publishes its images.
const OF_ISTIO: [&str; 7] = [
    "docker.io/istio",
    "istio",
    "gcr.io/istio-release",
    "gcr.io/istio-testing",
    "registry.istio.io",
    "ghcr.io/istio",
    "quay.io/istio",
];
/// The names of its images that have a counterpart here.
const NAMES_OF_ISTIO: [&str; 4] = ["pilot", "proxyv2", "auto", "install-cni"];
/// The image of the control plane.
pub(super) const CONTROL_PLANE: &str = "mizzen";
/// The image of proxies.
pub(super) const PROXY: &str = "mizzen-proxy";
/// Where images are where nothing is said.
const HUB: &str = "mizzen";

/// Where images are, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Images {
    pub(super) hub: String,
    pub(super) tag: String,
}

impl Images {
    /// From what is said; adds a warning for what is not used.
    pub(super) fn of(hub: Option<&Text>, tag: Option<&Text>, warnings: &mut Vec<String>) -> Self {
        let usual_tag = || env!("CARGO_PKG_VERSION").to_owned();
        let said = |text: Option<&Text>| text.map(|text| text.0.clone());
        match (said(hub), said(tag)) {
            (Some(hub), tag) if is_of_istio(&hub) => {
                let images = Self { hub: HUB.to_owned(), tag: usual_tag() };
                let theirs = tag.map_or_else(|| hub.clone(), |tag| format!("{hub} and tag {tag}"));
                warnings.push(format!(
                    "hub {theirs} are Istio's own images, which are not used: {HUB}/{CONTROL_PLANE}:{} and \
                     {HUB}/{PROXY}:{} are",
                    images.tag, images.tag
                ));
                images
            }
            (None, Some(tag)) if is_version_of_istio(&tag) => {
                warnings.push(format!(
                    "tag {tag} is a version of Istio, whose images are not used: tag {} of {HUB} is",
                    usual_tag()
                ));
                Self { hub: HUB.to_owned(), tag: usual_tag() }
            }
            (hub, tag) => Self { hub: hub.unwrap_or_else(|| HUB.to_owned()), tag: tag.unwrap_or_else(usual_tag) },
        }
    }

    /// The reference of an image by what is said of it: nothing or Istio's name is ours.
    pub(super) fn reference(&self, said: &str, ours: &str) -> String {
        let image = if said.is_empty() || is_name_of_istio(said) { ours } else { said };
        if image.contains('/') || image.contains(':') {
            image.to_owned()
        } else if self.hub.is_empty() {
            format!("{image}:{}", self.tag)
        } else {
            format!("{}/{image}:{}", self.hub, self.tag)
        }
    }
}

/// Whether an image is called as one of Istio's.
pub(super) fn is_name_of_istio(image: &str) -> bool {
    NAMES_OF_ISTIO.contains(&image) || image.rsplit_once('/').is_some_and(|(hub, _)| is_of_istio(hub))
}

fn is_of_istio(hub: &str) -> bool {
    let hub = hub.trim_end_matches('/');
    OF_ISTIO.iter().any(|known| hub == *known || hub.strip_prefix(known).is_some_and(|rest| rest.starts_with('/')))
}

/// `1.23.0`, `1.24-alpha.…`, `1.23.0-distroless`, `latest`.
fn is_version_of_istio(tag: &str) -> bool {
    let mut parts = tag.split(['.', '-']);
    let is_number = |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    parts.next() == Some("1") && is_number(parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(hub: Option<&str>, tag: Option<&str>) -> (Images, Vec<String>) {
        let text = |text: &str| Text(text.to_owned());
        let mut warnings = Vec::new();
        (Images::of(hub.map(text).as_ref(), tag.map(text).as_ref(), &mut warnings), warnings)
    }

    #[test]
    fn images_of_istio_are_replaced_with_a_warning() {
        for (hub, tag) in [
            (Some("docker.io/istio"), Some("1.23.0")),
            (Some("gcr.io/istio-release/"), None),
            (Some("registry.istio.io/release"), Some("1.30.0")),
            (None, Some("1.23.0-distroless")),
        ] {
            let (made, warnings) = images(hub, tag);
            assert_eq!(
                (made.hub.as_str(), made.tag.as_str()),
                ("mizzen", env!("CARGO_PKG_VERSION")),
                "{hub:?} {tag:?}"
            );
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].contains(tag.or(hub).expect("one")), "{warnings:?}");
        }
    }

    #[test]
    fn other_images_are_used_as_they_are_named() {
        let (local, warnings) = images(Some(""), Some("local"));
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(local.reference("", CONTROL_PLANE), "mizzen:local");
        assert_eq!(local.reference("pilot", CONTROL_PLANE), "mizzen:local");
        assert_eq!(local.reference("docker.io/istio/pilot:1.23.0", CONTROL_PLANE), "mizzen:local");
        assert_eq!(local.reference("example.org/own:1", CONTROL_PLANE), "example.org/own:1");
        let (mirror, warnings) = images(Some("example.org/mesh"), Some("1.2.3"));
        assert_eq!(
            (mirror.reference("proxyv2", PROXY), warnings.len()),
            ("example.org/mesh/mizzen-proxy:1.2.3".into(), 0)
        );
        assert_eq!(images(None, None).0.hub, "mizzen");
    }
}
