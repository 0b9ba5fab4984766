//! The problems that exist now, of sources and of the engine: said once in the log, counted in a metric, listed on
//! demand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::metrics::{KindLabel, KindName, Metrics, ProblemLabels};
use crate::model::{Code, ObjectRef, Origin, Problem, ProblemKey, SourceProblem};

/// What is wrong, by who found it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// A source.
    Source(ProblemKey),
    /// The engine.
    Engine(Problem),
}

/// How much of a reason is shown as a label, in bytes: it may quote what a user wrote.
const REASON_LABEL: usize = 256;

/// The problems that exist now. Whoever finds one adds it and removes it.
pub struct Problems {
    metrics: Arc<Metrics>,
    current: Mutex<BTreeMap<Finding, String>>,
    changed: watch::Sender<u64>,
}

impl Finding {
    fn object(&self) -> Option<&ObjectRef> {
        match self {
            Self::Source(key) => key.object.as_ref(),
            Self::Engine(problem) => Some(&problem.object),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Source(key) => key.code,
            Self::Engine(problem) => problem.code,
        }
    }

    fn field_and_reason(&self) -> (&str, &str) {
        match self {
            Self::Source(key) => (&key.field, &key.reason),
            Self::Engine(problem) => (&problem.field, &problem.reason),
        }
    }

    fn labels(&self) -> ProblemLabels {
        let ((field, reason), object) = (self.field_and_reason(), self.object());
        ProblemLabels {
            kind: object.map_or("", |o| o.kind).into(),
            namespace: object.map_or_else(Arc::default, |o| o.namespace.clone()),
            name: object.map_or_else(Arc::default, |o| o.name.clone()),
            field: field.into(),
            reason: reason[..reason.floor_char_boundary(REASON_LABEL)].into(),
        }
    }
}

impl Problems {
    /// No problems.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, current: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// A source found a problem, or the line of one moved.
    pub fn appeared_in_source(&self, problem: &SourceProblem) {
        self.add(&Finding::Source(problem.key.clone()), problem.to_string());
    }

    /// The problem that a source found is gone.
    pub fn gone_from_source(&self, key: ProblemKey) {
        self.remove(&Finding::Source(key));
    }

    /// The engine found a problem.
    pub fn appeared(&self, problem: &Problem) {
        self.add(&Finding::Engine(problem.clone()), problem.to_string());
    }

    /// The problem that the engine found is gone.
    pub fn gone(&self, problem: &Problem) {
        self.remove(&Finding::Engine(problem.clone()));
    }

    /// What the source of an API server's object found wrong with it.
    #[must_use]
    pub fn of_source(&self, object: &ObjectRef) -> Vec<Problem> {
        // The least of those of the object.
        let from = Finding::Source(ProblemKey {
            origin: Origin::Cluster,
            object: Some(object.clone()),
            field: String::new(),
            reason: String::new(),
            code: Code::ALL[0],
        });
        let of_object = |finding: &Finding| match finding {
            Finding::Source(key) if key.origin == Origin::Cluster && key.object.as_ref() == Some(object) => {
                let (field, reason) = (key.field.clone(), key.reason.clone());
                Some(Problem { object: object.clone(), field, reason, code: key.code })
            }
            _ => None,
        };
        self.with(|current| current.range(from..).map_while(|(finding, _)| of_object(finding)).collect())
    }

    /// The problems as lines, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.with(|current| current.values().cloned().collect())
    }

    /// The problems as JSON: object, field, reason, code and severity, and the line as it is logged.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entry = |(finding, line): (&Finding, &String)| {
            let (field, reason) = finding.field_and_reason();
            json!({
                "object": finding.object().map(ToString::to_string),
                "field": field,
                "reason": reason,
                "code": finding.code().id(),
                "severity": finding.code().severity().as_str(),
                "message": line,
            })
        };
        self.with(|current| current.iter().map(entry).collect())
    }

    /// Changes whenever the problems do.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn add(&self, finding: &Finding, line: String) {
        let before = self.with(|current| current.insert(finding.clone(), line.clone()));
        if before.is_none() {
            tracing::warn!("problem: {line}");
            self.gauge(finding, 1);
            if let Some(object) = finding.object() {
                let name = format!("{}/{}", object.namespace, object.name);
                let labels = KindName { r#type: object.kind.into(), name: name.as_str().into() };
                self.metrics.rejected_configs.get_or_create(&labels).inc();
            }
        }
        if before != Some(line) {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    fn remove(&self, finding: &Finding) {
        if let Some(line) = self.with(|current| current.remove(finding)) {
            tracing::info!("problem gone: {line}");
            self.gauge(finding, -1);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    fn gauge(&self, finding: &Finding, by: i64) {
        let kind = finding.object().map_or("", |object| object.kind).into();
        self.metrics.config_problems.get_or_create(&KindLabel { kind }).inc_by(by);
        let labels = finding.labels();
        let before = self.metrics.config_problem.get_or_create(&labels).inc_by(by);
        if before + by <= 0 {
            self.metrics.config_problem.remove(&labels);
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<Finding, String>) -> T) -> T {
        f(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_counted_while_it_exists() {
        let metrics = Arc::new(Metrics::new("1"));
        let problems = Problems::new(metrics.clone());
        let problem = Problem {
            object: ObjectRef::new("VirtualService", "ns", "v"),
            field: "spec.hosts".to_owned(),
            reason: "is empty".to_owned(),
            code: Code::EntryEmpty,
        };
        problems.appeared(&problem);
        problems.appeared(&problem);
        assert_eq!(problems.lines(), ["VirtualService ns/v: spec.hosts: is empty [MZ0136]"]);
        assert_eq!(problems.to_json()[0]["field"], "spec.hosts");
        let gauge = |n: i32| format!("mizzen_config_problems{{kind=\"VirtualService\"}} {n}");
        assert!(metrics.text().contains(&gauge(1)));
        let one = "mizzen_config_problem{kind=\"VirtualService\",namespace=\"ns\",name=\"v\",field=\"spec.hosts\",\
                   reason=\"is empty\"} 1";
        assert!(metrics.text().contains(one), "{}", metrics.text());
        problems.gone(&problem);
        assert!(problems.lines().is_empty());
        assert!(metrics.text().contains(&gauge(0)));
        assert!(!metrics.text().contains("reason="), "{}", metrics.text());
        assert!(metrics.text().contains("pilot_total_rejected_configs{type=\"VirtualService\",name=\"ns/v\"} 1"));
    }

    #[test]
    fn what_a_source_finds_is_found_by_object() {
        let problems = Problems::new(Arc::new(Metrics::new("1")));
        let of = |name: &str, field: &str, origin: Origin| ProblemKey {
            origin,
            object: Some(ObjectRef::new("VirtualService", "ns", name)),
            field: field.to_owned(),
            reason: "is wrong".to_owned(),
            code: Code::Undecodable,
        };
        let file = || Origin::File("a.yaml".into());
        for key in [of("b", "y", Origin::Cluster), of("b", "", Origin::Cluster), of("a", "x", Origin::Cluster)] {
            problems.appeared_in_source(&SourceProblem { key, line: None });
        }
        problems.appeared_in_source(&SourceProblem { key: of("b", "z", file()), line: None });
        let fields = |name: &str| {
            let found = problems.of_source(&ObjectRef::new("VirtualService", "ns", name));
            found.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert_eq!([fields("a"), fields("b"), fields("c")], [vec!["x"], vec!["", "y"], Vec::new()]);
    }
}
