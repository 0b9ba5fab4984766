//! Names, where redirection leads the workload's questions to the agent (`ISTIO_META_DNS_CAPTURE`): each is handed on to
//! the pod's own resolver, and its answer back, as they are.
//!
//! The control plane tells no names of its own yet (NDS): those of a ServiceEntry that no server knows stay unknown.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

/// The port of servers of names.
const PORT: u16 = 53;

/// How long one server may take; resolvers of workloads ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest message over UDP.
const LONGEST: usize = 65_535;

/// How many questions may wait for an answer; more are dropped, as a full queue of a server's would be.
const MOST: usize = 4096;

/// The agent's place among servers of names.
#[derive(Debug)]
pub struct Relay {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    servers: Arc<[SocketAddr]>,
}

impl Relay {
    /// Listens. Questions go to the first of `servers` that answers.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(address: SocketAddr, servers: Vec<SocketAddr>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let udp = Arc::new(UdpSocket::bind(tcp.local_addr()?).await?);
        Ok(Self { udp, tcp, servers: servers.into() })
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
                    if waiting.len() < MOST {
                        let (udp, servers) = (Arc::clone(&self.udp), Arc::clone(&self.servers));
                        waiting.spawn(answer(udp, servers, question[..length].to_vec(), peer));
                    }
                }
                accepted = self.tcp.accept() => {
                    let (stream, _) = accepted?;
                    if waiting.len() < MOST {
                        waiting.spawn(stream_to(stream, Arc::clone(&self.servers)));
                    }
                }
                Some(_) = waiting.join_next() => {}
            }
        }
    }
}

async fn answer(udp: Arc<UdpSocket>, servers: Arc<[SocketAddr]>, question: Vec<u8>, peer: SocketAddr) {
    for server in servers.iter() {
        match timeout(PATIENCE, ask(*server, &question)).await {
            Ok(Ok(answer)) => {
                if let Err(error) = udp.send_to(&answer, peer).await {
                    tracing::debug!(%error, %peer, "an answer cannot be given");
                }
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, %server, "a server of names cannot be asked"),
            Err(_) => tracing::warn!(%server, "a server of names does not answer"),
        }
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

async fn stream_to(mut stream: TcpStream, servers: Arc<[SocketAddr]>) {
    for server in servers.iter() {
        if let Ok(Ok(mut upstream)) = timeout(PATIENCE, TcpStream::connect(server)).await {
            if let Err(error) = copy_bidirectional(&mut stream, &mut upstream).await {
                tracing::debug!(%error, %server, "a question over TCP ended");
            }
            return;
        }
        tracing::warn!(%server, "a server of names does not answer over TCP");
    }
}

/// The servers that a resolver's configuration names.
#[must_use]
pub fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let named = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    named.map(|address: IpAddr| SocketAddr::new(address, PORT)).collect()
}

/// Where redirection leads questions to.
#[must_use]
pub fn place() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, super::redirect::DNS_PORT))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HERE: &str = "127.0.0.1:0";

    #[tokio::test]
    async fn a_question_goes_to_the_first_server_that_answers() {
        let server = UdpSocket::bind(HERE).await.expect("a port");
        let nobody = UdpSocket::bind(HERE).await.expect("a port").local_addr().expect("an address");
        let servers = vec![nobody, server.local_addr().expect("an address")];
        let relay = Relay::bind(HERE.parse().expect("an address"), servers).await.expect("a port");
        let place = relay.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { relay.run().await.expect("it runs") });
        tasks.spawn(async move {
            let mut question = [0; 100];
            let (length, peer) = server.recv_from(&mut question).await.expect("a question");
            // One to another question is no answer.
            server.send_to(b"\x09\x09forged", peer).await.expect("sent");
            question[length - 1] = b'!';
            server.send_to(&question[..length], peer).await.expect("sent");
        });
        let workload = UdpSocket::bind(HERE).await.expect("a port");
        workload.connect(place).await.expect("a peer");
        workload.send(b"\x01\x02name?").await.expect("sent");
        let mut answer = [0; 100];
        let length = workload.recv(&mut answer).await.expect("an answer");
        assert_eq!(&answer[..length], b"\x01\x02name!");
    }

    #[tokio::test]
    async fn questions_over_tcp_are_handed_on() {
        let server = TcpListener::bind(HERE).await.expect("a port");
        let servers = vec![server.local_addr().expect("an address")];
        let relay = Relay::bind(HERE.parse().expect("an address"), servers).await.expect("a port");
        let place = relay.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { relay.run().await.expect("it runs") });
        let mut workload = TcpStream::connect(place).await.expect("a connection");
        workload.write_all(b"question").await.expect("sent");
        let (mut asked, _) = server.accept().await.expect("a connection");
        let mut question = [0; 8];
        asked.read_exact(&mut question).await.expect("a question");
        asked.write_all(&question).await.expect("sent");
        drop(asked);
        let mut answer = Vec::new();
        workload.read_to_end(&mut answer).await.expect("an answer");
        assert_eq!(answer, b"question");
    }

    #[test]
    fn servers_are_those_of_the_resolver() {
        let found = servers("search x\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver broken\n");
        assert_eq!(found, ["10.96.0.10:53".parse().expect("one"), "[fd00::a]:53".parse().expect("one")]);
    }
}
