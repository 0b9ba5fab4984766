//! Profiles: what an installation is where a file says nothing else.

use super::InstallError;

/// Their names and contents.
const PROFILES: [(&str, &str); 5] = [
    ("default", include_str!("../../manifests/profiles/default.yaml")),
    ("demo", include_str!("../../manifests/profiles/demo.yaml")),
    ("empty", include_str!("../../manifests/profiles/empty.yaml")),
    ("minimal", include_str!("../../manifests/profiles/minimal.yaml")),
    ("remote", include_str!("../../manifests/profiles/remote.yaml")),
];

/// The profile where none is named.
const USUAL: &str = "default";

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}

/// The content of one; an empty name is the usual one.
pub(super) fn content(name: &str) -> Result<&'static str, InstallError> {
    let wanted = if name.is_empty() { USUAL } else { name };
    let found = PROFILES.iter().find(|(name, _)| *name == wanted);
    found
        .map(|(_, content)| *content)
        .ok_or_else(|| InstallError::Profile { name: wanted.to_owned(), known: names().collect::<Vec<_>>().join(", ") })
}
