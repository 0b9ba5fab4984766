//! Changes that keep coming: a mix of everything that happens in a mesh.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::time::{Instant as Deadline, sleep_until};

use super::{Args, config::Config, crew::Crew, population::Who};

/// Services that may be there besides those of the beginning.
const EXTRA_SERVICES: u32 = 50;

/// Services that may have a DestinationRule of the mix.
const RULED_SERVICES: u32 = 10;

/// Services that may be reached with a certificate of the mix, and namespaces that may be there besides those of the
/// beginning.
const SECURED_SERVICES: u32 = 10;
const EXTRA_NAMESPACES: u32 = 20;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Endpoint(u32),
    VirtualService(u32),
    Rule(u32),
    Unrule(u32),
    Add(u32),
    Remove(u32),
    Leave(usize),
    Join(usize),
    /// The Sidecar object of a namespace, which then imports no service of another namespace, if there is one.
    Narrow(u32, u32),
    Widen(u32),
    /// The EnvoyFilter of a namespace.
    Filter(u32),
    Unfilter(u32),
    /// The Secret with which a service is reached.
    Secure(u32),
    Unsecure(u32),
    /// A namespace with a service.
    Open(u32),
    Close(u32),
}

/// What is to happen next. Always the same for the same arguments.
pub(super) struct Mix {
    random: u64,
    services: u32,
    virtual_services: u32,
    namespaces: u32,
    clients: usize,
    /// Whether there is more than endpoints, routes, rules, services and clients.
    full: bool,
    /// An API server alone does not remove namespaces.
    opens: bool,
    added: BTreeSet<u32>,
    ruled: BTreeSet<u32>,
    narrowed: BTreeSet<u32>,
    filtered: BTreeSet<u32>,
    secured: BTreeSet<u32>,
    opened: BTreeSet<u32>,
    away: BTreeSet<usize>,
}

impl Mix {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            random: 1,
            services: args.services,
            virtual_services: args.virtual_services(),
            namespaces: args.namespaces,
            clients: args.clients,
            full: args.soak.is_some(),
            opens: !args.api_server,
            added: BTreeSet::new(),
            ruled: BTreeSet::new(),
            narrowed: BTreeSet::new(),
            filtered: BTreeSet::new(),
            secured: BTreeSet::new(),
            opened: BTreeSet::new(),
            away: BTreeSet::new(),
        }
    }

    /// A number below a bound. (Knuth's linear congruential generator: its upper half is random enough.)
    fn below(&mut self, bound: u32) -> u32 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.random >> 32) % u64::from(bound.max(1))).unwrap_or_default()
    }

    /// The next change. While something else is measured, of a hundred: 50 of endpoints, 15 of VirtualServices, 10 of
    /// DestinationRules, 15 services that appear or go, 10 clients that come or go. Else of 116, with 2 of Sidecars, 5 of
    /// EnvoyFilters, 5 of Secrets, and 4 namespaces that appear or go.
    pub(super) fn next(&mut self) -> Step {
        match self.below(if self.full { 116 } else { 100 }) {
            // The last service is left alone: something else may be measured by it.
            0..50 => Step::Endpoint(self.below(self.services.saturating_sub(1))),
            50..65 if self.virtual_services > 0 => Step::VirtualService(self.below(self.virtual_services)),
            50..75 => {
                let service = (self.services / 2 + self.below(RULED_SERVICES)).min(self.services - 1);
                // A rule goes one time in four.
                if self.below(4) == 0 && self.ruled.remove(&service) {
                    return Step::Unrule(service);
                }
                self.ruled.insert(service);
                Step::Rule(service)
            }
            75..90 => {
                let service = self.services + self.below(EXTRA_SERVICES);
                if self.added.remove(&service) {
                    return Step::Remove(service);
                }
                self.added.insert(service);
                Step::Add(service)
            }
            100..102 if self.namespaces > 2 => self.next_sidecar(),
            102..107 => {
                let namespace = self.below(self.namespaces);
                if self.below(4) == 0 && self.filtered.remove(&namespace) {
                    return Step::Unfilter(namespace);
                }
                self.filtered.insert(namespace);
                Step::Filter(namespace)
            }
            107..112 => {
                let service = (self.services / 4 + self.below(SECURED_SERVICES)).min(self.services - 1);
                if self.below(4) == 0 && self.secured.remove(&service) {
                    return Step::Unsecure(service);
                }
                self.secured.insert(service);
                Step::Secure(service)
            }
            112..116 if self.opens => {
                let namespace = self.below(EXTRA_NAMESPACES);
                if self.opened.remove(&namespace) {
                    return Step::Close(namespace);
                }
                self.opened.insert(namespace);
                Step::Open(namespace)
            }
            _ => {
                // A tenth of the clients takes part.
                let clients = u32::try_from(self.clients.div_ceil(10)).unwrap_or(u32::MAX);
                let client = self.below(clients) as usize;
                if self.away.remove(&client) {
                    return Step::Join(client);
                }
                self.away.insert(client);
                Step::Leave(client)
            }
        }
    }

    fn next_sidecar(&mut self) -> Step {
        let namespace = self.below(self.namespaces);
        if self.below(4) == 0 && self.narrowed.remove(&namespace) {
            return Step::Widen(namespace);
        }
        self.narrowed.insert(namespace);
        // Neither its own nor that of the last service, which all are to see.
        let shown = [namespace, (self.services - 1) % self.namespaces];
        let others: Vec<u32> = (0..self.namespaces).filter(|other| !shown.contains(other)).collect();
        Step::Narrow(namespace, others[self.below(u32::try_from(others.len()).unwrap_or(1)) as usize])
    }

    /// What undoes everything.
    pub(super) fn undo(&mut self) -> Vec<Step> {
        let ruled = std::mem::take(&mut self.ruled).into_iter().map(Step::Unrule);
        let added = std::mem::take(&mut self.added).into_iter().map(Step::Remove);
        let narrowed = std::mem::take(&mut self.narrowed).into_iter().map(Step::Widen);
        let filtered = std::mem::take(&mut self.filtered).into_iter().map(Step::Unfilter);
        let secured = std::mem::take(&mut self.secured).into_iter().map(Step::Unsecure);
        let opened = std::mem::take(&mut self.opened).into_iter().map(Step::Close);
        let away = std::mem::take(&mut self.away).into_iter().map(Step::Join);
        let objects = ruled.chain(added).chain(narrowed).chain(filtered).chain(secured).chain(opened);
        objects.chain(away).collect()
    }
}

/// Makes the changes, so many each second.
pub(super) struct Churn {
    mix: Mix,
    period: Duration,
    next: Instant,
    /// Changes so far.
    pub(super) count: u64,
}

impl Churn {
    pub(super) fn new(args: &Args) -> Self {
        let period = Duration::from_secs(1) / args.rate;
        Self { mix: Mix::new(args), period, next: Instant::now(), count: 0 }
    }

    /// Goes on from now: what was not made during a pause is not made up for.
    pub(super) fn go_on(&mut self) {
        self.next = Instant::now();
    }

    /// Makes changes until then. What cannot be made in time is made late, one after the other.
    pub(super) async fn run_until(&mut self, end: Instant, config: &mut Config, crew: &mut Crew) -> Result<()> {
        while self.next < end {
            sleep_until(Deadline::from_std(self.next)).await;
            self.next += self.period;
            let step = self.mix.next();
            apply(step, config, crew).await?;
            self.count += 1;
            if Instant::now() > end {
                return Ok(());
            }
        }
        sleep_until(Deadline::from_std(end)).await;
        Ok(())
    }

    /// The services that are there besides those of the beginning.
    pub(super) fn added(&self) -> impl Iterator<Item = u32> {
        self.mix.added.iter().copied()
    }

    /// Removes what was added, and brings back who left. Changes of endpoints and VirtualServices stay.
    pub(super) async fn undo(&mut self, config: &mut Config, crew: &mut Crew) -> Result<()> {
        for step in self.mix.undo() {
            apply(step, config, crew).await?;
        }
        Ok(())
    }
}

async fn apply(step: Step, config: &mut Config, crew: &mut Crew) -> Result<()> {
    match step {
        Step::Endpoint(service) => config.change_endpoints(service..service + 1).await,
        Step::VirtualService(service) => config.change_virtual_service(service).await,
        Step::Rule(service) => config.change_destination_rule(service).await,
        Step::Unrule(service) => config.remove_destination_rule(service).await,
        Step::Add(service) => config.add_service(service).await,
        Step::Remove(service) => config.remove_service(service).await,
        Step::Leave(client) => crew.leave(client..client + 1).await,
        Step::Join(client) => crew.join(client..client + 1, false).await,
        Step::Narrow(namespace, without) => {
            let hosts = config.hosts_without(without);
            config.set_sidecar(Who::Namespace(namespace), &hosts).await
        }
        Step::Widen(namespace) => config.remove_sidecar(Who::Namespace(namespace)).await,
        Step::Filter(namespace) => config.change_envoy_filter(Who::Namespace(namespace)).await,
        Step::Unfilter(namespace) => config.remove_envoy_filter(Who::Namespace(namespace)).await,
        Step::Secure(service) => config.change_secret(service).await,
        Step::Unsecure(service) => config.remove_secret(service).await,
        Step::Open(namespace) => config.add_namespace(namespace).await,
        Step::Close(namespace) => config.remove_namespace(namespace).await,
    }
}
