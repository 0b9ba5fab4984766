//! `loadBalancer`.

use std::sync::Arc;

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
/// Envoy refuses larger tables.
const MAX_TABLE_SIZE: u64 = 5_000_011;
/// More would be no gradual start.
const MAX_AGGRESSION: f64 = 1_000.0;

pub(super) fn read_at(reader: &mut Reader<'_>, settings: &spec::LoadBalancerSettings) -> Arc<LoadBalancer> {
    Arc::new(reader.at("loadBalancer", |r| load_balancer(r, settings)))
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
    if given.consistent_hash.is_some() {
        reader.without_effect([("simple", given.simple.is_some())], "beside consistentHash");
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
    if hash.maglev.is_some() {
        reader.without_effect([("ringHash", hash.ring_hash.is_some())], "beside maglev");
    }
    if let Some(ring) = hash.maglev.as_ref().map(|_| "maglev").or(hash.ring_hash.as_ref().map(|_| "ringHash")) {
        let older = [("minimumRingSize", hash.minimum_ring_size != 0)];
        reader.without_effect(older, &format!("beside {ring}"));
    }
    let ring = match (&hash.maglev, &hash.ring_hash) {
        (Some(maglev), _) => HashRing::Maglev { table_size: reader.at("maglev", |r| table_size(r, maglev)) },
        (None, Some(ring)) => reader.at("ringHash", |r| ring_of(r, ring.minimum_ring_size)),
        (None, None) => ring_of(reader, hash.minimum_ring_size),
    };
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
        return None;
    }
    if size > MAX_TABLE_SIZE || !is_prime(size) {
        reader.wrong(
            Code::HashTableInvalid,
            "tableSize",
            format!("{size} is not a prime of at most {MAX_TABLE_SIZE}: 65537 is used"),
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
    let cookie = hash.http_cookie.as_ref().filter(|c| !c.name.is_empty());
    let keys = [
        ("httpHeaderName", text(&hash.http_header_name).map(HashKey::Header)),
        ("httpCookie", cookie.map(|c| hash_cookie(reader, c))),
        ("useSourceIp", (hash.use_source_ip == Some(true)).then_some(HashKey::SourceIp)),
        ("httpQueryParameterName", text(&hash.http_query_parameter_name).map(HashKey::QueryParameter)),
    ];
    let mut set = keys.into_iter().filter_map(|(field, key)| Some((field, key?)));
    let (first, key) = set.next()?;
    reader.without_effect(set.map(|(field, _)| (field, true)), &format!("beside {first}"));
    Some(key)
}

fn hash_cookie(reader: &mut Reader<'_>, cookie: &spec::HttpCookie) -> HashKey {
    HashKey::Cookie {
        name: cookie.name.as_str().into(),
        path: cookie.path.as_str().into(),
        ttl: reader.at("httpCookie", |r| r.duration("ttl", cookie.ttl.as_ref())),
        attributes: cookie.attributes.iter().map(|a| (a.name.as_str().into(), a.value.as_str().into())).collect(),
    }
}

fn warmup(reader: &mut Reader<'_>, settings: &spec::LoadBalancerSettings) -> Option<Warmup> {
    if let Some(warmup) = &settings.warmup {
        return reader.at("warmup", |r| {
            let aggression = r.decimal("aggression", warmup.aggression, MAX_AGGRESSION);
            Some(Warmup {
                duration: r.positive("duration", Some(&warmup.duration))?,
                minimum_percent: r.decimal("minimumPercent", warmup.minimum_percent, 100.0),
                aggression: aggression.filter(|a| a.to_f64() > 0.0),
            })
        });
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
    let fails_over = !made.failover.is_empty() || !made.failover_priority.is_empty();
    if fails_over && !made.distribute.is_empty() {
        reader.wrong(Code::LocalityAmbiguous, "failover", "has no effect beside distribute");
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
    // Patterns with more said go first, so that `*` takes what is left.
    let mut to: Vec<(Arc<str>, u32)> = distribute.to.iter().map(|(p, w)| (p.as_str().into(), *w)).collect();
    to.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.split('/').filter(|p| *p != "*" && !p.is_empty()).count()));
    Distribute { from: distribute.from.as_str().into(), to }
}
