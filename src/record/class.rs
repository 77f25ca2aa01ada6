//! The error classes, and what to do about each. A new class is one entry here and its mapping in
//! the executor.

use super::Outcome;

/// What is known of a class.
pub(crate) struct Class {
    /// As written in `error_class`.
    pub(crate) name: &'static str,
    /// Which population its requests belong to.
    pub(crate) outcome: Outcome,
    /// The request itself is wrong: when a cell's first requests all end so, going on wastes money.
    pub(crate) hopeless: bool,
    /// What to do next.
    pub(crate) hint: &'static str,
}

const fn failed(name: &'static str, hint: &'static str) -> Class {
    Class { name, outcome: Outcome::Failed, hopeless: false, hint }
}

/// The class of a request that was sent while the server closed the idle connection.
pub(crate) const KEEP_ALIVE_RACE: &str = "keep_alive_race";

/// The class of an HTTP 429 without an error type, or with an unknown one.
pub(crate) const TOO_MANY_REQUESTS: &str = "too_many_requests";

/// All classes, the SDK's exceptions first.
pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "ThrottlingException",
        outcome: Outcome::Throttled,
        hopeless: false,
        hint: "the quota of the model in this region is used up: fewer users, a smaller max_tokens (it is reserved at the start of each request), or a larger quota",
    },
    Class {
        name: "ServiceQuotaExceededException",
        outcome: Outcome::Throttled,
        hopeless: false,
        hint: "a quota of the account is used up: ask for a larger one, or use fewer users",
    },
    Class {
        name: "AccessDeniedException",
        outcome: Outcome::Failed,
        hopeless: true,
        hint: "allow bedrock:InvokeModel (streams: bedrock:InvokeModelWithResponseStream) on the model and its inference profile, and enable access to the model in the account",
    },
    Class {
        name: "ValidationException",
        outcome: Outcome::Failed,
        hopeless: true,
        hint: "the model refuses the request: its message says which field",
    },
    Class {
        name: "ResourceNotFoundException",
        outcome: Outcome::Failed,
        hopeless: true,
        hint: "no such model or profile in this region: check model_ids, region_prefixes and the region",
    },
    failed("ModelNotReadyException", "the model is still being loaded: try again later"),
    failed("InternalServerException", "an error inside the service"),
    failed(
        "ServiceUnavailableException",
        "the service is overloaded: start lower, halve the load and hold it for a while",
    ),
    failed("ModelTimeoutException", "the model took longer than the service allows: a smaller max_tokens or prompt"),
    failed("ModelErrorException", "an error inside the model"),
    failed("ModelStreamErrorException", "the model failed in the middle of a stream"),
    failed("ExpiredTokenException", "the credentials expired during the run: renew them, and go on with --resume"),
    failed("UnrecognizedClientException", "the credentials are not known to AWS: check the access key and the profile"),
    failed("InvalidSignatureException", "the signature was refused: check the secret key, the region and the clock"),
    failed("connect", "the endpoint could not be reached: check its address, the proxy and the network"),
    failed("dns", "the endpoint's name could not be resolved: check the region, the endpoint and the network"),
    failed("tls", "the TLS handshake failed: check the proxy and the trusted roots (SSL_CERT_FILE)"),
    failed("reset", "the connection was closed before the reply was complete"),
    failed(
        KEEP_ALIVE_RACE,
        "the server closed an idle connection while the request was being sent, and read nothing of it: use a shorter think_time, or a longer keep-alive timeout of the proxy",
    ),
    Class {
        name: TOO_MANY_REQUESTS,
        outcome: Outcome::Throttled,
        hopeless: false,
        hint: "HTTP 429 that is not one of Bedrock's own: a proxy or gateway limits the rate: use fewer users, or raise its limit",
    },
    failed("timeout", "no complete reply within request.timeout: raise it, or ask for less"),
    failed("decode", "the reply is not what the SDK can read: is the endpoint a Bedrock runtime?"),
    failed(
        "reply_too_long",
        "the reply is longer than any reply of Bedrock: check that the endpoint is a Bedrock runtime, and the proxy",
    ),
    failed("http_error", "an HTTP error that is not Bedrock's: check the endpoint and the proxy"),
    failed("empty_reply", "a reply without content and without output tokens"),
    failed("stream_incomplete", "the stream ended before its last events"),
    failed(
        "stream_timeout",
        "the stream stalled, or request.timeout is shorter than a reply takes: raise it, or ask for less",
    ),
    failed("credentials", "the credentials could not be resolved or renewed"),
    failed("other", "see the message"),
];

/// The entry of a class, if it is one of ours; a service may send exceptions that nobody knew.
pub(crate) fn find(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.name == name)
}

/// Returns the class of an error that the service names `code`. A fault of the service that is reported as an invalid
/// request is a fault of the service, and an unknown code with HTTP 429 is a throttle.
pub(crate) fn of_service_error<'a>(code: &'a str, http_status: Option<u16>, message: &str) -> &'a str {
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

/// Whether a class says that our own timeout cut the request: its true time is longer.
pub(crate) fn is_timeout(name: &str) -> bool {
    matches!(name, "timeout" | "stream_timeout")
}

/// Whether a request of this class may have reached the service.
pub(crate) fn was_sent(name: &str) -> bool {
    !matches!(name, "connect" | "dns" | "tls" | "credentials")
}

/// Whether a class says that requests cannot be signed any more, or not so that AWS takes them.
pub(crate) fn is_unsigned(name: &str) -> bool {
    matches!(
        name,
        "credentials" | "ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException"
    )
}

/// The population of a class; an unknown one is a failure.
pub(crate) fn outcome(name: &str) -> Outcome {
    find(name).map_or(Outcome::Failed, |class| class.outcome)
}

/// What to do about an error. Some messages deserve more than their class says.
pub(crate) fn hint(name: &str, message: &str) -> Option<&'static str> {
    const MESSAGES: &[(&str, &str)] = &[
        ("service tier", "leave the tier out of service_tiers, or use the tier `none` for this model"),
        (
            "Reservation not found",
            "the tier `reserved` needs a reservation for this model: leave it out of service_tiers",
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
        ("Too many tokens per day", "the daily token quota is used up: ask for a larger one, or go on tomorrow"),
        (
            "Too many tokens",
            "the token quota is used up: a smaller max_tokens (it is reserved at the start of each request) or fewer users",
        ),
        ("Too many connections", "fewer users, or a slower spawn_rate"),
        (
            "Too many open files",
            "this machine allows too few open files: `ulimit -n 20000` before the run, or fewer users",
        ),
    ];
    let special = MESSAGES.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint);
    special.or_else(|| find(name).map(|class| class.hint))
}
