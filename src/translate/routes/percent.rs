//! Shares of requests.

use envoy_types::pb::envoy::{
    config::core::v3::RuntimeFractionalPercent,
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};

use crate::model::virtual_service::Percent;

pub(super) fn fraction(percent: Percent) -> FractionalPercent {
    let (numerator, denominator) = match percent {
        Percent::Hundredths(n) => (n, DenominatorType::Hundred),
        Percent::Millionths(n) => (n, DenominatorType::Million),
    };
    FractionalPercent { numerator, denominator: denominator.into() }
}

pub(super) fn runtime(percent: Percent) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(fraction(percent)), ..RuntimeFractionalPercent::default() }
}
