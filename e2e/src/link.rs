//! A TCP connection that can be cut.

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
    up: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// Opens a link to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let up = Arc::new(watch::channel(true).0);
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(listener, target, up.clone()));
        Ok(Self { address, up, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections; new ones are closed at once.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Serves again.
    pub fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn forward(listener: TcpListener, target: SocketAddr, up: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut inner, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mut state = up.subscribe();
        if !*state.borrow_and_update() {
            continue;
        }
        connections.spawn(async move {
            let Ok(mut outer) = TcpStream::connect(target).await else { return };
            tokio::select! {
                // Either way both ends are closed, which is all that a cut means.
                _ = copy_bidirectional(&mut inner, &mut outer) => {}
                _ = state.wait_for(|up| !up) => {}
            }
        });
    }
}
