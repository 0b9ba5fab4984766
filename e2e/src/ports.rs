//! Ports that nothing listens on.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, bail};

/// Below the ports that systems give to outgoing connections (Linux: from 32768), so that none of those takes one
/// between our look and the use.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;
/// Test processes that run at once start this far apart.
const STRIDE: u32 = 211;

/// A TCP port that was free on all addresses a moment ago; this process gives each out once.
///
/// # Errors
/// When none is free.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let offset = std::process::id().wrapping_mul(STRIDE).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + offset % COUNT)?;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
