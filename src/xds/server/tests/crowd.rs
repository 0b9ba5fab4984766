//! Many peers, and peers that do not read: none of them delays another.

use std::sync::atomic::AtomicUsize;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::snapshot::{Encoder, Name, PartMap, PartState, Refs, Slot, TypeMap, View};

/// Clusters beside `a`, of 1 kB each.
const CLUSTERS: usize = 1_000;

/// Clusters that differ between two paddings.
fn padding(text: &str) -> PartMap {
    let cluster = |n: usize| (format!("padding-{n}"), format!("{text:>1000}"));
    (0..CLUSTERS).map(cluster).map(|(name, body)| entry(&name, body)).collect()
}

fn entry(name: &str, body: String) -> (Name, Slot) {
    let made = Encoder::bytes(ResourceType::Cluster, name.into(), body.into(), Refs::default());
    (name.into(), Some(Arc::new(made)))
}

impl Rig {
    /// Publishes clusters, and `a` of a version.
    fn publish_clusters(&self, padding: &PartMap, a: usize) {
        let mut map = padding.clone();
        map.extend([entry("a", a.to_string())]);
        let clusters = View::new(vec![PartState { id: 1, map }]);
        let of_type = |t| if t == ResourceType::Cluster { clusters.clone() } else { View::default() };
        let views = TypeMap::from_fn(of_type);
        self.house.snapshots.send_replace(Arc::new(Snapshot::new(0, views)));
    }
}

/// The version of `a` in a response, if it is there.
fn version_of_a(response: &DeltaDiscoveryResponse) -> Option<usize> {
    let a = response.resources.iter().find(|r| r.name == "a")?;
    std::str::from_utf8(&a.resource.as_ref()?.value).ok()?.parse().ok()
}

impl Delta {
    /// Takes responses until `a` has a version; how many there were.
    async fn take_until(&mut self, a: usize) -> usize {
        let mut taken = 0;
        loop {
            taken += 1;
            let response = self.next().await;
            self.answer(&response, None).await;
            if version_of_a(&response) == Some(a) {
                return taken;
            }
        }
    }
}

/// A network between a peer and the server that stops taking what the server sends while `reads` is false.
async fn network(server: SocketAddr, reads: watch::Receiver<bool>, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    tasks.spawn(async move {
        let (peer, _) = listener.accept().await.expect("a peer");
        let server = TcpStream::connect(server).await.expect("the server");
        let ((mut from_peer, mut to_peer), (mut from_server, mut to_server)) = (peer.into_split(), server.into_split());
        let up = async { drop(tokio::io::copy(&mut from_peer, &mut to_server).await) };
        let down = async {
            let (mut reads, mut buffer) = (reads, vec![0; 64 * 1024]);
            while reads.wait_for(|reads| *reads).await.is_ok() {
                match from_server.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(n) if to_peer.write_all(&buffer[..n]).await.is_err() => return,
                    Ok(_) => {}
                }
            }
        };
        tokio::join!(up, down);
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_delays_no_other_and_is_owed_the_newest_state_only() {
    const CHANGES: usize = 40;
    let rig = Rig::start("").await;
    rig.publish_clusters(&padding("0"), 0);
    let pushes = || rig.shared.clients.counters.pushes[ResourceType::Cluster].get() as usize;
    let (reads, reading) = watch::channel(true);
    let mut tasks = JoinSet::new();
    let address = network(rig.address, reading, &mut tasks).await;
    // Its windows never fill: what holds the server back is the connection itself.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a uri");
    let endpoint = endpoint.initial_stream_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let mut stuck = Delta::open(endpoint.connect().await.expect("connects")).await;
    stuck.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(stuck.take_until(0).await, 1);
    let mut live = rig.delta().await;
    live.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(live.take_until(0).await, 1);

    reads.send_replace(false);
    let mut taken = 0;
    for change in 1..=CHANGES {
        rig.publish_clusters(&padding(&change.to_string()), change);
        // Each is waited for, and comes although the other one takes nothing.
        taken += live.take_until(change).await;
    }
    assert!(taken >= CHANGES);
    // As much as fits into the buffers of the system was made for the other one, and no more.
    let made = pushes() - 2 - taken;
    assert!(made < CHANGES / 2, "{made} responses were made for a peer that takes nothing");
    reads.send_replace(true);
    let owed = stuck.take_until(CHANGES).await;
    assert!(owed <= made + 2, "{owed} responses, {made} of them made before");
    drop((live, stuck));
    until("nobody is connected", || rig.shared.clients.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_connected_are_served_while_a_herd_arrives() {
    const HERD: usize = 100;
    let (rig, clusters) = (Rig::start("").await, padding(""));
    rig.publish_clusters(&clusters, 0);
    let mut live = rig.delta().await;
    live.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(live.take_until(0).await, 1);
    let (served, mut herd) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let channels = futures::future::join_all((0..HERD).map(|_| rig.channel())).await;
    for channel in channels {
        let served = Arc::clone(&served);
        herd.spawn(async move {
            let mut one = Delta::open(channel).await;
            one.subscribe(ResourceType::Cluster, &[]).await;
            one.subscribe(ResourceType::Endpoint, &["a", "b"]).await;
            let first = one.next().await;
            assert!(first.resources.len() > CLUSTERS);
            served.fetch_add(1, Ordering::Relaxed);
            one
        });
    }
    let served = || served.load(Ordering::Relaxed);
    until("the first of the herd is served", || served() > 0).await;
    for change in 1..=3 {
        rig.publish_clusters(&clusters, change);
        assert_eq!(live.take_until(change).await, 1);
        assert!(served() < HERD, "change {change} came after the whole herd");
    }
    let herd = herd.join_all().await;
    assert_eq!((herd.len(), rig.shared.clients.len()), (HERD, HERD + 1));
    until("what they ask for is known", || !rig.shared.clients.names.is_empty()).await;
    drop((live, herd));
    until("nobody is connected", || rig.shared.clients.is_empty()).await;
    // What was shared is forgotten when nobody asked for it between two looks, and nobody has it.
    until("nothing is kept", || {
        rig.shared.clients.forget_gone();
        rig.shared.clients.frames.is_empty() && rig.shared.clients.names.is_empty()
    })
    .await;
}
