//! Numbers and durations as Envoy's messages have them.

use std::time::Duration;

use envoy_types::pb::google::protobuf::{Duration as PbDuration, UInt32Value};

/// A duration on the wire.
pub(super) fn duration(value: Duration) -> PbDuration {
    PbDuration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or_default(),
    }
}

/// A number that may be unset on the wire.
pub(super) fn uint32(value: u32) -> UInt32Value {
    UInt32Value { value }
}

/// A count of a policy, where zero is unset.
pub(super) fn set(value: u32) -> Option<UInt32Value> {
    (value > 0).then(|| uint32(value))
}
