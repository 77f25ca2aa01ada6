//! Refusals and injected faults, with the names and HTTP statuses that Bedrock uses.

use super::model::Model;

/// An exception, sent instead of a reply or inside a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) name: &'static str,
    pub(super) status: u16,
    pub(super) message: String,
}

impl Refusal {
    fn new(name: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { name, status, message: message.into() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", 400, message)
    }

    pub(super) fn throttled() -> Self {
        Self::new("ThrottlingException", 429, "Too many requests, please wait before trying again.")
    }

    pub(super) fn model_not_found(model: &str) -> Self {
        Self::new(
            "ResourceNotFoundException",
            404,
            format!("Could not resolve the foundation model from the model identifier: {model}"),
        )
    }

    pub(super) fn access_denied() -> Self {
        Self::new("AccessDeniedException", 403, "You don't have access to the model with the specified model ID.")
    }

    pub(super) fn unknown_path() -> Self {
        Self::new("UnknownOperationException", 404, "")
    }

    pub(super) fn foreign_host(host: &str) -> Self {
        let message = format!(
            "the simulator does not serve the host `{host}`: use localhost, an address in 127.0.0.0/8 or [::1]"
        );
        Self::new("AccessDeniedException", 403, message)
    }

    pub(super) fn foreign_origin(origin: &str) -> Self {
        let message = format!("the simulator does not serve web pages: the origin `{origin}` is not its own");
        Self::new("AccessDeniedException", 403, message)
    }

    /// The refusal that REST JSON services of AWS send for a request that is not JSON.
    pub(super) fn unsupported_media_type() -> Self {
        Self::new("UnsupportedMediaTypeException", 415, "The content type must be application/json.")
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        let message = format!("The request body is larger than {} MiB.", limit >> 20);
        Self::new("RequestEntityTooLargeException", 413, message)
    }

    pub(super) fn body_timeout() -> Self {
        Self::new("RequestTimeoutException", 408, "The request body did not arrive in time.")
    }

    pub(super) fn too_much_buffered() -> Self {
        Self::new("ServiceUnavailableException", 503, "Too much request data at once on one connection.")
    }
}

/// An injected fault of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// An exception instead of a reply.
    Refused(Refusal),
    /// The connection is closed before the reply.
    Reset,
    /// The connection is closed inside the reply.
    ResetInBody,
    /// The reply is not valid JSON.
    Garbage,
    /// The server never replies.
    Stall,
    /// The reply has no content and no output tokens.
    EmptyReply,
    /// A fault inside a stream. Non-streaming requests are served normally.
    Stream(StreamFault),
}

/// An injected fault inside a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StreamFault {
    /// An exception event; the name is its `:exception-type`.
    Exception(Refusal),
    NoStop,
    NoMetadata,
    Truncated,
    Stall,
}

/// Returns the fault that a uniform draw selects, if any.
pub(super) fn pick(model: &Model, draw: f64) -> Option<Fault> {
    let mut below = 0.0;
    let name = model.faults.rates().into_iter().find_map(|(name, rate)| {
        below += rate;
        (draw < below).then_some(name)
    })?;
    let refused = |name, status, message: &str| Fault::Refused(Refusal::new(name, status, message));
    let in_stream =
        |name, status, message: &str| Fault::Stream(StreamFault::Exception(Refusal::new(name, status, message)));
    Some(match name {
        "throttling" => Fault::Refused(Refusal::throttled()),
        "model_not_ready" => refused("ModelNotReadyException", 429, "The model is not ready for inference."),
        "service_quota_exceeded" => {
            refused("ServiceQuotaExceededException", 400, "Your account exceeded a service quota.")
        }
        "internal_server" => refused(
            "InternalServerException",
            500,
            "The system encountered an unexpected error during processing. Try your request again.",
        ),
        "service_unavailable" => {
            refused("ServiceUnavailableException", 503, "Bedrock is unable to process your request.")
        }
        "model_timeout" => refused(
            "ModelTimeoutException",
            408,
            "Model has timed out in processing the request. Try your request again.",
        ),
        "model_error" => {
            refused("ModelErrorException", 424, "The system encountered an unexpected error during processing.")
        }
        "validation" => Fault::Refused(Refusal::validation("The model returned the following errors: injected")),
        "access_denied" => Fault::Refused(Refusal::access_denied()),
        "resource_not_found" => refused("ResourceNotFoundException", 404, "The specified resource was not found."),
        "reset" => Fault::Reset,
        "reset_in_body" => Fault::ResetInBody,
        "garbage" => Fault::Garbage,
        "stall" => Fault::Stall,
        "empty_reply" => Fault::EmptyReply,
        "stream_internal_server" => {
            in_stream("internalServerException", 500, "The system encountered an unexpected error during processing.")
        }
        "stream_model_error" => in_stream("modelStreamErrorException", 424, "The model stream failed."),
        "stream_validation" => {
            in_stream("validationException", 400, "The model returned the following errors: injected")
        }
        "stream_throttling" => {
            in_stream("throttlingException", 429, "Too many tokens, please wait before trying again.")
        }
        "stream_service_unavailable" => {
            in_stream("serviceUnavailableException", 503, "Bedrock is unable to process your request.")
        }
        "stream_no_stop" => Fault::Stream(StreamFault::NoStop),
        "stream_no_metadata" => Fault::Stream(StreamFault::NoMetadata),
        "stream_truncated" => Fault::Stream(StreamFault::Truncated),
        "stream_stall" => Fault::Stream(StreamFault::Stall),
        other => unreachable!("no fault has the name {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_maps_to_a_fault() {
        for (name, _) in Model::default().faults.rates() {
            let text = format!("[faults]\n{name} = 1.0\n");
            let model: Model = toml::from_str(&text).unwrap();
            assert!(pick(&model, 0.5).is_some(), "{name}");
        }
        assert_eq!(pick(&Model::default(), 0.0), None);
    }
}
