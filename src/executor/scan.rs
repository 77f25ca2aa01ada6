//! An SDK interceptor that scans replies for reported figures, see [`Reported`].

use super::reported::Reported;
use super::round_trip::RoundTrip;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Scans the body of each non-streaming reply after the SDK has parsed it, when all times are already measured.
#[derive(Debug)]
pub(super) struct ScanReply;

impl Intercept for ScanReply {
    fn name(&self) -> &'static str {
        "ScanReply"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        // The body of a stream is not in memory.
        if let (true, Some(round_trip), Some(body)) =
            (response.status().is_success(), RoundTrip::current(), response.body().bytes())
        {
            round_trip.note(|facts| facts.reported = Reported::from_json(body));
        }
        Ok(())
    }
}
