//! Injected faults, as settings of the fault filter.

use envoy_types::pb::{
    envoy::extensions::filters::{
        common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier},
        http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
    },
    google::protobuf::Any,
};

use super::percent;
use crate::{
    model::virtual_service::{Abort, AbortStatus, Delay, Fault},
    snapshot::pack_any,
    translate::listeners::wire,
};

/// `None` when there is nothing to inject: the filter's own settings inject nothing.
pub(super) fn settings(fault: &Fault) -> Option<Any> {
    let (delay, abort) = (fault.delay.map(delay), fault.abort.map(abort));
    (delay.is_some() || abort.is_some()).then(|| pack_any(&HttpFault { delay, abort, ..HttpFault::default() }))
}

fn delay(delay: Delay) -> FaultDelay {
    FaultDelay {
        percentage: Some(percent::fraction(delay.percent)),
        fault_delay_secifier: wire::duration(delay.fixed).map(FaultDelaySecifier::FixedDelay),
    }
}

fn abort(abort: Abort) -> FaultAbort {
    let error = match abort.status {
        AbortStatus::Http(status) => ErrorType::HttpStatus(status.into()),
        AbortStatus::Grpc(status) => ErrorType::GrpcStatus(status),
    };
    FaultAbort { percentage: abort.percent.map(percent::fraction), error_type: Some(error), ..FaultAbort::default() }
}
