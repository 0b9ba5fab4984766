//! Names of clusters (translation §0).

/// `outbound|<port>|<subset>|<host>`; the subset may be empty. Also the name of the assignment.
#[must_use]
pub fn cluster_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `outbound_.<port>_.<subset>_.<host>`: the SNI of mutual TLS, and the name behind AUTO_PASSTHROUGH gateways.
#[must_use]
pub fn sni_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// The name in statistics: the standard bootstrap's tag patterns end it with a semicolon.
pub(super) fn stat_name(name: &str) -> String {
    format!("{name};")
}
