//! What is removed again.

use super::{
    ObjectId,
    apply::{Event, Watcher},
    cluster::{Cluster, ClusterError},
    object::{TYPES, labels},
};

/// Which installations are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All, with the namespaces that they made.
    All,
    /// Those of a revision; empty is the default one.
    Revision(String),
    /// That of an IstioOperator.
    Owner {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Only of this revision.
        revision: Option<String>,
    },
}

impl Selection {
    fn selector(&self) -> String {
        let ours = format!("{}={}", labels::MANAGER.0, labels::MANAGER.1);
        let of_revision =
            |revision: &str| format!("{}={}", labels::REVISION, if revision.is_empty() { "default" } else { revision });
        match self {
            Self::All => format!("{ours},{}", labels::COMPONENT),
            Self::Revision(revision) => format!("{ours},{}", of_revision(revision)),
            Self::Owner { name, namespace, revision } => {
                let of_owner = format!("{ours},{}={name},{}={namespace}", labels::OWNER, labels::OWNER_NAMESPACE);
                revision.iter().fold(of_owner, |all, revision| format!("{all},{}", of_revision(revision)))
            }
        }
    }
}

/// What would be removed, in that order.
///
/// # Errors
/// The API server does not say.
pub async fn selected(cluster: &Cluster, selection: &Selection) -> Result<Vec<ObjectId>, ClusterError> {
    let mut all = Vec::new();
    for r#type in TYPES.iter().rev() {
        let is_meant = r#type.is_pruned || (r#type.kind == "Namespace" && *selection == Selection::All);
        if is_meant {
            all.extend(cluster.list(r#type, &selection.selector()).await?);
        }
    }
    Ok(all)
}

/// Removes objects.
///
/// # Errors
/// The first thing that the API server refuses. To try again does the rest.
pub async fn remove(cluster: &Cluster, objects: &[ObjectId], watcher: Watcher<'_>) -> Result<(), ClusterError> {
    for id in objects {
        let r#type = TYPES.iter().find(|known| known.kind == id.kind).expect("a kind that was listed");
        cluster.delete(r#type, id).await?;
        watcher(Event::Removed(id));
    }
    Ok(())
}
