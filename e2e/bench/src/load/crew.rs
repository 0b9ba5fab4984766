//! The processes with the clients, as one.

use std::{
    collections::HashSet,
    ops::Range,
    pin::Pin,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines},
    process::{Child, Command},
    time::sleep,
};

use super::{
    clock::Clock,
    fleet::{Look, Setup, Wanted},
    order::{Answer, Order},
    population::Population,
    process::Meter,
    wire::Type,
};

/// Tells the program that it is a process with clients.
pub(super) const WORKER: &str = "--worker";

/// Between two looks at whether the clients have what they wait for. The clients themselves note when they had it.
const LOOK: Duration = Duration::from_millis(10);

type Orders = Pin<Box<dyn AsyncWrite + Send>>;
type Answers = Lines<BufReader<Pin<Box<dyn AsyncRead + Send>>>>;

/// When the clients had what they waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Ascending; as many as had it in time.
    pub(super) times: Vec<Duration>,
    /// Clients that wait for something.
    pub(super) concerned: usize,
    /// A client that still does.
    pub(super) waiting: Option<String>,
    /// The last reason for which a stream has broken.
    pub(super) complaint: String,
}

/// A process with clients.
pub(super) struct Hand {
    orders: Orders,
    answers: Answers,
    /// Killed when dropped.
    process: Option<(Child, Meter)>,
}

impl Hand {
    /// Clients at the other end of a connection.
    pub(super) fn new(orders: impl AsyncWrite + Send + 'static, answers: impl AsyncRead + Send + 'static) -> Self {
        let answers: Pin<Box<dyn AsyncRead + Send>> = Box::pin(answers);
        Self { orders: Box::pin(orders), answers: BufReader::new(answers).lines(), process: None }
    }

    /// Starts this program once more.
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (orders, answers) = child.stdin.take().zip(child.stdout.take()).context("a process without pipes")?;
        let pid = child.id().context("the process has exited at once")?;
        Ok(Self { process: Some((child, Meter::new(pid))), ..Self::new(orders, answers) })
    }

    async fn say(&mut self, order: &str) -> Result<()> {
        self.orders.write_all(order.as_bytes()).await?;
        self.orders.write_all(b"\n").await?;
        Ok(self.orders.flush().await?)
    }

    async fn hear(&mut self) -> Result<Answer> {
        let line = self.answers.next_line().await?.context("it has exited")?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// All clients.
pub(super) struct Crew {
    hands: Vec<Hand>,
    clock: Clock,
    setup: Setup,
}

impl Crew {
    /// Starts processes and gives each its share of the clients. None of these is connected.
    pub(super) async fn start(processes: usize, setup: Setup) -> Result<Self> {
        let hands: Result<_> = (0..processes).map(|_| Hand::start()).collect();
        Self::of(hands.context("start a process with clients")?, setup).await
    }

    /// Gives each of some processes its share.
    pub(super) async fn of(hands: Vec<Hand>, setup: Setup) -> Result<Self> {
        let clock = Clock::new();
        let mut crew = Self { hands, clock, setup };
        let share = crew.setup.clients.len().div_ceil(crew.hands.len().max(1));
        let (mut from, to) = (crew.setup.clients.start, crew.setup.clients.end);
        for hand in &mut crew.hands {
            let clients = from.min(to)..(from + share).min(to);
            from += share;
            let start = Order::Start(Setup { clients, ..crew.setup.clone() });
            hand.say(&serde_json::to_string(&start)?).await?;
            hand.hear().await.context("start clients")?;
        }
        Ok(crew)
    }

    pub(super) fn population(&self) -> &Population {
        &self.setup.population
    }

    async fn ask(&mut self, order: &Order) -> Result<Vec<Answer>> {
        let text = serde_json::to_string(order)?;
        for hand in &mut self.hands {
            hand.say(&text).await.context("a process with clients")?;
        }
        let mut answers = Vec::with_capacity(self.hands.len());
        for hand in &mut self.hands {
            answers.push(hand.hear().await.context("a process with clients")?);
        }
        Ok(answers)
    }

    /// Connects clients.
    pub(super) async fn join(&mut self, clients: Range<usize>, awaited: bool) -> Result<()> {
        self.ask(&Order::Join { clients, awaited }).await.map(drop)
    }

    /// Disconnects clients, which forget everything.
    pub(super) async fn leave(&mut self, clients: Range<usize>) -> Result<()> {
        self.ask(&Order::Leave(clients)).await.map(drop)
    }

    /// Makes all clients reconnect.
    pub(super) async fn reconnect(&mut self) -> Result<()> {
        self.ask(&Order::Reconnect).await.map(drop)
    }

    /// Sets what the clients wait for.
    pub(super) async fn aim(&mut self, wanted: Vec<Wanted>) -> Result<()> {
        self.ask(&Order::Aim(wanted)).await.map(drop)
    }

    pub(super) async fn look(&mut self) -> Result<Look> {
        let mut all = Look::default();
        for answer in self.ask(&Order::Look).await? {
            let Answer::Look(look) = answer else { bail!("an answer to another order") };
            all.concerned += look.concerned;
            all.reached += look.reached;
            all.counts = all.counts.plus(look.counts);
            if !look.complaint.is_empty() {
                all.complaint = look.complaint;
            }
        }
        Ok(all)
    }

    /// When the clients had what they wait for, as far as they have it.
    pub(super) async fn arrivals(&mut self, start: Instant) -> Result<Arrivals> {
        let mut all = Arrivals::default();
        for answer in self.ask(&Order::Arrivals).await? {
            let Answer::Arrivals { times, waiting } = answer else { bail!("an answer to another order") };
            all.times.extend(times.into_iter().map(|at| self.clock.after(start, at)));
            all.waiting = all.waiting.or(waiting);
        }
        all.times.sort_unstable();
        let look = self.look().await?;
        (all.concerned, all.complaint) = (look.concerned, look.complaint);
        Ok(all)
    }

    /// Waits until all clients have what they wait for.
    pub(super) async fn wait(&mut self, start: Instant, patience: Duration) -> Result<Arrivals> {
        loop {
            let look = self.look().await?;
            if look.reached == look.concerned || start.elapsed() > patience {
                return self.arrivals(start).await;
            }
            sleep(LOOK).await;
        }
    }

    /// How many different resources there are of each type, in its order, over all clients.
    pub(super) async fn encodings(&mut self) -> Result<Vec<usize>> {
        let mut all = vec![HashSet::new(); Type::COUNT];
        for answer in self.ask(&Order::Encodings).await? {
            let Answer::Encodings(of_types) = answer else { bail!("an answer to another order") };
            all.iter_mut().zip(of_types).for_each(|(all, of_type)| all.extend(of_type));
        }
        Ok(all.iter().map(HashSet::len).collect())
    }

    /// [`super::fleet::Fleet::digests`] of all.
    pub(super) async fn digests(&mut self) -> Result<Vec<(usize, u64)>> {
        let mut all = Vec::new();
        for answer in self.ask(&Order::Digests).await? {
            let Answer::Digests(digests) = answer else { bail!("an answer to another order") };
            all.extend(digests);
        }
        Ok(all)
    }

    /// The processor time of the processes so far.
    pub(super) fn cpu(&mut self) -> Duration {
        self.hands.iter_mut().filter_map(|hand| Some(hand.process.as_mut()?.1.cpu())).sum()
    }
}
