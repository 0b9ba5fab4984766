//! The cases of validation: objects, and what is found in them.
//!
//! ```text
//!  e2e/fixtures/validation/<kind>.yaml   a list of
//!    - name: what the case shows
//!      object: {apiVersion, kind, metadata, spec}        or, over an earlier case of the file:
//!      base: <name>   set: {path: value}   unset: [path]   repeat: {path: how often the text there}
//!      findings: ["MZ0106 spec.servers[0].port.number"]  none at all when the list is empty
//!  e2e/golden/validation/<kind>.txt      what is said, written by `just bless`
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A case of a file.
#[derive(Clone, Debug)]
pub struct ValidationCase {
    /// What it shows; unique in its file.
    pub name: String,
    /// The object.
    pub object: Value,
    /// Code and path of each finding, in their order.
    pub findings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    object: Option<Value>,
    base: Option<String>,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    unset: Vec<String>,
    #[serde(default)]
    repeat: BTreeMap<String, usize>,
    findings: Vec<String>,
}

impl ValidationCase {
    /// The files of cases, by kind.
    ///
    /// # Errors
    /// When one cannot be read, or a case is not of the form above.
    pub fn all() -> Result<BTreeMap<String, Vec<Self>>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/validation");
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            let kind = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            files.insert(kind, Self::of_file(&path).with_context(|| path.display().to_string())?);
        }
        ensure!(!files.is_empty(), "no cases in {}", folder.display());
        Ok(files)
    }

    /// Where what is said of the cases of a kind is kept.
    #[must_use]
    pub fn golden(kind: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/validation/{kind}.txt"))
    }

    fn of_file(path: &Path) -> Result<Vec<Self>> {
        let written: Vec<Written> = serde_yaml_ng::from_str(&fs::read_to_string(path)?)?;
        let mut cases: Vec<Self> = Vec::with_capacity(written.len());
        for case in written {
            ensure!(cases.iter().all(|other| other.name != case.name), "two cases are named {:?}", case.name);
            let made = case.object(&cases).with_context(|| case.name.clone())?;
            cases.push(Self { name: case.name, object: made, findings: case.findings });
        }
        Ok(cases)
    }
}

impl Written {
    fn object(&self, earlier: &[ValidationCase]) -> Result<Value> {
        let mut object = match (&self.object, &self.base) {
            (Some(object), None) => object.clone(),
            (None, Some(base)) => {
                let found = earlier.iter().find(|case| case.name == *base);
                found.with_context(|| format!("no earlier case is named {base:?}"))?.object.clone()
            }
            _ => bail!("needs one of object and base"),
        };
        for (path, value) in &self.set {
            *place(&mut object, path)? = value.clone();
        }
        for (path, times) in &self.repeat {
            let text = place(&mut object, path)?;
            *text = text.as_str().with_context(|| format!("{path}: no text"))?.repeat(*times).into();
        }
        self.unset.iter().try_for_each(|path| remove(&mut object, path))?;
        Ok(object)
    }
}

/// The keys of `a.b[0].c[d.e]`.
fn keys(path: &str) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (key, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or((inside, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        keys.push(key);
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    keys
}

/// The value at a path, made when it is not there.
fn place<'a>(object: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    keys(path).into_iter().try_fold(object, |value, key| match value {
        Value::Array(list) => {
            let index: usize = key.parse().with_context(|| format!("{path}: {key:?} in a list"))?;
            if index == list.len() {
                list.push(Value::Null);
            }
            list.get_mut(index).with_context(|| format!("{path}: no element {index}"))
        }
        Value::Null | Value::Object(_) => Ok(&mut value[key]),
        other => bail!("{path}: {key:?} in {other}"),
    })
}

fn remove(object: &mut Value, path: &str) -> Result<()> {
    let keys = keys(path);
    let (last, outer) = keys.split_last().context("the path is empty")?;
    let within = outer.iter().try_fold(object, |value, key| match value {
        Value::Array(list) => list.get_mut(key.parse::<usize>().ok()?),
        other => other.get_mut(*key),
    });
    let removed = match within.with_context(|| format!("{path} is not there"))? {
        Value::Array(list) => list.remove(last.parse()?),
        Value::Object(map) => map.shift_remove(*last).with_context(|| format!("{path} is not there"))?,
        other => bail!("{path}: {last:?} in {other}"),
    };
    drop(removed);
    Ok(())
}
