//! Error classes with their hints. A new class needs an entry here and its mapping in the executor.

use super::Outcome;

/// An error class.
pub(crate) struct ErrorClass {
    /// Value of `error_class`.
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// Every request of the cell would fail like this: if all first requests do, the cell is aborted.
    pub(crate) is_permanent: bool,
    /// How to fix it.
    pub(crate) hint: &'static str,
}

const fn failed(name: &'static str, hint: &'static str) -> ErrorClass {
    ErrorClass { name, outcome: Outcome::Failed, is_permanent: false, hint }
}

/// A request that was sent while the server closed the idle connection.
pub(crate) const KEEP_ALIVE_RACE: &str = "keep_alive_race";

/// An HTTP 429 without an error type, or with an unknown one.
pub(crate) const TOO_MANY_REQUESTS: &str = "too_many_requests";

/// All classes, the SDK's exceptions first.
pub(crate) const CLASSES: &[ErrorClass] = &[
    ErrorClass {
        name: "ThrottlingException",
        outcome: Outcome::Throttled,
        is_permanent: false,
        hint: "the quota of the model in this region is used up: use fewer users or a smaller max_tokens (it is reserved at the start of each request), or request a larger quota",
    },
    ErrorClass {
        name: "ServiceQuotaExceededException",
        outcome: Outcome::Throttled,
        is_permanent: false,
        hint: "a quota of the account is used up: use fewer users, or request a larger quota",
    },
    ErrorClass {
        name: "AccessDeniedException",
        outcome: Outcome::Failed,
        is_permanent: true,
        hint: "allow bedrock:InvokeModel (streams: bedrock:InvokeModelWithResponseStream) on the model and its inference profile, and enable access to the model in the account",
    },
    ErrorClass {
        name: "ValidationException",
        outcome: Outcome::Failed,
        is_permanent: true,
        hint: "the model refuses the request: fix the field that the message names",
    },
    ErrorClass {
        name: "ResourceNotFoundException",
        outcome: Outcome::Failed,
        is_permanent: true,
        hint: "no such model or profile in this region: check model_ids, region_prefixes and the region",
    },
    failed("ModelNotReadyException", "the model is still being loaded: try again later"),
    failed("InternalServerException", "an error inside the service"),
    failed(
        "ServiceUnavailableException",
        "the service is overloaded: start lower, halve the load and hold it for a while",
    ),
    failed(
        "ModelTimeoutException",
        "the model took longer than the service allows: use a smaller max_tokens or prompt",
    ),
    failed("ModelErrorException", "an error inside the model"),
    failed("ModelStreamErrorException", "the model failed in the middle of a stream"),
    failed("ExpiredTokenException", "the credentials expired during the run: renew them and continue with --resume"),
    failed("UnrecognizedClientException", "the credentials are not known to AWS: check the access key and the profile"),
    failed("InvalidSignatureException", "the signature was refused: check the secret key, the region and the clock"),
    failed("connect", "the endpoint could not be reached: check its address, the proxy and the network"),
    failed("dns", "the endpoint's name could not be resolved: check the region, the endpoint and the network"),
    failed("tls", "the TLS handshake failed: check the proxy and the trusted roots (SSL_CERT_FILE)"),
    failed("reset", "the connection was closed before the reply was complete"),
    failed(
        KEEP_ALIVE_RACE,
        "the server closed an idle connection while the request was being sent, without reading it: use a shorter think_time, or a longer keep-alive timeout of the proxy",
    ),
    ErrorClass {
        name: TOO_MANY_REQUESTS,
        outcome: Outcome::Throttled,
        is_permanent: false,
        hint: "HTTP 429 that is not one of Bedrock's own: a proxy or gateway limits the rate: use fewer users, or raise its limit",
    },
    failed("timeout", "no complete reply within request.timeout: raise it, or request shorter replies"),
    failed("decode", "the SDK cannot parse the reply: check that the endpoint is a Bedrock runtime"),
    failed(
        "reply_too_long",
        "the reply is longer than any reply of Bedrock: check that the endpoint is a Bedrock runtime, and the proxy",
    ),
    failed("http_error", "an HTTP error that is not Bedrock's: check the endpoint and the proxy"),
    failed("empty_reply", "a reply without content and without output tokens"),
    failed("stream_incomplete", "the stream ended before its last events"),
    failed(
        "stream_timeout",
        "the stream stalled, or request.timeout is too short: raise it, or request shorter replies",
    ),
    failed("credentials", "the credentials could not be resolved or renewed"),
    failed("other", "see the message"),
];

/// Returns the entry of a class; `None` for an unknown exception of the service.
pub(crate) fn find(name: &str) -> Option<&'static ErrorClass> {
    CLASSES.iter().find(|class| class.name == name)
}

/// Returns the class of an error that the service names `code`. A fault of the service that is reported as an invalid
/// request is a fault of the service, and an unknown code with HTTP 429 is a throttle.
pub(crate) fn class_of_service_error<'a>(code: &'a str, http_status: Option<u16>, message: &str) -> &'a str {
    const SERVICE_FAULTS: &[&str] = &[
        "internal server error",
        "internal error",
        "internal failure",
        "internal service error",
        "unexpected error",
        "try your request again",
        "temporarily unavailable",
        "unable to process your request",
    ];
    let is_refusal = matches!(code, "ValidationException" | "BadRequestException" | "InvalidRequestException");
    if is_refusal && SERVICE_FAULTS.iter().any(|part| message.to_ascii_lowercase().contains(part)) {
        return "InternalServerException";
    }
    if http_status == Some(429) && find(code).is_none() { TOO_MANY_REQUESTS } else { code }
}

/// Returns whether a message says that the daily token quota of a model is used up: it lasts until the next day.
pub(crate) fn is_daily_quota(message: &str) -> bool {
    message.to_ascii_lowercase().contains("too many tokens per day")
}

/// Whether the timeout of this tool ended the request: its true time is longer.
pub(crate) fn is_timeout(name: &str) -> bool {
    matches!(name, "timeout" | "stream_timeout")
}

/// Whether a request of this class may have reached the service.
pub(crate) fn was_sent(name: &str) -> bool {
    !matches!(name, "connect" | "dns" | "tls" | "credentials")
}

/// Whether requests can no longer be signed, or AWS refuses their signature.
pub(crate) fn is_credential_failure(name: &str) -> bool {
    matches!(
        name,
        "credentials" | "ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException"
    )
}

/// Returns the outcome of a class; an unknown one is a failure.
pub(crate) fn outcome(name: &str) -> Outcome {
    find(name).map_or(Outcome::Failed, |class| class.outcome)
}

/// Returns how to fix an error. Some messages have a hint of their own.
pub(crate) fn hint(name: &str, message: &str) -> Option<&'static str> {
    const MESSAGES: &[(&str, &str)] = &[
        ("service tier", "remove the tier from service_tiers, or use the tier `none` for this model"),
        (
            "Reservation not found",
            "the tier `reserved` needs a reservation for this model: remove it from service_tiers",
        ),
        (
            "on-demand throughput",
            "this model needs an inference profile: set region_prefixes (`us`, `eu`, `global`, ...) or use a profile's ARN with the prefix `none`",
        ),
        (
            "model identifier is invalid",
            "no such model or inference profile in this region: check model_ids, region_prefixes and the region",
        ),
        ("cannot both be specified", "set top_p = \"none\""),
        ("`temperature` is deprecated", "set temperature = \"none\""),
        (
            "Too many tokens per day",
            "the daily token quota is used up: request a larger one, or continue tomorrow with --resume",
        ),
        (
            "Too many tokens",
            "the token quota is used up: use a smaller max_tokens (it is reserved at the start of each request) or fewer users",
        ),
        ("Too many connections", "use fewer users or a lower spawn_rate"),
        (
            "Too many open files",
            "this machine allows too few open files: run `ulimit -n 20000` before, or use fewer users",
        ),
    ];
    let special = MESSAGES.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint);
    special.or_else(|| find(name).map(|class| class.hint))
}
