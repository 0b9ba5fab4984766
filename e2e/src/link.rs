//! A TCP connection that can be cut, or lead elsewhere.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Forwards a loopback port to an address until cut; then connections are reset and new ones are refused service,
/// as when a network is down.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    up: bool,
    target: SocketAddr,
}

impl Link {
    /// Opens a link to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::channel(State { up: true, target }).0);
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(listener, state.clone()));
        Ok(Self { address, state, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections; new ones are closed at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.up = false);
    }

    /// Serves again.
    pub fn mend(&self) {
        self.state.send_modify(|state| state.up = true);
    }

    /// Leads new connections to another address, and ends those to the former one.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }
}

async fn forward(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut inner, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mut changes = state.subscribe();
        let now = *changes.borrow_and_update();
        if !now.up {
            continue;
        }
        connections.spawn(async move {
            let Ok(mut outer) = TcpStream::connect(now.target).await else { return };
            tokio::select! {
                // Either way both ends are closed, which is all that a cut means.
                _ = copy_bidirectional(&mut inner, &mut outer) => {}
                _ = changes.wait_for(|state| *state != now) => {}
            }
        });
    }
}
