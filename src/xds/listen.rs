//! Sockets: plaintext, TLS and Unix, and the connections that come in.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{Peer, keepalive::Activity, tls};

/// A TLS handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting pauses after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections may wait to be accepted. The kernel lowers it to its own limit (`net.core.somaxconn`); what it
/// cannot queue it drops, and the peer tries again only after a second, then two, then four.
const BACKLOG: u32 = 65_535;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket cannot be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A listening socket.
pub struct Socket(Kind);

enum Kind {
    Tcp(TcpListener),
    Tls(TcpListener, watch::Receiver<Arc<rustls::ServerConfig>>),
    Unix(UnixListener),
}

impl Socket {
    /// Serves a bound listener without TLS.
    #[must_use]
    pub const fn of_listener(listener: TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }

    /// Serves a bound listener with TLS. Each handshake takes the newest configuration.
    #[must_use]
    pub const fn of_tls_listener(listener: TcpListener, config: watch::Receiver<Arc<rustls::ServerConfig>>) -> Self {
        Self(Kind::Tls(listener, config))
    }

    /// Listens on a Unix socket. A socket file that a former process left behind is replaced. Needs a runtime.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { address: path.display().to_string(), source };
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        UnixListener::bind(path).map(|l| Self(Kind::Unix(l))).map_err(failed)
    }

    /// The bound address, `None` for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) | Kind::Tls(listener, _) => listener.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }
}

/// Listens on an address, with a queue that holds the connections of all proxies at once. Needs a runtime.
///
/// # Errors
/// The address is no local one, or is in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a server that starts again need not wait for its former connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepted connections, without end. Handshakes run beside each other, so that a slow one delays nobody.
pub fn connections(socket: Socket) -> impl Stream<Item = Connection> {
    futures::stream::unfold((socket.0, JoinSet::new()), |(kind, mut handshakes)| async move {
        let connection = loop {
            let accepted = tokio::select! {
                accepted = accept(&kind) => accepted,
                Some(done) = handshakes.join_next() => match done {
                    Ok(Some(connection)) => break connection,
                    _ => continue,
                },
            };
            match accepted {
                Ok(Accepted::Ready(connection)) => break connection,
                Ok(Accepted::Handshake(stream, address, config)) => {
                    handshakes.spawn(handshake(stream, address, config));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        Some((connection, (kind, handshakes)))
    })
}

enum Accepted {
    Ready(Connection),
    Handshake(TcpStream, SocketAddr, Arc<rustls::ServerConfig>),
}

async fn accept(kind: &Kind) -> io::Result<Accepted> {
    let plain = |address, io| Connection::new(io, Peer { address, identities: Vec::new(), tls: false });
    match kind {
        Kind::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted::Ready(plain(Some(address), Box::pin(stream))))
        }
        Kind::Tls(listener, config) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted::Handshake(stream, address, Arc::clone(&config.borrow())))
        }
        Kind::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok(Accepted::Ready(plain(None, Box::pin(stream))))
        }
    }
}

async fn handshake(stream: TcpStream, address: SocketAddr, config: Arc<rustls::ServerConfig>) -> Option<Connection> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            debug!(%address, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            debug!(%address, "TLS handshake took too long");
            return None;
        }
    };
    let identities = tls::identities(stream.get_ref().1.peer_certificates().unwrap_or_default());
    Some(Connection::new(Box::pin(stream), Peer { address: Some(address), identities, tls: true }))
}

/// A connection with what is known of its peer.
pub struct Connection {
    io: Pin<Box<dyn Io>>,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    /// Whether the kernel took no more when something was written last: the peer has to read first.
    is_full: bool,
}

impl Connection {
    fn new(io: Pin<Box<dyn Io>>, peer: Peer) -> Self {
        Self { io, peer, activity: Activity::new(), is_full: false }
    }

    fn written(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let was_full = std::mem::replace(&mut self.is_full, result.is_pending());
        // What the kernel takes while it has room tells nothing of the peer.
        if was_full && matches!(result, Poll::Ready(Ok(1..))) {
            self.activity.note();
        }
        result
    }
}

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = self.io.as_mut().poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.note();
        }
        result
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.io.as_mut().poll_write(cx, buf);
        self.written(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.io.as_mut().poll_write_vectored(cx, bufs);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_heard_of_when_it_sends_and_when_it_makes_room() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let (ours, mut peer) = tokio::io::duplex(4);
        let mut connection =
            Connection::new(Box::pin(ours), Peer { address: None, identities: Vec::new(), tls: false });
        let heard = |connection: &Connection| connection.activity.last_heard();
        tokio::time::sleep(Duration::from_millis(5)).await;
        connection.write_all(b"1234").await.expect("there is room");
        assert_eq!(heard(&connection), Duration::ZERO, "the kernel has room, whatever the peer does");
        let (written, read) = tokio::join!(connection.write_all(b"56"), async { peer.read_u16().await });
        assert!(written.is_ok() && read.is_ok());
        let made_room = heard(&connection);
        assert!(made_room >= Duration::from_millis(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
        peer.write_u8(7).await.expect("there is room");
        assert_eq!(connection.read_u8().await.expect("a byte"), 7);
        assert!(heard(&connection) > made_room);
    }

    /// More than fit into the queue of the standard library's listeners; far fewer than any kernel allows.
    const CROWD: usize = 400;

    /// A connection that finds no place would come only after a second, when it is tried again.
    #[tokio::test]
    async fn a_crowd_may_wait_to_be_accepted() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("a listener");
        let address = listener.local_addr().expect("bound");
        let mut waiting: Vec<TcpStream> = Vec::with_capacity(CROWD);
        for at in 0..CROWD {
            let connected = tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(address)).await;
            let connected = connected.unwrap_or_else(|_| panic!("connection {at} found no place in the queue"));
            waiting.push(connected.expect("connects"));
        }
        let mut taken = Vec::with_capacity(CROWD);
        while taken.len() < CROWD {
            taken.push(listener.accept().await.expect("accepts"));
        }
    }
}
