//! The file source on real directories.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::model::code::without_code;
use crate::{
    api::{Kind, Object},
    model::ObjectRef,
    telemetry::ready::Readiness,
};

/// The world as the deliveries describe it.
#[derive(Default)]
struct World {
    /// The label `v` of every object.
    objects: BTreeMap<String, String>,
    /// Problems as they are shown.
    problems: BTreeMap<ProblemKey, String>,
    /// How many objects were applied or deleted one by one.
    changes: usize,
    resets: Vec<Kind>,
}

#[derive(Default)]
struct Recorder {
    world: Mutex<World>,
    changed: Condvar,
}

fn name(reference: &ObjectRef) -> String {
    format!("{}/{}", reference.namespace, reference.name)
}

impl World {
    fn apply(&mut self, object: &Object) {
        let meta = object.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let label = meta.labels.as_ref().and_then(|labels| labels.get("v")).cloned().unwrap_or_default();
        self.objects.insert(format!("{namespace}/{}", meta.name.clone().unwrap_or_default()), label);
    }
}

impl Intake for Recorder {
    fn deliver(&self, delivery: Delivery) {
        let mut world = self.world.lock().unwrap();
        match delivery {
            Delivery::Apply(object) => {
                world.changes += 1;
                world.apply(&object);
            }
            Delivery::Delete(reference) => {
                world.changes += 1;
                world.objects.remove(&name(&reference));
            }
            Delivery::Reset { kind, live, .. } => {
                world.resets.push(kind);
                live.iter().for_each(|object| world.apply(object));
            }
            Delivery::Unreadable { object, .. } => panic!("files keep {object} or tell of it"),
            Delivery::Problem(problem) => {
                world.problems.insert(problem.key.clone(), without_code(&problem));
            }
            Delivery::ProblemGone(key) => {
                world.problems.remove(&key);
            }
        }
        self.changed.notify_all();
    }
}

/// How long is waited for what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running source. Paths in problems have the directory replaced by `DIR`.
struct Rig {
    directory: TempDir,
    root: PathBuf,
    recorder: Arc<Recorder>,
    _runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("conf");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (recorder, readiness) = (Arc::new(Recorder::default()), Readiness::default());
        let source = FileSource::new(root.clone(), service("built-in", "0").into_bytes()).unwrap();
        let guard = readiness.guard("files");
        let intake = recorder.clone();
        runtime.handle().clone().block_on(async {
            #[expect(clippy::disallowed_methods, reason = "ends with the rig's runtime")]
            tokio::spawn(source.run(intake, guard));
        });
        let rig = Self { directory, root, recorder, _runtime: runtime };
        let deadline = Instant::now() + PATIENCE;
        while !readiness.is_ready() {
            assert!(Instant::now() < deadline, "never ready");
            std::thread::yield_now();
        }
        rig
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.root.join(path), content).unwrap();
    }

    /// Waits until the world is so; returns how long it took.
    fn until(&self, what: &str, condition: impl Fn(&World) -> bool) -> Duration {
        let start = Instant::now();
        let world = self.recorder.world.lock().unwrap();
        let (world, timeout) = self.recorder.changed.wait_timeout_while(world, PATIENCE, |w| !condition(w)).unwrap();
        assert!(!timeout.timed_out(), "not {what}: {:?} {:?}", world.objects, world.problems);
        start.elapsed()
    }

    fn until_object(&self, name: &str, label: Option<&str>) -> Duration {
        let condition = |world: &World| world.objects.get(name).map(String::as_str) == label;
        self.until(&format!("{name} = {label:?}"), condition)
    }

    fn until_problem(&self, expected: &[&str]) {
        let prefix = format!("{}/", self.root.display());
        let shown = |world: &World| world.problems.values().map(|p| p.replace(&prefix, "DIR/")).collect::<Vec<_>>();
        self.until(&format!("problems {expected:?}"), |world| shown(world) == expected);
    }

    fn changes(&self) -> usize {
        self.recorder.world.lock().unwrap().changes
    }
}

fn service(name: &str, label: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {{v: '{label}'}}}}\n")
}

fn pair(a: &str, b: &str) -> String {
    format!("{}---\n{}", service("a", a), service("b", b))
}

#[test]
fn what_is_there_at_the_start_comes_as_one_reset_per_kind() {
    let rig = Rig::start(|root| {
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::write(root.join("deep/er/a.yaml"), pair("1", "2")).unwrap();
        fs::write(root.join("b.json"), r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}"#).unwrap();
        fs::write(root.join(".hidden.yaml"), service("hidden", "1")).unwrap();
        fs::write(root.join("notes.txt"), "not: [for us").unwrap();
    });
    let world = rig.recorder.world.lock().unwrap();
    assert_eq!(world.objects.keys().collect::<Vec<_>>(), ["/n", "default/a", "default/b", "default/built-in"]);
    assert_eq!((world.changes, world.resets.as_slice()), (0, Kind::ALL.as_slice()));
}

#[test]
fn files_are_created_edited_renamed_and_deleted() {
    let rig = Rig::start(|_| {});
    rig.write("a.yaml", pair("1", "1"));
    rig.until_object("default/b", Some("1"));
    assert_eq!(rig.changes(), 2);

    rig.write("a.yaml", pair("1", "2"));
    rig.until_object("default/b", Some("2"));
    assert_eq!(rig.changes(), 3, "only the object that changed is delivered");

    fs::rename(rig.root.join("a.yaml"), rig.root.join("z.yaml")).unwrap();
    rig.write("marker.yaml", service("marker", "1"));
    rig.until_object("default/marker", Some("1"));
    assert_eq!(rig.changes(), 4, "a renamed file changes nothing");

    fs::remove_file(rig.root.join("z.yaml")).unwrap();
    rig.until_object("default/a", None);
    rig.until_object("default/b", None);
}

#[test]
fn an_edit_is_delivered_within_100_ms() {
    let rig = Rig::start(|root| fs::write(root.join("a.yaml"), service("a", "0")).unwrap());
    // On a machine that is busy with other things one of many has to be.
    let mut tries = (1..=20).map(|n| {
        rig.write("a.yaml", service("a", &n.to_string()));
        rig.until_object("default/a", Some(&n.to_string()))
    });
    assert!(tries.any(|took| took < Duration::from_millis(100)), "none of 20 edits");
}

#[test]
fn directories_come_and_go() {
    let rig = Rig::start(|_| {});
    fs::create_dir(rig.root.join("new")).unwrap();
    rig.write("new/a.yaml", service("a", "1"));
    rig.until_object("default/a", Some("1"));
    rig.write("new/a.yaml", service("a", "2"));
    rig.until_object("default/a", Some("2"));

    let outside = rig.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b.yaml"), service("b", "1")).unwrap();
    fs::rename(&outside, rig.root.join("moved")).unwrap();
    rig.until_object("default/b", Some("1"));
    rig.write("moved/b.yaml", service("b", "2"));
    rig.until_object("default/b", Some("2"));

    fs::remove_dir_all(rig.root.join("new")).unwrap();
    rig.until_object("default/a", None);
}

#[test]
fn an_atomic_replace_is_one_edit() {
    let rig = Rig::start(|root| fs::write(root.join("a.yaml"), pair("1", "1")).unwrap());
    rig.write("a.yaml.tmp", pair("1", "2"));
    fs::rename(rig.root.join("a.yaml.tmp"), rig.root.join("a.yaml")).unwrap();
    rig.until_object("default/b", Some("2"));

    // As vim does: the old file is moved away, the new one written in its place.
    fs::rename(rig.root.join("a.yaml"), rig.root.join("a.yaml~")).unwrap();
    rig.write("a.yaml", pair("1", "3"));
    fs::remove_file(rig.root.join("a.yaml~")).unwrap();
    rig.until_object("default/b", Some("3"));
    assert_eq!(rig.changes(), 2, "nothing was deleted in between");
}

/// As the kubelet lays out a ConfigMap: `a.yaml -> ..data/a.yaml`, `..data -> ..1`.
fn mount(root: &Path, version: &str, content: &str) {
    let data = root.join(format!("..{version}"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a.yaml"), content).unwrap();
    symlink(format!("..{version}"), root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
}

#[test]
fn a_config_map_mount_is_swapped() {
    let rig = Rig::start(|root| {
        mount(root, "1", &pair("1", "1"));
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    });
    rig.until_object("default/b", Some("1"));
    for version in ["2", "3"] {
        mount(&rig.root, version, &pair("1", version));
        fs::remove_dir_all(rig.root.join(format!("..{}", version.parse::<u32>().unwrap() - 1))).unwrap();
        rig.until_object("default/b", Some(version));
    }
    assert_eq!(rig.changes(), 2);
}

#[test]
fn links_to_files_and_directories_elsewhere_are_followed() {
    let elsewhere = TempDir::new().unwrap();
    fs::create_dir(elsewhere.path().join("dir")).unwrap();
    fs::write(elsewhere.path().join("dir/a.yaml"), service("a", "1")).unwrap();
    fs::write(elsewhere.path().join("b.yaml"), service("b", "1")).unwrap();
    let rig = Rig::start(|root| {
        symlink(elsewhere.path().join("dir"), root.join("dir")).unwrap();
        symlink(elsewhere.path().join("b.yaml"), root.join("b.yaml")).unwrap();
        symlink("..", root.join("loop")).unwrap();
    });
    rig.until_object("default/a", Some("1"));
    fs::write(elsewhere.path().join("dir/a.yaml"), service("a", "2")).unwrap();
    rig.until_object("default/a", Some("2"));
    fs::write(elsewhere.path().join("b.yaml"), service("b", "2")).unwrap();
    rig.until_object("default/b", Some("2"));
}

#[test]
fn the_directory_itself_may_be_a_link_that_is_swapped() {
    let releases = TempDir::new().unwrap();
    for release in ["1", "2"] {
        fs::create_dir(releases.path().join(release)).unwrap();
        fs::write(releases.path().join(release).join("a.yaml"), service("a", release)).unwrap();
    }
    let rig = Rig::start(|root| {
        fs::remove_dir(root).unwrap();
        symlink(releases.path().join("1"), root).unwrap();
    });
    rig.until_object("default/a", Some("1"));
    symlink(releases.path().join("2"), rig.directory.path().join("next")).unwrap();
    fs::rename(rig.directory.path().join("next"), &rig.root).unwrap();
    rig.until_object("default/a", Some("2"));
}

#[test]
fn when_the_directory_vanishes_its_content_stays() {
    let rig = Rig::start(|root| fs::write(root.join("a.yaml"), service("a", "1")).unwrap());
    fs::rename(&rig.root, rig.directory.path().join("away")).unwrap();
    rig.until("reported", |world| world.problems.len() == 1);
    rig.until_object("default/a", Some("1"));
    fs::create_dir(&rig.root).unwrap();
    rig.write("a.yaml", service("a", "2"));
    rig.until_object("default/a", Some("2"));
    rig.until_problem(&[]);
}

#[test]
fn a_broken_file_keeps_its_last_good_content() {
    let rig = Rig::start(|root| fs::write(root.join("a.yaml"), pair("1", "1")).unwrap());
    rig.write("a.yaml", format!("{}---\nkind: Service\nmetadata: {{name: b\nspec: {{}}\n", service("a", "2")));
    rig.until_problem(&[
        "DIR/a.yaml:7: did not find expected ',' or '}', while parsing a flow mapping at line 6 column 11",
    ]);
    rig.write("a.yaml", b"kind: Service\nmetadata: {name: \xc3\x28}\n");
    rig.until_problem(&["DIR/a.yaml:2: invalid UTF-8: byte 0xc3 at offset 31"]);
    rig.write("b.json", "{\"kind\": \"Service\",}");
    rig.until_problem(&["DIR/a.yaml:2: invalid UTF-8: byte 0xc3 at offset 31", "DIR/b.json:1: trailing comma"]);
    assert_eq!(rig.changes(), 0, "nothing of it is taken");
    rig.write("a.yaml", pair("1", "3"));
    rig.write("b.json", "");
    rig.until_object("default/b", Some("3"));
    rig.until_problem(&[]);
}

#[test]
fn a_document_that_cannot_be_decoded_is_skipped_and_reported() {
    let wrong = "apiVersion: v1\nkind: Service\nmetadata: {name: w}\nspec: {ports: [{port: eighty}]}\n";
    let rig = Rig::start(|root| {
        fs::write(root.join("a.yaml"), format!("{}---\n{wrong}---\n{}", service("a", "1"), service("b", "1"))).unwrap();
    });
    rig.until_object("default/a", Some("1"));
    rig.until_object("default/b", Some("1"));
    rig.until_object("default/w", None);
    rig.until_problem(&["DIR/a.yaml:5: Service default/w: spec.ports[0].port: invalid type: string \"eighty\", \
                         expected i32"]);

    rig.write("a.yaml", service("w", "good"));
    rig.until_object("default/w", Some("good"));
    rig.until_problem(&[]);
    rig.write("a.yaml", format!("{}---\n{wrong}", service("a", "2")));
    rig.until_object("default/a", Some("2"));
    rig.until_object("default/w", Some("good"));
}

#[test]
fn an_object_given_twice_counts_once() {
    let rig = Rig::start(|root| {
        fs::write(root.join("a.yaml"), service("x", "a")).unwrap();
        fs::write(root.join("b.yaml"), service("x", "b")).unwrap();
    });
    rig.until_problem(&["DIR/b.yaml:1: Service default/x: is already given in DIR/a.yaml: this one is ignored"]);
    rig.until_object("default/x", Some("a"));
    fs::remove_file(rig.root.join("a.yaml")).unwrap();
    rig.until_object("default/x", Some("b"));
    rig.until_problem(&[]);
}

#[test]
fn what_is_built_in_yields_to_files() {
    let rig = Rig::start(|_| {});
    rig.until_object("default/built-in", Some("0"));
    rig.write("z.yaml", service("built-in", "1"));
    rig.until_object("default/built-in", Some("1"));
    rig.until_problem(&[]);
    fs::remove_file(rig.root.join("z.yaml")).unwrap();
    rig.until_object("default/built-in", Some("0"));
}

#[test]
fn only_unknown_kinds_of_istio_are_problems() {
    let rig = Rig::start(|root| {
        let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
        let typo = "apiVersion: networking.istio.io/v1\nkind: VirtualServices\nmetadata: {name: d}\n";
        let version = "apiVersion: networking.istio.io/v7\nkind: VirtualService\nmetadata: {name: d}\n";
        fs::write(root.join("a.yaml"), [other, typo, version, "justtext\n", "kind: x\n"].join("---\n")).unwrap();
    });
    rig.until_problem(&[
        "DIR/a.yaml:15: not a Kubernetes object: `apiVersion` is missing",
        "DIR/a.yaml:13: not an object: expected `apiVersion`, `kind` and `metadata`",
        "DIR/a.yaml:5: kind: unknown kind networking.istio.io/v1 VirtualServices",
        "DIR/a.yaml:9: VirtualService default/d: apiVersion: version \"v7\" is not one of v1, v1beta1, v1alpha3",
    ]);
}

#[test]
fn string_data_of_a_secret_is_data() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: text}\ndata: {j: aGk=}\n";
    let deliveries = read_once(vec![("a.yaml".into(), text.into())]);
    let secrets = deliveries.iter().find_map(|delivery| match delivery {
        Delivery::Reset { kind: Kind::Secret, live, .. } => Some(live),
        _ => None,
    });
    let [Object::Secret(secret)] = secrets.unwrap().as_slice() else { panic!("one secret") };
    let data = secret.data.as_ref().unwrap();
    assert_eq!((data["k"].0.as_slice(), data["j"].0.as_slice()), (b"text".as_slice(), b"hi".as_slice()));
}

#[test]
fn large_objects_are_nothing_special() {
    let regex = "a".repeat(1 << 20);
    let hosts: Vec<String> = (0..10_000).map(|n| format!("    h{n}: x\n")).collect();
    let rig = Rig::start(|_| {});
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  labels: {{v: '1'}}\n  annotations:\n    r: {regex}\n{}",
        hosts.concat()
    );
    rig.write("a.yaml", text);
    rig.until_object("default/c", Some("1"));
}
