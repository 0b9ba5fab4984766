//! What happens to the server, and what is measured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::{
    Args,
    args::EventKind,
    config::{Config, PORT},
    fleet::{Arrivals, Fleet},
    process::Meter,
    report::{Report, Row},
    tally::Counts,
    wire::Type,
};

/// Between two looks at whether the server is idle.
const LOOK: Duration = Duration::from_millis(20);

/// A server that uses less than this share of a processor is idle: timers and metrics run even then.
const IDLE_SHARE: f64 = 0.1;

/// Runs the events.
pub(super) struct Events<'a> {
    args: &'a Args,
    config: Config,
    fleet: Fleet,
    meter: Option<Meter>,
    /// The next service to be added.
    next_service: u32,
}

/// The state before an event.
struct Before {
    start: Instant,
    cpu: Duration,
    counts: Counts,
}

impl<'a> Events<'a> {
    pub(super) fn new(args: &'a Args, config: Config, fleet: Fleet, meter: Option<Meter>) -> Self {
        Self { args, config, fleet, meter, next_service: args.services }
    }

    pub(super) async fn run(mut self, report: &mut Report) -> Result<()> {
        report.add(self.connect().await?);
        for event in self.args.events() {
            for round in 0..self.args.rounds {
                report.add(self.event(event, round).await?);
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Row> {
        let (before, goal) = (self.before(), self.fleet.aim(&[]));
        self.fleet.connect();
        let arrivals = self.fleet.wait(goal, before.start, self.args.patience).await;
        let complaint = self.fleet.complaint();
        ensure!(!arrivals.times.is_empty(), "no client was served completely: {complaint}");
        Ok(self.after(Row::new("all connect"), &before, &arrivals).await)
    }

    /// One round of an event.
    async fn event(&mut self, event: EventKind, round: u32) -> Result<Row> {
        // The first service is kept as it is for the event that only annotates.
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
            EventKind::Metadata => {
                let with_route = self.args.virtual_services() > 0;
                self.silent("metadata only", async |me: &mut Self| me.config.annotate(0, with_route).await).await
            }
            EventKind::Reconnect => {
                self.silent("all reconnect", async |me: &mut Self| {
                    me.fleet.reconnect();
                    Ok(())
                })
                .await
            }
        }
    }

    async fn change_endpoints(&mut self, name: &str, first: u32, count: u32) -> Result<Row> {
        let services = first..first + count;
        let wanted: Vec<_> = services.clone().map(|s| (Type::Endpoint, self.config.cluster(s))).collect();
        self.sent(name, &wanted, async |me: &mut Self| me.config.change_endpoints(services).await).await
    }

    async fn change_virtual_service(&mut self, service: u32) -> Result<Row> {
        let count = self.args.virtual_services();
        ensure!(count > 0, "there is no VirtualService to change: --virtual-services is 0");
        let service = service.min(count - 1);
        let wanted = [self.routes(service)];
        self.sent("one VirtualService", &wanted, async |me: &mut Self| me.config.change_virtual_service(service).await)
            .await
    }

    async fn add_service(&mut self) -> Result<Row> {
        let service = self.next_service;
        self.next_service += 1;
        let cluster = self.config.cluster(service);
        let wanted = [(Type::Cluster, cluster.clone()), (Type::Endpoint, cluster), self.routes(service)];
        self.sent("one new Service", &wanted, async |me: &mut Self| me.config.add_service(service).await).await
    }

    /// What brings the routes of a service.
    fn routes(&self, service: u32) -> (Type, String) {
        match self.args.whole_routes {
            true => (Type::Route, PORT.to_string()),
            false => (Type::Host, self.config.virtual_host(service)),
        }
    }

    /// Does something that must change these resources of every client.
    async fn sent(
        &mut self,
        name: &str,
        wanted: &[(Type, String)],
        act: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<Row> {
        let goal = self.fleet.aim(wanted);
        let before = self.before();
        act(self).await?;
        let arrivals = self.fleet.wait(goal, before.start, self.args.patience).await;
        Ok(self.after(Row::new(name), &before, &arrivals).await)
    }

    /// Does something that must change nothing for any client. The time is that until the server was idle.
    async fn silent(&mut self, name: &str, act: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<Row> {
        let before = self.before();
        act(self).await?;
        let idle = self.idle().await.duration_since(before.start);
        let arrivals = Arrivals { times: vec![idle; self.fleet.len()], waiting: None };
        Ok(self.after(Row::new(name).silent(), &before, &arrivals).await)
    }

    fn before(&mut self) -> Before {
        if let Some(meter) = &self.meter {
            meter.reset_peak();
        }
        let cpu = self.meter.as_mut().map(Meter::cpu).unwrap_or_default();
        Before { counts: self.fleet.counts(), cpu, start: Instant::now() }
    }

    async fn after(&mut self, mut row: Row, before: &Before, arrivals: &Arrivals) -> Row {
        self.idle().await;
        row.arrived(&arrivals.times, self.fleet.len());
        if let Some(client) = &arrivals.waiting {
            row.note(format!("{client} still waits; {}", self.fleet.complaint()));
        }
        if let Some(meter) = &mut self.meter {
            row.measured(meter, before.cpu);
        }
        row.received(self.fleet.counts().since(before.counts));
        row
    }

    /// Waits until nothing is received and the server does nothing; returns when that began.
    async fn idle(&mut self) -> Instant {
        let start = Instant::now();
        let mut last = start;
        let (mut bytes, mut cpu) = (0, Duration::ZERO);
        while last.elapsed() < self.args.quiet && start.elapsed() < self.args.patience {
            let looked = Instant::now();
            sleep(LOOK).await;
            let now_bytes = self.fleet.counts().bytes;
            let now_cpu = self.meter.as_mut().map(Meter::cpu).unwrap_or_default();
            let used = now_cpu.saturating_sub(cpu);
            if now_bytes != bytes || used > looked.elapsed().mul_f64(IDLE_SHARE) {
                last = Instant::now();
            }
            (bytes, cpu) = (now_bytes, now_cpu);
        }
        last
    }
}
