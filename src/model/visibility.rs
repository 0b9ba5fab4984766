//! Who sees an object (`exportTo`; translation §2).

use std::{borrow::Cow, collections::BTreeSet};

use super::Namespace;

/// To whom an object is visible.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Every namespace.
    #[default]
    Public,
    /// These namespaces; empty is nobody.
    Namespaces(BTreeSet<Namespace>),
}

impl Visibility {
    /// Whether a proxy of this namespace sees it.
    #[must_use]
    pub fn admits(&self, namespace: &str) -> bool {
        match self {
            Self::Public => true,
            Self::Namespaces(set) => set.contains(namespace),
        }
    }
}

/// The visibility of objects that say nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum DefaultVisibility {
    /// Every namespace.
    #[default]
    Public,
    /// Some namespaces.
    Namespaces {
        /// That of the object (`.`).
        own: bool,
        /// Those that are named.
        named: BTreeSet<Namespace>,
    },
}

impl DefaultVisibility {
    /// Who sees an object of a namespace; `said` is what the object says of it.
    #[must_use]
    pub fn over<'a>(&self, said: Option<&'a Visibility>, namespace: &Namespace) -> Cow<'a, Visibility> {
        said.map_or_else(|| Cow::Owned(self.of(namespace)), Cow::Borrowed)
    }

    /// Who sees an object of a namespace that says nothing of it.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> Visibility {
        match self {
            Self::Public => Visibility::Public,
            Self::Namespaces { own, named } => {
                let own = own.then(|| namespace.clone());
                Visibility::Namespaces(named.iter().cloned().chain(own).collect())
            }
        }
    }
}

/// The mesh's defaults by kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ExportDefaults {
    /// `defaultServiceExportTo`: of Services and ServiceEntries.
    pub services: DefaultVisibility,
    /// `defaultVirtualServiceExportTo`.
    pub virtual_services: DefaultVisibility,
    /// `defaultDestinationRuleExportTo`.
    pub destination_rules: DefaultVisibility,
}
