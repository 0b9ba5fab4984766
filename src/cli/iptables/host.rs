//! What this machine says of itself.

use std::path::Path;

/// The user of the proxy, where there is none of its name (contract §6.5).
const PROXY_USER: u32 = 1337;

/// Whether an interface has an IPv6 address that is neither its link's nor loopback's.
pub(super) fn has_ipv6() -> bool {
    let text = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    // Address, interface, prefix length, scope, flags, name.
    text.lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

/// The number of the user that the variable ENVOY_USER names.
pub(super) fn proxy_user() -> u32 {
    let named = std::env::var_os("ENVOY_USER").unwrap_or_else(|| "istio-proxy".into());
    number(Path::new("/etc/passwd"), &named.to_string_lossy()).unwrap_or(PROXY_USER)
}

/// The number of a group.
pub(super) fn group(name: &str) -> Option<u32> {
    number(Path::new("/etc/group"), name)
}

/// The third field of the line of a name.
fn number(file: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(':').nth(1)?.parse().ok())
}
