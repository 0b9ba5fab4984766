//! Peers that answer no ping.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// What a peer of HTTP/2 says first: the preface, and settings of which none differs from the usual.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn who_answers_no_ping_is_given_up_and_others_stay() {
    let often = Duration::from_secs(1);
    let transport = Transport { keepalive_interval: often, keepalive_timeout: often, ..Transport::default() };
    let rig = Rig::serving("cds a@1", true, None, transport).await;
    let mut live = rig.delta().await;
    live.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(live.take().await, "a@1");
    let mut silent = TcpStream::connect(rig.address).await.expect("connects");
    silent.write_all(GREETING).await.expect("taken");
    let mut heard = Vec::new();
    let end = silent.read_to_end(&mut heard);
    // Whether it ends or is cut off: it is over.
    drop(tokio::time::timeout(DEADLINE, end).await.expect("the connection ends"));
    assert!(!heard.is_empty(), "the server is one of HTTP/2");
    rig.publish("cds a@2");
    assert_eq!(live.take().await, "a@2");
}
