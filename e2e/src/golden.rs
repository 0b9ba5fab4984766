//! The golden cases: objects, a proxy, and all that the proxy is sent.
//!
//! ```text
//!  e2e/golden/<area>/<case>/in.yaml          the objects; its first line says for which proxy:
//!                                            # proxy: router NAME NAMESPACE [label=value…] [region/zone/sub-zone] [vhds]
//!                           clusters.yaml …  what it is sent, by type, and the problems of the objects
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use mizzen::{
    cli::offline::{self, Translation},
    model::{Locality, MeshConfig},
    sources::files,
};

use crate::envoy::Node;

/// Mutual TLS is the same in each cluster and on each port: it is off but in the cases of this area.
const WITH_MTLS: &str = "mtls/";
const WITHOUT_MTLS: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
";

/// So are metrics: files show them in the cases of this area only. (A real Envoy takes those of all.)
const WITH_METRICS: &str = "metrics/";

/// The metadata of proxies that discover virtual hosts one by one.
const DISCOVERY: &str = "MIZZEN_VHDS";

/// A folder of `e2e/golden/<area>/`.
#[derive(Clone, Debug)]
pub struct GoldenCase {
    /// `<area>/<case>`.
    pub name: String,
    /// The folder.
    pub dir: PathBuf,
    /// The objects.
    pub input: String,
    /// For which proxy.
    pub node: Node,
}

impl GoldenCase {
    /// All of them, by name.
    ///
    /// # Errors
    /// When one cannot be read, or says nothing of a proxy.
    pub fn all() -> Result<Vec<Self>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let mut cases = Vec::new();
        for area in folders(&root)? {
            for dir in folders(&area)? {
                let name = dir.strip_prefix(&root)?.display().to_string();
                cases.push(Self::read(name.clone(), dir).with_context(|| format!("golden case {name}"))?);
            }
        }
        ensure!(!cases.is_empty(), "no golden cases in {}", root.display());
        Ok(cases)
    }

    fn read(name: String, dir: PathBuf) -> Result<Self> {
        let input = fs::read_to_string(dir.join("in.yaml")).context("read in.yaml")?;
        let first = input.lines().next().unwrap_or_default();
        let words = first.strip_prefix("# proxy: ").context("the first line of in.yaml is not `# proxy: …`")?;
        let node = node(&words.split_whitespace().collect::<Vec<_>>())?;
        Ok(Self { name, dir, input, node })
    }

    /// The files with its objects, by name.
    #[must_use]
    pub fn objects(&self) -> Vec<(&'static str, &str)> {
        let mut files = vec![("in.yaml", self.input.as_str())];
        if !self.name.starts_with(WITH_MTLS) {
            files.push(("plaintext.yaml", WITHOUT_MTLS));
        }
        files
    }

    /// What the proxy is sent.
    ///
    /// # Errors
    /// When the node is none.
    pub fn translate(&self) -> Result<Translation> {
        self.translate_for(self.node.metadata.get(DISCOVERY) == Some(&true.into()))
    }

    /// What the proxy is sent when it discovers virtual hosts one by one, or does not.
    ///
    /// # Errors
    /// When the node is none.
    pub fn translate_for(&self, discovers_hosts: bool) -> Result<Translation> {
        let mut proxy = offline::proxy(&self.node.id())?;
        proxy.labels = self.node.labels.clone();
        proxy.cluster_id = "Kubernetes".into();
        proxy.discovers_hosts = discovers_hosts;
        let (region, zone, subzone) = &self.node.locality;
        proxy.locality =
            Locality { region: region.as_str().into(), zone: zone.as_str().into(), subzone: subzone.as_str().into() };
        let objects = self.objects().into_iter().map(|(file, text)| (file.into(), text.into()));
        let deliveries = files::read_once(objects.collect());
        let defaults = MeshConfig { metrics: self.name.starts_with(WITH_METRICS), ..MeshConfig::default() };
        Ok(offline::translate_over(defaults, deliveries, proxy))
    }

    /// The files of [`GoldenCase::translate`]: name to content.
    ///
    /// # Errors
    /// When a resource is no message of its type.
    pub fn outputs(translation: &Translation) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for (section, resources) in translation.to_json()? {
            files.insert(format!("{section}.yaml"), serde_yaml_ng::to_string(&resources)?);
        }
        if !translation.problems.is_empty() {
            files.insert("problems.yaml".to_owned(), serde_yaml_ng::to_string(&translation.problems)?);
        }
        Ok(files)
    }

    /// The files of [`GoldenCase::outputs`] as they are in the folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn stored(&self) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "in.yaml" {
                files.insert(name, fs::read_to_string(entry.path())?);
            }
        }
        Ok(files)
    }
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
    let mut found: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    found.retain(|p| p.is_dir());
    found.sort();
    Ok(found)
}

fn node(words: &[&str]) -> Result<Node> {
    let [kind, name, namespace, more @ ..] = words else {
        bail!("a proxy is `router|sidecar NAME NAMESPACE …`, not {words:?}");
    };
    let mut node = match *kind {
        "router" => Node::router(name, namespace),
        "sidecar" => Node::sidecar(name, namespace),
        _ => bail!("no kind of proxy: {kind}"),
    };
    for word in more {
        if *word == "vhds" {
            node = node.metadata(DISCOVERY, true);
        } else if let Some((key, value)) = word.split_once('=') {
            node = node.label(key, value);
        } else if let [region, zone, sub_zone] = word.split('/').collect::<Vec<_>>()[..] {
            node = node.locality(region, zone, sub_zone);
        } else {
            bail!("neither a label nor a locality nor vhds: {word}");
        }
    }
    Ok(node)
}
