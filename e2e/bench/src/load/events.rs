//! What happens to the server, and what is measured.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::{
    Args,
    args::EventKind,
    churn::Churn,
    config::{Config, PORT},
    crew::{Arrivals, Crew},
    fleet::Wanted,
    population::Who,
    process::Meter,
    report::{Report, Row},
    tally::Counts,
    wire::Type,
};

/// Between two looks at whether the server is idle.
const LOOK: Duration = Duration::from_millis(20);

/// A server that uses less than this share of a processor is idle: timers and metrics run even then.
const IDLE_SHARE: f64 = 0.1;

/// How long memory that is no longer used may take to go back to the system: the allocator keeps it for ten seconds.
const SETTLING: Duration = Duration::from_secs(15);

/// Runs the events.
pub(super) struct Events<'a> {
    pub(super) args: &'a Args,
    pub(super) config: Config,
    pub(super) crew: Crew,
    pub(super) meter: Option<Meter>,
    /// The next service to be added.
    next_service: u32,
}

/// The state before an event.
pub(super) struct Before {
    pub(super) start: Instant,
    cpu: Duration,
    load_cpu: Duration,
    counts: Counts,
}

impl<'a> Events<'a> {
    pub(super) fn new(args: &'a Args, config: Config, crew: Crew, meter: Option<Meter>) -> Self {
        Self { args, config, crew, meter, next_service: args.services }
    }

    pub(super) async fn run(&mut self, report: &mut Report) -> Result<()> {
        report.add(self.connect().await?);
        report.encodings(self.crew.encodings().await?);
        for event in self.args.events() {
            self.prepare(event).await?;
            for round in 0..self.args.rounds {
                report.add(self.event(event, round).await?);
            }
            self.tidy_up(event).await?;
        }
        Ok(())
    }

    pub(super) async fn connect(&mut self) -> Result<Row> {
        let before = self.before().await?;
        self.crew.join(0..self.args.clients, true).await?;
        let arrivals = self.crew.wait(before.start, self.args.patience).await?;
        ensure!(!arrivals.times.is_empty(), "no client was served completely: {}", arrivals.complaint);
        self.after(Row::new("all connect"), &before, &arrivals).await
    }

    /// Brings about what an event changes, where it is not there from the beginning.
    async fn prepare(&mut self, event: EventKind) -> Result<()> {
        match event {
            EventKind::DestinationRule | EventKind::EnvoyFilter | EventKind::Mesh => {
                self.event(event, 0).await?;
            }
            EventKind::Sidecar if !self.crew.population().is_diverse() => {
                let (namespaces, _) = self.sidecar_parts();
                ensure!(namespaces > 0, "the event needs a second namespace");
                let hosts: Vec<_> = (0..namespaces).map(Config::namespace_entry).collect();
                let going = self.of_last_namespace(true);
                self.unmeasured(going, async |me: &mut Self| me.config.set_sidecar(me.narrowed(), &hosts).await)
                    .await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Undoes what would change later events.
    async fn tidy_up(&mut self, event: EventKind) -> Result<()> {
        if event != EventKind::Sidecar {
            return Ok(());
        }
        let narrowed = self.narrowed();
        if self.crew.population().is_diverse() {
            let (_, services) = self.sidecar_parts();
            let going = services.take(self.args.rounds as usize).map(|s| self.config.cluster(s));
            let going = going.map(|name| Wanted { by: narrowed, kind: Type::Cluster, name, gone: true }).collect();
            let hosts = self.config.own_hosts(narrowed);
            self.unmeasured(going, async |me: &mut Self| me.config.set_sidecar(narrowed, &hosts).await).await
        } else {
            // Those that the rounds have imported are there.
            let coming = self.of_last_namespace(false).split_off(self.args.rounds as usize);
            self.unmeasured(coming, async |me: &mut Self| me.config.remove_sidecar(narrowed).await).await
        }
    }

    /// Does something, and waits until it has arrived and the server is idle.
    pub(super) async fn unmeasured(
        &mut self,
        wanted: Vec<Wanted>,
        act: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.crew.aim(wanted).await?;
        let start = Instant::now();
        act(self).await?;
        let arrivals = self.crew.wait(start, self.args.patience).await?;
        if let Some(client) = arrivals.waiting {
            anyhow::bail!("{client} still waits for the preparation of an event; {}", arrivals.complaint);
        }
        self.idle().await.map(drop)
    }

    /// One round of an event.
    async fn event(&mut self, event: EventKind, round: u32) -> Result<Row> {
        let last = self.args.services - 1;
        let service = (1 + round).min(last);
        match event {
            EventKind::Endpoint => self.change_endpoints("one endpoint", service, 1).await,
            EventKind::Slices => {
                let count = self.args.slices.min(last.max(1));
                self.change_endpoints(&format!("{count} slices"), last.min(1), count).await
            }
            EventKind::VirtualService => self.change_virtual_service(service).await,
            EventKind::Service => self.add_service().await,
            EventKind::RemovedService => self.remove_service().await,
            EventKind::DestinationRule => self.change_destination_rule().await,
            EventKind::Sidecar => self.change_sidecar(round).await,
            EventKind::EnvoyFilter => self.change_envoy_filter().await,
            EventKind::Mesh => self.change_mesh().await,
            EventKind::Metadata => self.silent("metadata only", async |me: &mut Self| me.config.annotate().await).await,
            EventKind::Rewrite => {
                self.silent("all written again", async |me: &mut Self| me.config.rewrite().await).await
            }
            EventKind::Reword => {
                self.silent("the same said otherwise", async |me: &mut Self| me.config.reword().await).await
            }
            EventKind::Reconnect => self.silent("all reconnect", async |me: &mut Self| me.crew.reconnect().await).await,
            EventKind::Churn => self.change_amid_churn().await,
            EventKind::More => self.more().await,
            EventKind::Storm => self.storm().await,
        }
    }

    async fn change_endpoints(&mut self, name: &str, first: u32, count: u32) -> Result<Row> {
        let services = first..first + count;
        let wanted = services.clone().map(|s| self.wanted(Type::Endpoint, s)).collect();
        self.sent(name, wanted, async |me: &mut Self| me.config.change_endpoints(services).await).await
    }

    async fn change_virtual_service(&mut self, service: u32) -> Result<Row> {
        let count = self.args.virtual_services();
        ensure!(count > 0, "there is no VirtualService to change: --virtual-services is 0");
        let service = service.min(count - 1);
        let wanted = vec![self.wanted_routes(service)];
        self.sent("one VirtualService", wanted, async |me: &mut Self| me.config.change_virtual_service(service).await)
            .await
    }

    /// Services that are not there yet.
    pub(super) fn next_services(&mut self, count: u32) -> Range<u32> {
        let first = self.next_service;
        self.next_service += count;
        first..self.next_service
    }

    async fn add_service(&mut self) -> Result<Row> {
        let service = self.next_services(1).start;
        let wanted = self.wanted_service(service);
        self.sent("one new Service", wanted, async |me: &mut Self| me.config.add_service(service).await).await
    }

    /// Its routes go at once, its cluster when nothing refers to it any more; the time is that of the routes.
    async fn remove_service(&mut self) -> Result<Row> {
        let service = self.next_service;
        let coming = self.wanted_service(service);
        self.unmeasured(coming, async |me: &mut Self| me.config.add_service(service).await).await?;
        let routes = match self.crew.population().whole_routes {
            true => self.wanted_routes(service),
            false => Wanted { gone: true, ..self.wanted_routes(service) },
        };
        let cluster = Wanted { gone: true, ..self.wanted(Type::Cluster, service) };
        let row = Row::new("one Service removed");
        self.crew.aim(vec![routes]).await?;
        let before = self.before().await?;
        self.config.remove_service(service).await?;
        let arrivals = self.crew.wait(before.start, self.args.patience).await?;
        if arrivals.waiting.is_none() {
            self.crew.aim(vec![cluster]).await?;
            let gone = self.crew.wait(before.start, self.args.patience).await?;
            if gone.waiting.is_some() {
                return self.after(row, &before, &gone).await;
            }
        }
        self.after(row, &before, &arrivals).await
    }

    async fn change_destination_rule(&mut self) -> Result<Row> {
        let service = self.args.services / 2;
        let wanted = vec![self.wanted(Type::Cluster, service)];
        let act = async |me: &mut Self| me.config.change_destination_rule(service).await;
        self.sent("one DestinationRule", wanted, act).await
    }

    /// One more host is imported.
    async fn change_sidecar(&mut self, round: u32) -> Result<Row> {
        let (namespaces, services) = self.sidecar_parts();
        let narrowed = self.narrowed();
        let added: Vec<u32> = services.take(round as usize + 1).collect();
        ensure!(added.len() == round as usize + 1, "the last namespace has not enough services for so many rounds");
        let service = added[round as usize];
        let mut hosts: Vec<_> = match self.crew.population().is_diverse() {
            true => self.config.own_hosts(narrowed),
            false => (0..namespaces).map(Config::namespace_entry).collect(),
        };
        hosts.extend(added.into_iter().map(|s| self.config.service_entry(s)));
        let wanted = [self.wanted(Type::Cluster, service), self.wanted_routes(service)];
        let wanted = wanted.map(|w| Wanted { by: narrowed, ..w }).into();
        self.sent("one Sidecar", wanted, async |me: &mut Self| me.config.set_sidecar(narrowed, &hosts).await).await
    }

    async fn change_envoy_filter(&mut self) -> Result<Row> {
        let by = match self.crew.population().patched().next() {
            Some(workload) => Who::Workload(workload),
            None => Who::Namespace(0),
        };
        let wanted = vec![Wanted { by, kind: Type::Listener, name: format!("0.0.0.0_{PORT}"), gone: false }];
        self.sent("one EnvoyFilter", wanted, async |me: &mut Self| me.config.change_envoy_filter(by).await).await
    }

    async fn change_mesh(&mut self) -> Result<Row> {
        let names = ["virtualOutbound".to_owned(), "virtualInbound".to_owned(), format!("0.0.0.0_{PORT}")];
        let everyone = |name| Wanted { by: Who::Everyone, kind: Type::Listener, name, gone: false };
        let wanted = names.map(everyone).into();
        self.sent("mesh configuration", wanted, async |me: &mut Self| me.config.change_mesh().await).await
    }

    /// One endpoint changes while much else does.
    async fn change_amid_churn(&mut self) -> Result<Row> {
        let probe = self.args.services - 1;
        let mut churn = Churn::new(self.args);
        let warm = Instant::now() + self.args.quiet * 4;
        churn.run_until(warm, &mut self.config, &mut self.crew).await?;
        let wanted = vec![self.wanted(Type::Endpoint, probe)];
        self.crew.aim(wanted).await?;
        let before = self.before().await?;
        self.config.change_endpoints(probe..probe + 1).await?;
        let mut look = self.crew.look().await?;
        while look.reached < look.concerned && before.start.elapsed() < self.args.patience {
            churn.run_until(Instant::now() + LOOK, &mut self.config, &mut self.crew).await?;
            look = self.crew.look().await?;
        }
        let arrivals = self.crew.arrivals(before.start).await?;
        let row = self.after(Row::new("one endpoint amid churn").mixed(), &before, &arrivals).await?;
        let going = churn.added().map(|service| {
            let name = self.config.cluster(service);
            Wanted { by: Who::Everyone, kind: Type::Cluster, name, gone: true }
        });
        let going = going.collect();
        self.unmeasured(going, async |me: &mut Self| churn.undo(&mut me.config, &mut me.crew).await).await?;
        Ok(row)
    }

    /// As many clients again connect, of the same classes, and leave. Tells what each takes of memory, and whether the
    /// server serves them on all its cores.
    async fn more(&mut self) -> Result<Row> {
        let (clients, more) = (self.args.clients, self.args.clients..2 * self.args.clients);
        self.settled_memory().await?;
        let resident = |meter: &Option<Meter>| meter.as_ref().map(|m| m.memory().resident);
        let earlier = resident(&self.meter);
        self.crew.aim(Vec::new()).await?;
        let before = self.before().await?;
        let threads = self.meter.as_mut().map(Meter::threads);
        self.crew.join(more.clone(), true).await?;
        let arrivals = self.crew.wait(before.start, self.args.patience).await?;
        let mut row = self.after(Row::new("as many again connect"), &before, &arrivals).await?;
        if let Some(share) = self.meter.as_mut().zip(threads).and_then(|(meter, then)| meter.busiest_share(&then)) {
            row.spread(share);
        }
        self.settled_memory().await?;
        if let Some((earlier, later)) = earlier.zip(resident(&self.meter)) {
            row.grown(later.saturating_sub(earlier) / clients as u64);
        }
        self.crew.leave(more).await?;
        self.idle().await?;
        Ok(row)
    }

    /// Waits until the resident memory no longer falls.
    pub(super) async fn settled_memory(&mut self) -> Result<()> {
        let Some(meter) = &self.meter else { return Ok(()) };
        let (start, mut lowest, mut since) = (Instant::now(), u64::MAX, Instant::now());
        while start.elapsed() < SETTLING && since.elapsed() < self.args.quiet * 6 {
            let resident = meter.memory().resident;
            // Single pages do not count.
            if resident < lowest - lowest / 1000 {
                (lowest, since) = (resident, Instant::now());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whose Sidecar object the event changes.
    fn narrowed(&self) -> Who {
        self.crew.population().narrowed().next().map_or(Who::Namespace(0), Who::Workload)
    }

    /// Which namespace these import nothing of by default, and the services of it.
    fn sidecar_parts(&self) -> (u32, impl Iterator<Item = u32> + use<>) {
        let last = self.args.namespaces - 1;
        (last, (last..self.args.services).step_by(self.args.namespaces as usize))
    }

    /// All clusters that the Sidecar object of the plain profile takes from clients.
    fn of_last_namespace(&self, gone: bool) -> Vec<Wanted> {
        let by = self.narrowed();
        let wanted = |s| Wanted { by, kind: Type::Cluster, name: self.config.cluster(s), gone };
        self.sidecar_parts().1.map(wanted).collect()
    }

    /// A resource of a service, for those who see it.
    fn wanted(&self, kind: Type, service: u32) -> Wanted {
        Wanted { by: self.config.seeing(service), kind, name: self.config.cluster(service), gone: false }
    }

    /// What brings the routes of a service.
    fn wanted_routes(&self, service: u32) -> Wanted {
        let (kind, name) = match self.crew.population().whole_routes {
            true => (Type::Route, PORT.to_string()),
            false => (Type::Host, self.config.virtual_host(service)),
        };
        Wanted { by: self.config.seeing(service), kind, name, gone: false }
    }

    fn wanted_service(&self, service: u32) -> Vec<Wanted> {
        vec![self.wanted(Type::Cluster, service), self.wanted(Type::Endpoint, service), self.wanted_routes(service)]
    }

    /// Does something that must change these resources of clients.
    async fn sent(
        &mut self,
        name: &str,
        wanted: Vec<Wanted>,
        act: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<Row> {
        self.crew.aim(wanted).await?;
        let before = self.before().await?;
        act(self).await?;
        let arrivals = self.crew.wait(before.start, self.args.patience).await?;
        self.after(Row::new(name), &before, &arrivals).await
    }

    /// Does something that must change nothing for any client. The time is that until the server was idle.
    async fn silent(&mut self, name: &str, act: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<Row> {
        self.crew.aim(Vec::new()).await?;
        let before = self.before().await?;
        act(self).await?;
        let idle = self.idle().await?.duration_since(before.start);
        let arrivals = Arrivals { times: vec![idle], concerned: 1, ..Arrivals::default() };
        self.after(Row::new(name), &before, &arrivals).await
    }

    pub(super) async fn before(&mut self) -> Result<Before> {
        if let Some(meter) = &self.meter {
            meter.reset_peak();
        }
        let counts = self.crew.look().await?.counts;
        let (cpu, load_cpu) = (self.meter.as_mut().map(Meter::cpu).unwrap_or_default(), self.crew.cpu());
        Ok(Before { counts, cpu, load_cpu, start: Instant::now() })
    }

    pub(super) async fn after(&mut self, mut row: Row, before: &Before, arrivals: &Arrivals) -> Result<Row> {
        self.idle().await?;
        row.arrived(&arrivals.times, arrivals.concerned);
        let look = self.crew.look().await?;
        let waiting = arrivals.waiting.iter().map(|client| format!("{client} still waits"));
        let complaint = Some(look.complaint).filter(|text| !text.is_empty());
        row.note(waiting.chain(complaint).collect::<Vec<_>>().join("; "));
        if let Some(meter) = &mut self.meter {
            row.measured(meter, before.cpu);
        }
        row.loaded(self.crew.cpu().saturating_sub(before.load_cpu));
        row.received(look.counts.since(before.counts));
        Ok(row)
    }

    /// Waits until nothing is received and the server does nothing; returns when that began.
    pub(super) async fn idle(&mut self) -> Result<Instant> {
        let start = Instant::now();
        let mut last = start;
        let (mut bytes, mut cpu) = (0, Duration::ZERO);
        while last.elapsed() < self.args.quiet && start.elapsed() < self.args.patience {
            let looked = Instant::now();
            sleep(LOOK).await;
            let now_bytes = self.crew.look().await?.counts.bytes;
            let now_cpu = self.meter.as_mut().map(Meter::cpu).unwrap_or_default();
            let used = now_cpu.saturating_sub(cpu);
            if now_bytes != bytes || used > looked.elapsed().mul_f64(IDLE_SHARE) {
                last = Instant::now();
            }
            (bytes, cpu) = (now_bytes, now_cpu);
        }
        Ok(last)
    }
}
