//! From files and settings of the command line to objects.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    InstallError, Object,
    context::Context,
    objects, overlays, profile,
    tree::{self, overlay},
};
use crate::api::istio_operator::{GROUP, KIND, VERSION};

/// What an installation is asked for with.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Files with IstioOperators: where they are from, and their texts. Later ones win.
    pub files: Vec<(String, String)>,
    /// `path=value`, relative to `spec`. They win over files.
    pub settings: Vec<String>,
}

/// What is to be in a cluster.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The objects, in the order of their installation.
    pub objects: Vec<Object>,
    /// What of the input has no effect, or another one than it says.
    pub warnings: Vec<String>,
    /// The namespace of the control plane.
    pub namespace: String,
    /// Its revision; empty is the default one.
    pub revision: String,
    /// The name and namespace of the IstioOperator, by which its objects are found again.
    pub owner: (String, String),
    /// The mesh configuration, for who can tell what of it is not honoured.
    pub mesh: Value,
}

impl Manifest {
    /// From what is asked for.
    ///
    /// # Errors
    /// Something of it cannot be used: it is named.
    pub fn of(input: &Input) -> Result<Self, InstallError> {
        let mut asked = json!({});
        for (origin, text) in &input.files {
            for document in documents(origin, text)? {
                overlay(&mut asked, document);
            }
        }
        Self::of_object(asked, &input.settings)
    }

    /// From one IstioOperator and settings of the command line.
    ///
    /// # Errors
    /// Something of it cannot be used: it is named.
    pub fn of_object(asked: Value, settings: &[String]) -> Result<Self, InstallError> {
        let parsed = settings.iter().map(|text| tree::setting(text).map(|setting| (text, setting)));
        let settings = parsed.collect::<Result<Vec<_>, InstallError>>()?;
        let of_file = asked.pointer("/spec/profile").map(text).unwrap_or_default();
        let wanted = settings.iter().rev().find(|(_, (path, _))| *path == [tree::Step::Key("profile".to_owned())]);
        let profile = wanted.map_or(of_file, |(_, (_, value))| text(value));
        let mut all: Value = serde_yaml_ng::from_str(profile::content(&profile)?)
            .map_err(|source| InstallError::Syntax { origin: format!("profile {profile}"), source })?;
        overlay(&mut all, asked);
        for (text, (path, value)) in settings {
            tree::set(&mut all["spec"], &path, Some(value))
                .map_err(|reason| InstallError::Set { text: text.clone(), reason })?;
        }
        tree::amounts_as_text(&mut all);
        let mut warnings = Vec::new();
        let context = Context::new(all, &mut warnings)?;
        let mut objects = objects::all(&context)?;
        overlays::apply(&context.spec.components, &mut objects, &mut warnings)?;
        objects.sort_by_key(Object::rank);
        let Context { namespace, revision, owner, injector, .. } = context;
        Ok(Self { objects, warnings, namespace, revision, owner, mesh: injector.mesh })
    }

    /// The objects as YAML.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let document = |object: &Object| serde_yaml_ng::to_string(&object.value).expect("an object is plain data");
        self.objects.iter().map(|object| format!("---\n{}", document(object))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn documents(origin: &str, text: &str) -> Result<Vec<Value>, InstallError> {
    let mut all = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document)
            .map_err(|source| InstallError::Syntax { origin: origin.to_owned(), source })?;
        if value.is_null() {
            continue;
        }
        let said = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (said("apiVersion"), said("kind"));
        if kind != KIND || api_version != format!("{GROUP}/{VERSION}") {
            let found = match kind {
                "" => "something without a kind".to_owned(),
                kind => format!("a {kind} of {api_version}"),
            };
            return Err(InstallError::Kind { origin: origin.to_owned(), found });
        }
        all.push(value);
    }
    Ok(all)
}
