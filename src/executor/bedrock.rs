//! Requests through the AWS SDK: clients, requests, and the interpretation of replies and errors.
//!
//! Retries are disabled and timeouts are our own: every attempt is a record. Times are measured in the connector, from the
//! hand-over of the signed request to the last byte, so that building, signing and parsing are not counted.

use super::answer::{Answer, Failure, Usage};
use super::connect::{self, Connections, NetworkSettings, cause_messages, causes, innermost_causes};
use super::prepared::{Prepared, RequestNumber};
use super::redact::MAX_MESSAGE_CHARS;
use super::reported::Reported;
use super::round_trip::{Facts, RoundTrip};
use super::scan::ScanReply;
use super::signing::{self, SetupError, Target};
use super::stream::StreamTally;
use crate::plan::Api;
use crate::record::class;
use crate::units::Secrets;
use crate::units::url::HttpUrl;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::StalledStreamProtectionConfig;
use aws_sdk_bedrockruntime::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::operation::converse::ConverseOutput;
use aws_sdk_bedrockruntime::types::{ContentBlock, ConverseMetrics, Message};
use aws_smithy_runtime_api::client::auth::http::HTTP_BEARER_AUTH_SCHEME_ID;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The clients of a run.
#[derive(Debug)]
pub(crate) struct Bedrock {
    /// Client for cells without a region.
    client: Client,
    /// Clients for cells with a region.
    by_region: HashMap<String, Client>,
    connections: Arc<Connections>,
    /// Resolved region of cells without a region.
    pub(crate) region: String,
    /// Values masked in records.
    pub(super) secrets: Secrets,
    network: NetworkSettings,
    /// The URLs that requests are sent to; none of the simulator's.
    servers: Vec<String>,
}

/// The end of one request, as reported by the service and the connector.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Hand-over to the connection pool.
    pub(crate) sent: Instant,
    /// Time of the last byte (of a stream: its metadata), or of the failure.
    pub(crate) ended: Instant,
    /// Observations of the connector.
    pub(crate) facts: Facts,
    /// Observations of a stream.
    pub(super) stream: Option<StreamTally>,
    /// The answer or failure; `None` if the request was abandoned.
    pub(crate) answer: Option<Result<Answer, Box<Failure>>>,
}

impl Bedrock {
    /// Creates the clients and checks that a request can be signed.
    ///
    /// # Errors
    /// Fails without a region or credentials.
    pub(crate) async fn connect(target: &Target) -> Result<Self, SetupError> {
        let (http_client, connections) = connect::client(&target.network);
        let (config, bearer_token) = signing::configuration(target, http_client).await?;
        let region = config.region().ok_or(SetupError::NoRegion)?.to_string();
        let endpoint = target.endpoint_url.as_ref().map_or("AWS", HttpUrl::as_str);
        tracing::debug!(endpoint, region, simulated = target.simulated, "requests go to this endpoint");
        let mut builder = aws_sdk_bedrockruntime::config::Builder::from(&config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .interceptor(ScanReply);
        builder.set_endpoint_url(target.endpoint_url.as_ref().map(ToString::to_string));
        if let Some(token) = bearer_token {
            builder = builder.bearer_token(token).auth_scheme_preference([HTTP_BEARER_AUTH_SCHEME_ID]);
        }
        // All clients use one connector, so that all connections are opened and counted in one place.
        let in_region = |region: &String| {
            let config = builder.clone().region(Region::new(region.clone())).build();
            (region.clone(), Client::from_conf(config))
        };
        let by_region = target.regions.iter().map(in_region).collect();
        let servers = match &target.endpoint_url {
            _ if target.simulated => Vec::new(),
            Some(url) => vec![url.to_string()],
            None if target.regions.is_empty() => vec![aws_url(&region, &config).await],
            None => futures_util::future::join_all(target.regions.iter().map(|region| aws_url(region, &config))).await,
        };
        let (secrets, network) = (target.secrets.clone(), target.network.clone());
        let client = Client::from_conf(builder.build());
        Ok(Self { client, by_region, connections, region, secrets, network, servers })
    }

    /// Checks that a connection to every server can be opened, TLS included; no request is sent.
    ///
    /// # Errors
    /// The first server that cannot be reached, after all have been tried.
    pub(crate) async fn check_reachable(&self) -> Result<(), SetupError> {
        let check = async |url: &String| {
            let server = url.parse().map_err(|_| "it is not a URL".to_owned());
            let checked = match server {
                Ok(server) => connect::check(&self.network, &server).await,
                Err(reason) => Err(reason),
            };
            checked.map_err(|reason| SetupError::Unreachable {
                url: url.clone(),
                reason: self.secrets.redact(&reason, MAX_MESSAGE_CHARS),
            })
        };
        let checked = futures_util::future::join_all(self.servers.iter().map(check)).await;
        checked.into_iter().collect()
    }

    /// Returns the client for a cell's region.
    fn client(&self, prepared: &Prepared) -> &Client {
        prepared.region.as_ref().and_then(|region| self.by_region.get(region)).unwrap_or(&self.client)
    }

    /// Returns the name of the simulator that has replied, if one has.
    pub(crate) fn simulator(&self) -> Option<&str> {
        self.connections.simulator()
    }

    /// Returns the numbers of connections opened and reused so far.
    pub(crate) fn connections(&self) -> (u64, u64) {
        (self.connections.opened(), self.connections.reused())
    }

    /// Sends one request and waits for its end, its timeout, or until it is abandoned.
    pub(crate) async fn send(&self, prepared: &Prepared, number: RequestNumber, abandon: &CancellationToken) -> Reply {
        tracing::trace!(model = prepared.model_id, "sending a request");
        let round_trip = Arc::new(RoundTrip::default());
        let mut tally = StreamTally::new(prepared.keep_text);
        let started = Instant::now();
        let end = {
            // Pinned in place: a moved future takes its memory twice, and the SDK's takes 7 KB per request in flight.
            let mut work = std::pin::pin!(Arc::clone(&round_trip).scope(async {
                match prepared.api {
                    Api::Converse => self.converse(prepared, number, &round_trip).await,
                    Api::ConverseStream => self.converse_stream(prepared, number, &round_trip, &mut tally).await,
                }
            }));
            // The timeout starts at the hand-over, whose time is known only afterwards.
            let mut due = started + prepared.timeout;
            loop {
                let answer = tokio::select! {
                    biased;
                    answer = tokio::time::timeout_at(due.into(), &mut work) => answer,
                    () = abandon.cancelled() => break End::Abandoned,
                };
                match (answer, round_trip.facts().sent.map(|sent| sent + prepared.timeout)) {
                    (Ok(answer), _) => break End::Answered(answer),
                    (Err(_), Some(later)) if later > due => due = later,
                    (Err(_), _) => break End::TimedOut,
                }
            }
        };
        let now = Instant::now();
        let facts = round_trip.facts();
        let complete = match prepared.api {
            Api::Converse => facts.last_byte.filter(|_| facts.failure.is_none()),
            Api::ConverseStream => tally.metadata.or(facts.last_byte.filter(|_| facts.failure.is_none())),
        };
        let (ended, answer) = match end {
            End::Answered(answer) => (complete.unwrap_or(now), Some(answer)),
            // The stream was complete before it was abandoned; only the connection was still open.
            _ if tally.is_complete() => (complete.unwrap_or(now), Some(tally.content().map(|()| tally.answer.clone()))),
            End::TimedOut if tally.opened => (now, Some(Err(tally.timeout_failure(prepared.timeout)))),
            End::TimedOut => (now, Some(Err(timeout_failure(prepared.timeout)))),
            End::Abandoned => (now, None),
        };
        Reply {
            sent: facts.sent.unwrap_or(started),
            ended,
            facts,
            stream: (prepared.api == Api::ConverseStream).then_some(tally),
            answer,
        }
    }

    async fn converse(
        &self,
        prepared: &Prepared,
        number: RequestNumber,
        round_trip: &RoundTrip,
    ) -> Result<Answer, Box<Failure>> {
        let conversation = prepared.conversation(number);
        let call = self
            .client(prepared)
            .converse()
            .model_id(&prepared.model_id)
            .set_system(conversation.system)
            .set_messages(Some(conversation.messages))
            .inference_config(prepared.inference.clone())
            .set_service_tier(prepared.tier.clone())
            .set_performance_config(prepared.performance.clone())
            .set_additional_model_request_fields(prepared.additional.clone())
            .set_request_metadata(prepared.metadata.clone());
        match call.send().await {
            Ok(output) => parse_output(&output, prepared.keep_text, round_trip.facts().reported),
            Err(error) => Err(Box::new(failure_from_error(&error, &round_trip.facts(), &self.secrets))),
        }
    }

    async fn converse_stream(
        &self,
        prepared: &Prepared,
        number: RequestNumber,
        round_trip: &RoundTrip,
        tally: &mut StreamTally,
    ) -> Result<Answer, Box<Failure>> {
        let conversation = prepared.conversation(number);
        let call = self
            .client(prepared)
            .converse_stream()
            .model_id(&prepared.model_id)
            .set_system(conversation.system)
            .set_messages(Some(conversation.messages))
            .inference_config(prepared.inference.clone())
            .set_service_tier(prepared.tier.clone())
            .set_performance_config(prepared.performance.clone())
            .set_additional_model_request_fields(prepared.additional.clone())
            .set_request_metadata(prepared.metadata.clone());
        let opened = call.send().await;
        let opened =
            opened.map_err(|error| Box::new(failure_from_error(&error, &round_trip.facts(), &self.secrets)))?;
        tally.read(opened, round_trip).await?;
        Ok(tally.answer.clone())
    }
}

/// Returns the URL of AWS in a region, as the SDK resolves it.
async fn aws_url(region: &str, config: &SdkConfig) -> String {
    let params =
        Params::builder().region(region).set_use_fips(config.use_fips()).set_use_dual_stack(config.use_dual_stack());
    let resolved = match params.build() {
        Ok(params) => DefaultResolver::new().resolve_endpoint(&params).await.map(|endpoint| endpoint.url().to_owned()),
        Err(error) => Err(error.into()),
    };
    // Requests would fail for the same reason, which they report.
    resolved.unwrap_or_else(|_| format!("https://bedrock-runtime.{region}.amazonaws.com"))
}

enum End {
    Answered(Result<Answer, Box<Failure>>),
    TimedOut,
    Abandoned,
}

fn timeout_failure(timeout: Duration) -> Box<Failure> {
    Box::new(Failure {
        class: "timeout".into(),
        message: format!("no complete reply within {}", crate::units::duration::format(timeout)),
        http_status: None,
        request_id: None,
        answer: Answer::default(),
    })
}

fn parse_output(output: &ConverseOutput, keep_text: bool, reported: Option<Reported>) -> Result<Answer, Box<Failure>> {
    let reported = reported.unwrap_or(Reported::ALL);
    let blocks = output.output().and_then(|output| output.as_message().ok()).map_or(&[][..], Message::content);
    let text = || blocks.iter().filter_map(|block| block.as_text().ok()).map(String::as_str).collect();
    let (usage, implausible_values) = Usage::from_reply(output.usage(), reported);
    let answer = Answer {
        text: keep_text.then(text),
        request_id: output.request_id().map(str::to_owned),
        stop_reason: Some(output.stop_reason().as_str().to_owned()),
        resolved_service_tier: output.service_tier().map(|tier| tier.r#type().as_str().to_owned()),
        usage,
        implausible_values,
        server_latency_ms: output.metrics().map(ConverseMetrics::latency_ms).filter(|_| reported.latency_ms),
    };
    if blocks.iter().any(|block| !is_empty(block)) || answer.has_result() {
        return Ok(answer);
    }
    Err(Failure::empty_reply(answer))
}

fn is_empty(block: &ContentBlock) -> bool {
    matches!(block, ContentBlock::Text(text) if text.is_empty())
}

/// Returns the class and message of an error. Observations of the connector take precedence over the SDK's error.
fn failure_from_error<E>(error: &SdkError<E>, facts: &Facts, secrets: &Secrets) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
    SdkError<E>: RequestId,
{
    let http_status = error.raw_response().map(|response| response.status().as_u16());
    let request_id = error.request_id().map(str::to_owned);
    let (class, message) = match error {
        _ if facts.failure.is_some() => (facts.failure.unwrap_or("reset").to_owned(), innermost_causes(error)),
        SdkError::ServiceError(service) => match service.err().code() {
            Some(code) => {
                let message = service.err().message().unwrap_or_default();
                (class::class_of_service_error(code, http_status, message).to_owned(), message.to_owned())
            }
            // The SDK also reports a reply with status 200 that it cannot parse as a service error.
            None if http_status == Some(200) => ("decode".into(), innermost_causes(error)),
            None if http_status == Some(429) => {
                (class::TOO_MANY_REQUESTS.into(), "HTTP 429 without an error type".into())
            }
            None if http_status == Some(407) => (
                "http_error".into(),
                "HTTP 407: the proxy requires a login (user and password in the URL of the proxy)".into(),
            ),
            None => ("http_error".into(), format!("HTTP {} without an error code", http_status.unwrap_or(0))),
        },
        SdkError::TimeoutError(_) => ("timeout".into(), innermost_causes(error)),
        _ if causes(error).any(<dyn StdError>::is::<CredentialsError>) => {
            ("credentials".into(), innermost_causes(error))
        }
        SdkError::ResponseError(_) => ("decode".into(), innermost_causes(error)),
        SdkError::DispatchFailure(_) => ("connect".into(), innermost_causes(error)),
        _ => ("other".into(), cause_messages(error).join(": ")),
    };
    let location = error.raw_response().and_then(|response| response.headers().get("location"));
    let message = match location.filter(|_| http_status.is_some_and(|status| (300..400).contains(&status))) {
        // Masked before it is cut: the mask does not recognise part of a secret.
        Some(location) => format!("{message}; the redirect to `{}` is not followed", secrets.redact(location, 200)),
        None => message,
    };
    Failure { class, message, http_status, request_id, answer: Answer::default() }
}
