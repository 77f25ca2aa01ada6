//! The interceptor that scans replies for the figures that they report, see [`Reported`].

use super::exchange::Exchange;
use super::reported::Reported;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Scans the body of each whole reply after the SDK has read it: after the request's last time was taken.
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
        if let (true, Some(exchange), Some(body)) =
            (response.status().is_success(), Exchange::current(), response.body().bytes())
        {
            exchange.note(|facts| facts.reported = Reported::from_json(body));
        }
        Ok(())
    }
}
