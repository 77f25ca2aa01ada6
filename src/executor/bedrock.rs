//! The one place that knows the AWS SDK: a client, a request, and how its end is read.
//!
//! Retries are off and timeouts are our own: every attempt is a record. Times are taken in the
//! connector, from the signed request's hand-over to the last byte, so that building, signing and
//! parsing on this machine are not counted as the service's time.

use super::connect::{self, Connections, ProxySettings, causes, is_loopback};
use super::exchange::{Exchange, Facts};
use super::prepared::{Number, Prepared};
use super::redact::LONGEST_MESSAGE;
use super::stream::Tally;
use crate::plan::Api;
use crate::units::{Secrets, secrets::DUMMY};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::StalledStreamProtectionConfig;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::operation::converse::ConverseOutput;
use aws_sdk_bedrockruntime::types::{ContentBlock, ConverseMetrics, Message, TokenUsage};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long credentials may take to be resolved before the run is given up.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(20);

/// Who is asked, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Nothing leaves the endpoint to the SDK.
    pub(crate) endpoint_url: Option<String>,
    /// The endpoint is our own simulator: dummy credentials, whatever the environment says.
    pub(crate) simulated: bool,
    /// Nothing leaves the region to the profile.
    pub(crate) region: Option<String>,
    /// The regions that cells name: each gets a client of its own.
    pub(crate) regions: Vec<String>,
    /// Nothing leaves the profile to the environment.
    pub(crate) profile: Option<String>,
    /// A bearer token for Bedrock is set.
    pub(crate) bearer_token: bool,
    /// Proxies of the environment.
    pub(crate) proxies: ProxySettings,
    /// What is masked; credentials are added as they are provided.
    pub(crate) secrets: Secrets,
}

/// Why no request can be sent at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// Neither plan, environment nor profile names a region.
    #[error("no AWS region: neither the plan, AWS_REGION nor the profile names one")]
    NoRegion,
    /// The provider chain has nothing.
    #[error("no AWS credentials: {0}")]
    NoCredentials(String),
}

/// The clients, shared by all cells of a run.
#[derive(Debug)]
pub(crate) struct Bedrock {
    /// For cells that name no region.
    client: Client,
    /// For those that do.
    by_region: HashMap<String, Client>,
    connections: Arc<Connections>,
    /// The region that was resolved for cells that name none.
    pub(crate) region: String,
    /// What is masked in records.
    pub(super) secrets: Secrets,
}

/// How one request ended, as the service and the connector say.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The hand-over to the connection pool; before it only this machine was at work.
    pub(crate) sent: Instant,
    /// The last byte (of a stream: its metadata), or the moment of the failure.
    pub(crate) ended: Instant,
    /// What the connector saw.
    pub(crate) facts: Facts,
    /// What was seen of a stream.
    pub(super) stream: Option<Tally>,
    /// What the service said; nothing where the request was given up.
    pub(crate) answer: Option<Result<Answer, Box<Failure>>>,
}

/// What a reply says of itself.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answer {
    pub(crate) request_id: Option<String>,
    pub(crate) stop_reason: Option<String>,
    pub(crate) resolved_service_tier: Option<String>,
    pub(crate) usage: Usage,
    pub(crate) server_latency_ms: Option<i64>,
    /// What was answered, where it is to be kept.
    pub(crate) text: Option<String>,
}

/// Tokens, where the reply says so.
#[derive(Debug, Default, Clone, Copy)]
#[allow(clippy::struct_field_names)] // the records' names
pub(crate) struct Usage {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) total_tokens: Option<u64>,
    pub(crate) cache_read_tokens: Option<u64>,
    pub(crate) cache_write_tokens: Option<u64>,
}

impl Usage {
    pub(super) fn of(usage: Option<&TokenUsage>) -> Self {
        let count = |number: i32| u64::try_from(number).ok();
        usage.map_or_else(Self::default, |usage| Self {
            input_tokens: count(usage.input_tokens()),
            output_tokens: count(usage.output_tokens()),
            total_tokens: count(usage.total_tokens()),
            cache_read_tokens: usage.cache_read_input_tokens().and_then(count),
            cache_write_tokens: usage.cache_write_input_tokens().and_then(count),
        })
    }
}

/// A failure: data, not an error of the tool.
#[derive(Debug)]
pub(crate) struct Failure {
    /// See `record::class`.
    pub(crate) class: String,
    pub(crate) message: String,
    pub(crate) http_status: Option<u16>,
    pub(crate) request_id: Option<String>,
    /// What a reply without content still said.
    pub(crate) answer: Answer,
}

impl Failure {
    pub(super) fn empty_reply(answer: Answer) -> Box<Self> {
        Box::new(Self {
            class: "empty_reply".into(),
            message: "a reply without content and without output tokens".into(),
            http_status: Some(200),
            request_id: answer.request_id.clone(),
            answer,
        })
    }
}

impl Bedrock {
    /// Builds the clients and makes sure that a request can be signed.
    ///
    /// # Errors
    /// No region or no credentials.
    pub(crate) async fn connect(target: &Target) -> Result<Self, SetupError> {
        let (http_client, connections) = connect::client(&target.proxies);
        let config = if target.simulated {
            SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(http_client)
                .region(Region::new(target.region.clone().unwrap_or_else(|| "us-east-1".into())))
                .credentials_provider(dummy_credentials())
                .build()
        } else {
            from_environment(target, http_client).await?
        };
        let region = config.region().ok_or(SetupError::NoRegion)?.to_string();
        let endpoint = target.endpoint_url.as_deref().unwrap_or("AWS");
        tracing::debug!(endpoint, region, simulated = target.simulated, "requests go there");
        let mut builder = aws_sdk_bedrockruntime::config::Builder::from(&config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(url) = &target.endpoint_url {
            builder = builder.endpoint_url(url);
        }
        // They share one connector, so that all connections are made and counted in one place.
        let in_region = |region: &String| {
            let config = builder.clone().region(Region::new(region.clone())).build();
            (region.clone(), Client::from_conf(config))
        };
        let by_region = target.regions.iter().map(in_region).collect();
        let secrets = target.secrets.clone();
        Ok(Self { client: Client::from_conf(builder.build()), by_region, connections, region, secrets })
    }

    /// The client of the region that a cell names.
    fn client(&self, prepared: &Prepared) -> &Client {
        prepared.region.as_ref().and_then(|region| self.by_region.get(region)).unwrap_or(&self.client)
    }

    /// Connections opened and reused until now.
    pub(crate) fn connections(&self) -> (u64, u64) {
        (self.connections.opened(), self.connections.reused())
    }

    /// Sends one request and waits for its end, at most the request's timeout, or until it is given up.
    pub(crate) async fn ask(&self, prepared: &Prepared, number: Number, giving_up: &CancellationToken) -> Reply {
        tracing::trace!(model = prepared.model_id, "a request is sent");
        let exchange = Arc::new(Exchange::default());
        let mut tally = Tally::new(prepared.keeps_text);
        let started = Instant::now();
        let end = {
            // Never bound to a name before it is where it stays: a future that moves takes its place twice,
            // and the SDK's takes 7 KB, for every request in flight.
            let mut work = std::pin::pin!(Arc::clone(&exchange).scope(async {
                match prepared.api {
                    Api::Converse => self.converse(prepared, number, &exchange).await,
                    Api::ConverseStream => self.converse_stream(prepared, number, &exchange, &mut tally).await,
                }
            }));
            // The timeout runs from the hand-over, which is known only once it has happened.
            let mut due = started + prepared.timeout;
            loop {
                let answer = tokio::select! {
                    biased;
                    answer = tokio::time::timeout_at(due.into(), &mut work) => answer,
                    () = giving_up.cancelled() => break End::GivenUp,
                };
                match (answer, exchange.facts().sent.map(|sent| sent + prepared.timeout)) {
                    (Ok(answer), _) => break End::Answered(answer),
                    (Err(_), Some(later)) if later > due => due = later,
                    (Err(_), _) => break End::TimedOut,
                }
            }
        };
        let now = Instant::now();
        let facts = exchange.facts();
        let complete = match prepared.api {
            Api::Converse => facts.last_byte.filter(|_| facts.failure.is_none()),
            Api::ConverseStream => tally.metadata.or(facts.last_byte.filter(|_| facts.failure.is_none())),
        };
        let (ended, answer) = match end {
            End::Answered(answer) => (complete.unwrap_or(now), Some(answer)),
            // It was complete before it was given up: only the connection was still open.
            _ if tally.is_complete() => (complete.unwrap_or(now), Some(tally.content().map(|()| tally.answer.clone()))),
            End::TimedOut if tally.opened => (now, Some(Err(tally.timed_out(prepared.timeout)))),
            End::TimedOut => (now, Some(Err(timed_out(prepared.timeout)))),
            End::GivenUp => (now, None),
        };
        Reply {
            sent: facts.sent.unwrap_or(started),
            ended,
            facts,
            stream: (prepared.api == Api::ConverseStream).then_some(tally),
            answer,
        }
    }

    async fn converse(&self, prepared: &Prepared, number: Number, exchange: &Exchange) -> Result<Answer, Box<Failure>> {
        let turns = prepared.turns(number);
        let call = self
            .client(prepared)
            .converse()
            .model_id(&prepared.model_id)
            .set_system(turns.system)
            .set_messages(Some(turns.messages))
            .inference_config(prepared.inference.clone())
            .set_service_tier(prepared.tier.clone())
            .set_performance_config(prepared.performance.clone())
            .set_additional_model_request_fields(prepared.additional.clone())
            .set_request_metadata(prepared.metadata.clone());
        match call.send().await {
            Ok(output) => read(&output, prepared.keeps_text),
            Err(error) => Err(Box::new(failure(&error, &exchange.facts()))),
        }
    }

    async fn converse_stream(
        &self,
        prepared: &Prepared,
        number: Number,
        exchange: &Exchange,
        tally: &mut Tally,
    ) -> Result<Answer, Box<Failure>> {
        let turns = prepared.turns(number);
        let call = self
            .client(prepared)
            .converse_stream()
            .model_id(&prepared.model_id)
            .set_system(turns.system)
            .set_messages(Some(turns.messages))
            .inference_config(prepared.inference.clone())
            .set_service_tier(prepared.tier.clone())
            .set_performance_config(prepared.performance.clone())
            .set_additional_model_request_fields(prepared.additional.clone())
            .set_request_metadata(prepared.metadata.clone());
        let opened = call.send().await.map_err(|error| Box::new(failure(&error, &exchange.facts())))?;
        tally.read(opened, exchange).await?;
        Ok(tally.answer.clone())
    }
}

enum End {
    Answered(Result<Answer, Box<Failure>>),
    TimedOut,
    GivenUp,
}

fn timed_out(timeout: Duration) -> Box<Failure> {
    Box::new(Failure {
        class: "timeout".into(),
        message: format!("no complete reply within {}", crate::units::duration::format(timeout)),
        http_status: None,
        request_id: None,
        answer: Answer::default(),
    })
}

fn dummy_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(DUMMY, DUMMY, None, None, DUMMY))
}

/// Everything the SDK knows: environment, profiles, SSO, process, container, instance.
async fn from_environment(
    target: &Target,
    http_client: aws_smithy_runtime_api::client::http::SharedHttpClient,
) -> Result<SdkConfig, SetupError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client.clone());
    if let Some(region) = &target.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &target.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let plain_http = target.endpoint_url.as_deref().is_some_and(|url| url.starts_with("http://"));
    if !plain_http && target.bearer_token {
        return if config.region().is_some() { Ok(config) } else { Err(SetupError::NoRegion) };
    }
    let loopback = target
        .endpoint_url
        .as_deref()
        .and_then(|url| url.parse::<hyper::Uri>().ok())
        .is_some_and(|uri| uri.host().is_some_and(is_loopback));
    let region = match config.region() {
        Some(region) => region.clone(),
        None if loopback => Region::new("us-east-1"),
        None => return Err(SetupError::NoRegion),
    };
    let provider = match resolve(&config, &target.secrets).await {
        Ok(provider) => provider,
        // A server on this machine asks for a signature, not for an account.
        Err(reason) if loopback => {
            tracing::info!(%reason, "no AWS credentials: requests to loopback are signed with dummy ones");
            dummy_credentials()
        }
        Err(reason) => return Err(SetupError::NoCredentials(reason)),
    };
    // Built anew where http is plain: a configuration from the environment would bring its bearer token along.
    let builder = if plain_http { SdkConfig::builder() } else { config.into_builder() };
    Ok(builder
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client)
        .region(region)
        .credentials_provider(provider)
        .build())
}

/// Who signs requests to other services of AWS, and the region that the profile names; neither where nothing is set.
pub(crate) async fn credentials(target: &Target) -> (Option<SharedCredentialsProvider>, Option<String>) {
    let (http_client, _) = connect::client(&target.proxies);
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client);
    if let Some(profile) = &target.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let provider = config.credentials_provider().map(|provider| remembering(provider, &target.secrets));
    (provider, config.region().map(ToString::to_string))
}

/// Asks the chain once, so that a run without credentials ends before its first request.
async fn resolve(config: &SdkConfig, secrets: &Secrets) -> Result<SharedCredentialsProvider, String> {
    let provider = remembering(config.credentials_provider().ok_or("no provider is configured")?, secrets);
    match tokio::time::timeout(CREDENTIALS_PATIENCE, provider.provide_credentials()).await {
        Ok(Ok(_)) => Ok(provider),
        Ok(Err(error)) => {
            // Some of the SDK's messages carry a whole debug dump in parentheses.
            let causes = chain(&error);
            let plain: Vec<&str> = causes.iter().filter_map(|cause| cause.split(" (").next()).collect();
            Err(secrets.redact(&plain.join(": "), LONGEST_MESSAGE))
        }
        Err(_) => Err(format!("no answer from the provider chain within {} s", CREDENTIALS_PATIENCE.as_secs())),
    }
}

/// A credential provider that adds what it provides, renewed credentials too, to the masked secrets.
#[derive(Debug)]
struct Remembering {
    provider: SharedCredentialsProvider,
    secrets: Secrets,
}

fn remembering(provider: SharedCredentialsProvider, secrets: &Secrets) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Remembering { provider, secrets: secrets.clone() })
}

impl ProvideCredentials for Remembering {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let provided = self.provider.provide_credentials().await?;
            for secret in [Some(provided.access_key_id()), Some(provided.secret_access_key()), provided.session_token()]
            {
                self.secrets.remember(secret.unwrap_or_default());
            }
            Ok(provided)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}

fn read(output: &ConverseOutput, keeps_text: bool) -> Result<Answer, Box<Failure>> {
    let blocks = output.output().and_then(|output| output.as_message().ok()).map_or(&[][..], Message::content);
    let text = || blocks.iter().filter_map(|block| block.as_text().ok()).map(String::as_str).collect();
    let answer = Answer {
        text: keeps_text.then(text),
        request_id: output.request_id().map(str::to_owned),
        stop_reason: Some(output.stop_reason().as_str().to_owned()),
        resolved_service_tier: output.service_tier().map(|tier| tier.r#type().as_str().to_owned()),
        usage: Usage::of(output.usage()),
        server_latency_ms: output.metrics().map(ConverseMetrics::latency_ms),
    };
    if blocks.iter().any(|block| !is_empty(block)) || answer.usage.output_tokens.unwrap_or(0) > 0 {
        return Ok(answer);
    }
    Err(Failure::empty_reply(answer))
}

fn is_empty(block: &ContentBlock) -> bool {
    matches!(block, ContentBlock::Text(text) if text.is_empty())
}

/// The class and message of an error. What the connector saw is nearer to the cause than what the
/// SDK made of it.
fn failure<E>(error: &SdkError<E>, facts: &Facts) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
    SdkError<E>: RequestId,
{
    let http_status = error.raw_response().map(|response| response.status().as_u16());
    let request_id = error.request_id().map(str::to_owned);
    let (class, message) = match error {
        _ if facts.failure.is_some() => (facts.failure.unwrap_or("reset").to_owned(), deepest(error)),
        SdkError::ServiceError(service) => match service.err().code() {
            Some(code) => (code.to_owned(), service.err().message().unwrap_or_default().to_owned()),
            // The SDK calls a 200 that it cannot parse a service error too.
            None if http_status == Some(200) => ("decode".into(), deepest(error)),
            None => ("http_error".into(), format!("HTTP {} without an error code", http_status.unwrap_or(0))),
        },
        SdkError::TimeoutError(_) => ("timeout".into(), deepest(error)),
        _ if causes(error).any(<dyn StdError>::is::<CredentialsError>) => ("credentials".into(), deepest(error)),
        SdkError::ResponseError(_) => ("decode".into(), deepest(error)),
        SdkError::DispatchFailure(_) => ("connect".into(), deepest(error)),
        _ => ("other".into(), chain(error).join(": ")),
    };
    Failure { class, message, http_status, request_id, answer: Answer::default() }
}

/// What an error and its causes say, outermost first.
fn chain(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut chain: Vec<String> = causes(error).map(ToString::to_string).collect();
    chain.dedup();
    chain
}

/// The innermost two causes: what happened, and to what.
pub(super) fn deepest(error: &(dyn StdError + 'static)) -> String {
    let chain = chain(error);
    chain[chain.len().saturating_sub(2)..].join(": ")
}
