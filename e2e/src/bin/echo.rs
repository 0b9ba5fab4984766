//! The server of the image `echo`: says who it is and what it was asked (see [`Upstream`]).
//!
//! Each argument is a wire and a port, such as `http1:8080`, `http2:8081` or `tcp:9000`.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, bail};
use mizzen_e2e::{Upstream, UpstreamOptions, Wire};

#[tokio::main]
async fn main() -> Result<()> {
    // The name of the pod.
    let name = std::fs::read_to_string("/etc/hostname").context("read /etc/hostname")?;
    let mut servers = Vec::new();
    for argument in std::env::args().skip(1) {
        servers.push(Upstream::start(name.trim(), options(&argument)?).await?);
    }
    // As process 1 of a container nothing ends it but what it handles.
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?.recv().await;
    Ok(())
}

fn options(argument: &str) -> Result<UpstreamOptions> {
    let (wire, port) = argument.split_once(':').context("usage: echo WIRE:PORT…")?;
    let wire = match wire {
        "http1" => Wire::Http1,
        "http2" => Wire::Http2,
        "tcp" => Wire::Tcp,
        _ => bail!("no wire {wire} (there are: http1, http2, tcp)"),
    };
    let port = port.parse().with_context(|| format!("port of {argument}"))?;
    // Takes connections of both address families.
    Ok(UpstreamOptions { ip: Ipv6Addr::UNSPECIFIED.into(), port, wire, ..UpstreamOptions::default() })
}
