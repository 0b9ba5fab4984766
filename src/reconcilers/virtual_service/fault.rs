//! Faults to inject.

use super::reader::Reader;
use crate::{
    api::http_route as spec,
    model::{
        Code,
        virtual_service::{Abort, AbortStatus, Delay, Fault, Percent},
    },
};

/// Names of gRPC statuses; the position is the code.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Envoy counts in millionths.
const SMALLEST_PERCENT: f64 = 0.0001;

impl Reader<'_> {
    pub(super) fn fault(&mut self, given: &spec::HttpFaultInjection) -> Fault {
        if given.delay.is_none() && given.abort.is_none() {
            self.note(Code::FaultMissing, "fault", "it injects nothing: set delay or abort");
        }
        Fault {
            delay: given.delay.as_ref().and_then(|d| self.delay(d)),
            abort: given.abort.as_ref().and_then(|a| self.abort(a)),
        }
    }

    fn delay(&mut self, given: &spec::FaultDelay) -> Option<Delay> {
        if given.exponential_delay.is_some() {
            self.note(Code::FaultMissing, "fault.delay.exponentialDelay", "not honoured: use fixedDelay");
        } else if given.fixed_delay.is_none() {
            self.note(Code::FaultEmpty, "fault.delay", "it delays nothing: set fixedDelay");
        }
        if given.percent != 0 {
            self.note(Code::FieldDeprecated, "fault.delay.percent", "is deprecated: use percentage");
        }
        let older = self.whole_percent("fault.delay.percent", given.percent.into());
        let percent = self.fault_percent("fault.delay.percentage", given.percentage.as_ref()).unwrap_or(older);
        let fixed = self.duration("fault.delay.fixedDelay", given.fixed_delay.as_ref())?;
        Some(Delay { fixed, percent })
    }

    fn abort(&mut self, given: &spec::FaultAbort) -> Option<Abort> {
        let percent = self.fault_percent("fault.abort.percentage", given.percentage.as_ref());
        if percent.is_none() {
            self.note(Code::FaultEmpty, "fault.abort", "without percentage no request is aborted");
        }
        if given.http2_error.is_some() {
            let reason = "not honoured: use httpStatus or grpcStatus";
            self.note(Code::FaultMissing, "fault.abort.http2Error", reason);
        }
        let status = match (given.http_status, given.grpc_status.as_deref()) {
            (Some(_), Some(_)) => {
                self.error(Code::FieldsExclusive, "fault.abort", "only one of httpStatus and grpcStatus can be set");
                return None;
            }
            (Some(status), None) => self.http_status("fault.abort.httpStatus", status.into()).map(AbortStatus::Http),
            (None, Some(name)) => self.grpc_status(name).map(AbortStatus::Grpc),
            (None, None) if given.http2_error.is_some() => None,
            (None, None) => {
                self.note(Code::FaultEmpty, "fault.abort", "it aborts nothing: set httpStatus or grpcStatus");
                None
            }
        };
        Some(Abort { status: status?, percent })
    }

    /// A share that is not too small to be counted.
    fn fault_percent(&mut self, field: &str, given: Option<&spec::Percent>) -> Option<Percent> {
        if let Some(value) =
            given.map(|p| p.value).filter(|value| (0.0..SMALLEST_PERCENT).contains(value) && *value > 0.0)
        {
            let reason = format!("{value} is too small: use 0, or at least {SMALLEST_PERCENT}");
            self.note(Code::PercentOutOfRange, field, reason);
        }
        self.percent(field, given)
    }

    fn grpc_status(&mut self, name: &str) -> Option<u32> {
        let code = GRPC_STATUSES.iter().position(|status| *status == name).and_then(|at| u32::try_from(at).ok());
        if code.is_none() {
            let known = GRPC_STATUSES.join(", ");
            self.error(
                Code::ValueUnknown,
                "fault.abort.grpcStatus",
                format!("{name:?} is not a gRPC status: use one of {known}"),
            );
        }
        code
    }
}
