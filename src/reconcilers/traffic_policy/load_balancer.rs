//! `loadBalancer`.

mod failover;

use std::{collections::HashSet, sync::Arc};

use super::Reader;
use crate::{
    api::load_balancer as spec,
    model::{
        Code,
        destination_rule::{HashKey, HashRing, LbAlgorithm, LoadBalancer, Warmup},
        locality_lb::{Distribute, LocalityLb},
    },
};

/// Entries of a ring when nothing is said.
const RING_SIZE: u64 = 1024;
/// Envoy refuses larger rings.
const MAX_RING_SIZE: u64 = 8 * 1024 * 1024;
/// Envoy refuses larger tables, the reference this one too.
const MAX_TABLE_SIZE: u64 = 5_000_011;
/// More would be no gradual start.
const MAX_AGGRESSION: f64 = 1_000.0;

/// `detects`: whether outliers are detected.
pub(super) fn read_at(
    reader: &mut Reader<'_>,
    settings: &spec::LoadBalancerSettings,
    detects: bool,
) -> Arc<LoadBalancer> {
    Arc::new(reader.at("loadBalancer", |r| {
        check_localities(r, settings, detects);
        load_balancer(r, settings)
    }))
}

/// Failover, of both ways of balancing between localities.
fn check_localities(reader: &mut Reader<'_>, settings: &spec::LoadBalancerSettings, detects: bool) {
    if settings.locality_lb_setting.is_some() && settings.zone_aware_lb_setting.is_some() {
        reader.wrong(Code::LocalityAmbiguous, "zoneAwareLbSetting", "cannot be set beside localityLbSetting");
    }
    let plain = settings.locality_lb_setting.as_ref().map(|l| ("localityLbSetting", &l.failover, &l.failover_priority));
    let aware =
        settings.zone_aware_lb_setting.as_ref().map(|z| ("zoneAwareLbSetting", &z.failover, &z.failover_priority));
    for (field, regions, labels) in plain.into_iter().chain(aware) {
        let fails_over = !regions.is_empty() || !labels.is_empty();
        if fails_over && !detects {
            let reason = "without outlierDetection nobody is found unhealthy, and so nothing fails over";
            reader.wrong(Code::FailoverWithoutDetection, field, reason);
        }
        reader.at(field, |r| failover::check(r, regions));
        let topology = labels.iter().enumerate().filter(|(_, label)| failover::is_topology(label));
        for (i, label) in topology.filter(|_| field == "zoneAwareLbSetting" || !regions.is_empty()) {
            let reason = format!("{label:?} cannot be set beside failover between regions");
            reader.wrong(Code::LocalityAmbiguous, &format!("{field}.failoverPriority[{i}]"), reason);
        }
    }
}

fn load_balancer(reader: &mut Reader<'_>, settings: &spec::LoadBalancerSettings) -> LoadBalancer {
    if settings.zone_aware_lb_setting.is_some() {
        reader.wrong(Code::FieldNotHonoured, "zoneAwareLbSetting", "not honoured yet");
    }
    let algorithm = match &settings.consistent_hash {
        Some(hash) => reader.at("consistentHash", |r| consistent_hash(r, hash)),
        None => simple(settings.simple.unwrap_or_default()),
    };
    check_effect(reader, settings, &algorithm);
    let given = settings.locality_lb_setting.as_ref();
    LoadBalancer {
        algorithm,
        locality: given.map(|l| reader.at("localityLbSetting", |r| locality(r, l))),
        warmup: warmup(reader, settings),
    }
}

/// Reports what the algorithm, or another field, leaves no use for.
fn check_effect(reader: &mut Reader<'_>, given: &spec::LoadBalancerSettings, algorithm: &LbAlgorithm) {
    if given.consistent_hash.is_some() && given.simple.is_some() {
        reader.wrong(Code::FieldsExclusive, "simple", "cannot be set beside consistentHash, which is used");
    }
    let (warmup, older) = (given.warmup.is_some(), given.warmup_duration_secs.is_some());
    let why = match algorithm {
        LbAlgorithm::RoundRobin | LbAlgorithm::LeastRequest => {
            return reader.without_effect([("warmupDurationSecs", warmup && older)], "beside warmup");
        }
        LbAlgorithm::Random => "with RANDOM",
        LbAlgorithm::Passthrough => "with PASSTHROUGH",
        LbAlgorithm::ConsistentHash { .. } => "with consistentHash",
    };
    let why = format!("{why}: only with ROUND_ROBIN and LEAST_REQUEST");
    reader.without_effect([("warmup", warmup), ("warmupDurationSecs", older)], &why);
}

fn simple(simple: spec::SimpleLb) -> LbAlgorithm {
    match simple {
        spec::SimpleLb::Unspecified | spec::SimpleLb::LeastConn | spec::SimpleLb::LeastRequest => {
            LbAlgorithm::LeastRequest
        }
        spec::SimpleLb::Random => LbAlgorithm::Random,
        spec::SimpleLb::Passthrough => LbAlgorithm::Passthrough,
        spec::SimpleLb::RoundRobin => LbAlgorithm::RoundRobin,
    }
}

fn consistent_hash(reader: &mut Reader<'_>, hash: &spec::ConsistentHashLb) -> LbAlgorithm {
    if hash.maglev.is_some() && hash.ring_hash.is_some() {
        reader.wrong(Code::FieldsExclusive, "ringHash", "cannot be set beside maglev, which is used");
    }
    if let Some(ring) = hash.maglev.as_ref().map(|_| "maglev").or(hash.ring_hash.as_ref().map(|_| "ringHash")) {
        if hash.minimum_ring_size != 0 {
            reader.wrong(Code::FieldsExclusive, "minimumRingSize", format!("cannot be set beside {ring}"));
        }
    } else if hash.minimum_ring_size != 0 {
        reader.wrong(Code::FieldDeprecated, "minimumRingSize", "is deprecated: use ringHash.minimumRingSize");
    }
    let ring = match (&hash.maglev, &hash.ring_hash) {
        (Some(maglev), _) => HashRing::Maglev { table_size: reader.at("maglev", |r| table_size(r, maglev)) },
        (None, Some(ring)) => reader.at("ringHash", |r| ring_of(r, ring.minimum_ring_size)),
        (None, None) => ring_of(reader, hash.minimum_ring_size),
    };
    if let Some(cookie) = &hash.http_cookie {
        reader.at("httpCookie", |r| check_cookie(r, cookie));
    }
    let key = hash_key(reader, hash);
    if key.is_none() {
        reader.wrong(
            Code::HashKeyMissing,
            "httpHeaderName",
            "one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName is required: nothing is hashed",
        );
    }
    LbAlgorithm::ConsistentHash { key, ring }
}

fn ring_of(reader: &mut Reader<'_>, size: u64) -> HashRing {
    if size > MAX_RING_SIZE {
        reader.wrong(Code::NumberOutOfRange, "minimumRingSize", format!("{size} is more than {MAX_RING_SIZE}"));
    }
    HashRing::Ring { minimum_size: if size == 0 { RING_SIZE } else { size.min(MAX_RING_SIZE) } }
}

fn table_size(reader: &mut Reader<'_>, maglev: &spec::Maglev) -> Option<u64> {
    let size = maglev.table_size;
    if size == 0 {
        let reason = format!("is missing: name a prime below {MAX_TABLE_SIZE}; 65537 is used");
        reader.wrong(Code::HashTableInvalid, "tableSize", reason);
        return None;
    }
    if size >= MAX_TABLE_SIZE || !is_prime(size) {
        reader.wrong(
            Code::HashTableInvalid,
            "tableSize",
            format!("{size} is not a prime below {MAX_TABLE_SIZE}: 65537 is used"),
        );
        return None;
    }
    Some(size)
}

/// Cheap for what is at most [`MAX_TABLE_SIZE`].
fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
}

/// What is hashed: the first that is set.
fn hash_key(reader: &mut Reader<'_>, hash: &spec::ConsistentHashLb) -> Option<HashKey> {
    let text = |value: &Option<String>| value.as_deref().filter(|v| !v.is_empty()).map(Arc::<str>::from);
    let cookie = hash.http_cookie.as_ref().filter(|c| !c.name.is_empty() && !has_control(&c.name));
    let header = text(&hash.http_header_name).filter(|name| is_plain(reader, "httpHeaderName", name));
    let keys = [
        ("httpHeaderName", header.map(HashKey::Header)),
        ("httpCookie", cookie.map(|c| hash_cookie(reader, c))),
        ("useSourceIp", (hash.use_source_ip == Some(true)).then_some(HashKey::SourceIp)),
        ("httpQueryParameterName", text(&hash.http_query_parameter_name).map(HashKey::QueryParameter)),
    ];
    let mut set = keys.into_iter().filter_map(|(field, key)| Some((field, key?)));
    let (first, key) = set.next()?;
    for (field, _) in set {
        reader.wrong(Code::FieldsExclusive, field, format!("cannot be set beside {first}, which is used"));
    }
    Some(key)
}

fn check_cookie(reader: &mut Reader<'_>, cookie: &spec::HttpCookie) {
    is_plain(reader, "name", &cookie.name);
    is_plain(reader, "path", &cookie.path);
    if cookie.name.is_empty() {
        reader.wrong(Code::HashCookieInvalid, "name", "is empty: the cookie needs a name");
    }
    let mut names = HashSet::new();
    for (i, attribute) in cookie.attributes.iter().enumerate() {
        let field = format!("attributes[{i}].name");
        if attribute.name.is_empty() {
            reader.wrong(Code::HashCookieInvalid, &field, "is empty: an attribute needs a name");
        } else if !names.insert(&attribute.name) {
            reader.wrong(Code::NameDuplicate, &field, format!("{:?} is there twice", attribute.name));
        }
        is_plain(reader, &field, &attribute.name);
        is_plain(reader, &format!("attributes[{i}].value"), &attribute.value);
    }
}

/// Envoy takes no text with a control character for what stands in headers; others are left out.
fn is_plain(reader: &mut Reader<'_>, field: &str, text: &str) -> bool {
    let found = text.chars().find(char::is_ascii_control);
    if let Some(c) = found {
        let reason = format!("{text:?} has the control character {c:?}; it is left out");
        reader.wrong(Code::ControlCharacter, field, reason);
    }
    found.is_none()
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_control())
}

fn hash_cookie(reader: &mut Reader<'_>, cookie: &spec::HttpCookie) -> HashKey {
    HashKey::Cookie {
        name: cookie.name.as_str().into(),
        path: Some(&*cookie.path).filter(|path| !has_control(path)).unwrap_or_default().into(),
        ttl: reader.at("httpCookie", |r| r.duration("ttl", cookie.ttl.as_ref())),
        attributes: cookie
            .attributes
            .iter()
            .filter(|a| !a.name.is_empty() && !has_control(&a.name) && !has_control(&a.value))
            .map(|a| (a.name.as_str().into(), a.value.as_str().into()))
            .collect(),
    }
}

fn warmup(reader: &mut Reader<'_>, settings: &spec::LoadBalancerSettings) -> Option<Warmup> {
    if let Some(warmup) = &settings.warmup {
        return reader.at("warmup", |r| {
            let aggression = r.decimal("aggression", warmup.aggression, MAX_AGGRESSION);
            if warmup.aggression == Some(0.0) {
                r.wrong(Code::NumberOutOfRange, "aggression", "is 0: use more, or leave it out");
            }
            Some(Warmup {
                duration: r.positive("duration", Some(&warmup.duration))?,
                minimum_percent: r.decimal("minimumPercent", warmup.minimum_percent, 100.0),
                aggression: aggression.filter(|a| a.to_f64() > 0.0),
            })
        });
    }
    if settings.warmup_duration_secs.is_some() {
        reader.wrong(Code::FieldDeprecated, "warmupDurationSecs", "is deprecated: use warmup.duration");
    }
    let duration = reader.positive("warmupDurationSecs", settings.warmup_duration_secs.as_ref())?;
    Some(Warmup { duration, minimum_percent: None, aggression: None })
}

/// Reads `localityLbSetting`, of a DestinationRule or the mesh.
pub(in crate::reconcilers) fn locality(reader: &mut Reader<'_>, setting: &spec::LocalityLbSetting) -> LocalityLb {
    let distribute = setting.distribute.iter().enumerate();
    let mut made = LocalityLb {
        enabled: setting.enabled.unwrap_or(true),
        distribute: distribute.map(|(i, d)| reader.at(&format!("distribute[{i}]"), |r| shares(r, d))).collect(),
        failover: setting.failover.iter().map(|f| (f.from.as_str().into(), f.to.as_str().into())).collect(),
        failover_priority: setting.failover_priority.iter().map(|l| l.as_str().into()).collect(),
    };
    let from: Vec<&str> = setting.distribute.iter().map(|d| d.from.as_str()).collect();
    failover::check_list(reader, "distribute", &from);
    if !made.distribute.is_empty() {
        if !made.failover.is_empty() {
            reader.wrong(Code::LocalityAmbiguous, "failover", "has no effect beside distribute");
        }
        let unused = [("failoverPriority", !made.failover_priority.is_empty())];
        reader.without_effect(unused, "beside distribute");
        made.failover.clear();
        made.failover_priority.clear();
    }
    made
}

fn shares(reader: &mut Reader<'_>, distribute: &spec::LocalityDistribute) -> Distribute {
    let sum: u64 = distribute.to.values().map(|w| u64::from(*w)).sum();
    if sum != 100 {
        reader.wrong(Code::LocalityShares, "to", format!("the shares add up to {sum}, not 100"));
    }
    for (locality, share) in distribute.to.iter().filter(|(_, share)| !(1..=100).contains(*share)) {
        let reason = format!("{share} is no share: use 1 to 100");
        reader.wrong(Code::LocalityShares, &format!("to[{locality:?}]"), reason);
    }
    failover::check_list(reader, "to", &distribute.to.keys().map(String::as_str).collect::<Vec<_>>());
    // Patterns with more said go first, so that `*` takes what is left.
    let mut to: Vec<(Arc<str>, u32)> = distribute.to.iter().map(|(p, w)| (p.as_str().into(), *w)).collect();
    to.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.split('/').filter(|p| *p != "*" && !p.is_empty()).count()));
    Distribute { from: distribute.from.as_str().into(), to }
}
