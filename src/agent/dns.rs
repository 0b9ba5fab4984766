//! Names, where redirection leads the workload's questions to the agent (`ISTIO_META_DNS_CAPTURE`): those of hosts of the
//! mesh are answered from the control plane's table, all others are handed on to the pod's own resolver, and its answers
//! back, as they are (contract §6.4).

mod answer;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

use self::answer::{Transport, Verdict};
use super::{metrics::Metrics, names::Lookup, node::Surroundings};

/// The port of servers of names.
const PORT: u16 = 53;

/// How long one server may take; resolvers of workloads ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The longest message.
const LONGEST: usize = 65_535;

/// How many questions may wait for an answer; more are dropped, as a full queue of a server's would be.
const MOST: usize = 4096;

/// What questions are answered from.
#[derive(Debug)]
pub struct Resolver {
    lookup: Lookup,
    servers: Vec<SocketAddr>,
    metrics: Arc<Metrics>,
    turn: AtomicUsize,
}

impl Resolver {
    /// From the newest table, or else from the first of `servers` that answers.
    #[must_use]
    pub fn new(lookup: Lookup, servers: Vec<SocketAddr>, metrics: Arc<Metrics>) -> Self {
        Self { lookup, servers, metrics, turn: AtomicUsize::default() }
    }

    fn verdict(&self, question: &[u8], transport: Transport) -> Verdict {
        self.metrics.question();
        // Before the table has come nobody can tell whether a name is one of the mesh.
        let Some(known) = self.lookup.borrow().clone() else { return failed(question) };
        answer::answer(question, &known.table, transport, self.turn.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks others.
    async fn hand_on(&self, question: &[u8], transport: Transport) -> Verdict {
        self.metrics.question_handed_on();
        for server in &self.servers {
            let asked = async {
                match transport {
                    Transport::Udp => ask(*server, question).await,
                    Transport::Tcp => ask_over_tcp(*server, question).await,
                }
            };
            match timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Verdict::Answer(answer),
                Ok(Err(error)) => tracing::warn!(%error, %server, "a server of names cannot be asked"),
                Err(_) => tracing::warn!(%server, "a server of names does not answer"),
            }
        }
        self.metrics.question_failed();
        failed(question)
    }
}

fn failed(question: &[u8]) -> Verdict {
    answer::failure(question).map_or(Verdict::Drop, Verdict::Answer)
}

/// The agent's place among servers of names.
#[derive(Debug)]
pub struct Server {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    resolver: Arc<Resolver>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(address: SocketAddr, resolver: Arc<Resolver>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let udp = Arc::new(UdpSocket::bind(tcp.local_addr()?).await?);
        Ok(Self { udp, tcp, resolver })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// A socket failed.
    pub async fn run(self) -> io::Result<()> {
        let mut waiting = JoinSet::new();
        let mut question = vec![0; LONGEST];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut question) => {
                    let Ok((length, peer)) = received else { continue };
                    let question = &question[..length];
                    match self.resolver.verdict(question, Transport::Udp) {
                        Verdict::Answer(answer) => give(&self.udp, &answer, peer).await,
                        Verdict::HandOn if waiting.len() < MOST => {
                            let (udp, resolver) = (Arc::clone(&self.udp), Arc::clone(&self.resolver));
                            waiting.spawn(hand_on(udp, resolver, question.to_vec(), peer));
                        }
                        Verdict::HandOn | Verdict::Drop => {}
                    }
                }
                accepted = self.tcp.accept() => {
                    let (stream, peer) = accepted?;
                    if waiting.len() < MOST {
                        waiting.spawn(converse(Arc::clone(&self.resolver), stream, peer));
                    }
                }
                Some(_) = waiting.join_next() => {}
            }
        }
    }
}

async fn give(udp: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = udp.send_to(answer, peer).await {
        tracing::debug!(%error, %peer, "an answer cannot be given");
    }
}

async fn hand_on(udp: Arc<UdpSocket>, resolver: Arc<Resolver>, question: Vec<u8>, peer: SocketAddr) {
    if let Verdict::Answer(answer) = resolver.hand_on(&question, Transport::Udp).await {
        give(&udp, &answer, peer).await;
    }
}

/// Each question has a port of its own: an answer from elsewhere, or to another question, is none.
async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0_u8; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        // The message's number.
        if answer[..length].get(..2) == question.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn ask_over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, question).await?;
    read_message(&mut stream).await
}

/// Answers the questions of a connection one after the other.
async fn converse(resolver: Arc<Resolver>, mut stream: TcpStream, peer: SocketAddr) {
    let ended: io::Result<()> = async {
        loop {
            let question = timeout(SILENCE, read_message(&mut stream)).await??;
            let mut verdict = resolver.verdict(&question, Transport::Tcp);
            if verdict == Verdict::HandOn {
                verdict = resolver.hand_on(&question, Transport::Tcp).await;
            }
            let Verdict::Answer(answer) = verdict else { return Ok(()) };
            timeout(SILENCE, write_message(&mut stream, &answer)).await??;
        }
    }
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "questions over TCP ended");
    }
}

/// Over TCP, a message's length stands before it.
async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

/// The servers that a resolver's configuration names.
#[must_use]
pub fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let named = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    named.map(|address: IpAddr| SocketAddr::new(address, PORT)).collect()
}

/// The first domain that a resolver's configuration has names tried in; of several lines the last one counts.
#[must_use]
pub fn search_domain<'a>(resolv_conf: &'a str) -> &'a str {
    let first = |line: &'a str| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain")).then(|| words.next().unwrap_or_default())
    };
    resolv_conf.lines().rev().find_map(first).unwrap_or_default()
}

/// Where redirection leads questions to, unless the pod says otherwise (`DNS_PROXY_ADDR`).
#[must_use]
pub fn places(pod: &Surroundings) -> Vec<SocketAddr> {
    let said = pod.variable("DNS_PROXY_ADDR");
    let (host, port) = said.rsplit_once(':').unwrap_or(("localhost", ""));
    let port = port.parse().unwrap_or(super::redirect::DNS_PORT);
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(host) => vec![SocketAddr::new(host, port)],
        Err(_) => loopbacks(pod).map(|host| SocketAddr::new(host, port)).collect(),
    }
}

/// Loopback in each family of the pod.
fn loopbacks(pod: &Surroundings) -> impl Iterator<Item = IpAddr> {
    let has_v6 = pod.addresses.iter().any(IpAddr::is_ipv6);
    let v4 = (!pod.is_ipv6_only()).then_some(IpAddr::from(Ipv4Addr::LOCALHOST));
    v4.into_iter().chain(has_v6.then_some(IpAddr::from(Ipv6Addr::LOCALHOST)))
}

#[cfg(test)]
mod tests;
