//! Endpoint and signing: which credentials an endpoint may receive. The SDK resolves nothing by itself: endpoint, bearer token
//! and credentials are passed explicitly.

use super::connect::{self, CaBundleError, NetworkSettings, cause_messages};
use super::redact::MAX_MESSAGE_CHARS;
use crate::units::explained::{Explained, NO_SERVICE, USAGE};
use crate::units::secrets::DUMMY;
use crate::units::url::HttpUrl;
use crate::units::{Secrets, nearest};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_credential_types::{Credentials, Token};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::time::Duration;

/// Maximum time for resolving credentials.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// The resolved target of requests.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Endpoint; `None` selects that of AWS in the region.
    pub(crate) endpoint_url: Option<HttpUrl>,
    /// Whether the endpoint is the built-in simulator, which receives dummy credentials.
    pub(crate) simulated: bool,
    /// Whether the user, and not only a plan, has selected the endpoint.
    pub(crate) is_trusted: bool,
    /// Whether a session token may be sent over plain http to any host.
    pub(crate) allow_http: bool,
    /// AWS region; `None` uses that of the profile.
    pub(crate) region: Option<String>,
    /// Regions of the cells, each with a separate client.
    pub(crate) regions: Vec<String>,
    /// AWS profile; `None` uses that of the environment.
    pub(crate) profile: Option<String>,
    /// Bearer token for Bedrock; never sent over plain http.
    pub(crate) bearer_token: Option<Token>,
    /// Proxies and trusted certificates.
    pub(crate) network: NetworkSettings,
    /// Masked values; credentials are added when they are provided.
    pub(crate) secrets: Secrets,
}

/// Why no request can be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// Neither plan, environment nor profile names a region.
    #[error("no AWS region: neither the plan nor AWS_REGION nor the profile sets one")]
    NoRegion,
    /// The selected profile does not exist.
    #[error("no AWS profile is called `{name}`: {}", known_profiles(files, known))]
    UnknownProfile {
        /// Name of the profile.
        name: String,
        /// Files that were read.
        files: [String; 2],
        /// Profiles that they define.
        known: Vec<String>,
    },
    /// The trusted certificates cannot be read.
    #[error(transparent)]
    CaBundle(#[from] CaBundleError),
    /// The provider chain provides no credentials; its report is in the log.
    #[error("no AWS credentials: {0}")]
    NoCredentials(String),
    /// No connection can be opened; the earlier results are not erased.
    #[error("cannot connect to `{url}`, and the earlier results are kept: {reason}")]
    Unreachable {
        /// The server.
        url: String,
        /// The cause.
        reason: String,
    },
    /// Only a plan has selected the endpoint that would receive credentials.
    #[error(
        "no AWS credentials are sent to `{0}`: only the plan sets this endpoint, and it is not a host of Amazon Bedrock"
    )]
    UntrustedEndpoint(HttpUrl),
    /// A session token would be sent unencrypted.
    #[error("no AWS session token is sent to `{0}` over http")]
    SessionTokenOverHttp(HttpUrl),
}

impl Explained for SetupError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::UntrustedEndpoint(_) | Self::SessionTokenOverHttp(_) | Self::CaBundle(_) => USAGE,
            Self::NoRegion | Self::UnknownProfile { .. } | Self::NoCredentials(_) | Self::Unreachable { .. } => {
                NO_SERVICE
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let simulated = "or use --simulated, which needs no account";
        Some(match self {
            Self::NoRegion => format!("set AWS_REGION, --region, or the region of the profile, {simulated}"),
            Self::NoCredentials(_) => format!(
                "set AWS_PROFILE (with `aws sso login`), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK, {simulated}; -v shows the message of the AWS SDK"
            ),
            Self::UnknownProfile { name, known, .. } => {
                let near = nearest(name, known.iter().map(String::as_str));
                let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
                format!("{near}correct AWS_PROFILE, --profile or `profile` in [target], {simulated}")
            }
            Self::Unreachable { .. } => {
                "check the endpoint, the network and the proxy, or start without --overwrite in another --results-dir"
                    .into()
            }
            Self::CaBundle(error) => {
                format!("name a PEM file with the certificates to trust, or unset {}", error.name)
            }
            Self::UntrustedEndpoint(url) => {
                format!("pass `--endpoint-url {url}` if you trust this host with your credentials, {simulated}")
            }
            Self::SessionTokenOverHttp(url) => format!(
                "use https, or pass `--allow-http` if you trust the network between this machine and `{}`",
                url.host()
            ),
        })
    }
}

/// Lists the first existing profiles.
fn known_profiles(files: &[String; 2], known: &[String]) -> String {
    const MAX_LISTED: usize = 10;
    let [config, credentials] = files;
    if known.is_empty() {
        return format!("neither `{config}` nor `{credentials}` defines any");
    }
    let first: Vec<String> = known.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = known.len().saturating_sub(MAX_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("`{config}` and `{credentials}` define {}{more}", first.join(", "))
}

/// Returns the configuration of all clients, and the bearer token if it replaces the signature.
///
/// # Errors
/// Fails without a region, without credentials, or if the endpoint must not receive them.
pub(super) async fn configuration(
    target: &Target,
    http_client: SharedHttpClient,
) -> Result<(SdkConfig, Option<Token>), SetupError> {
    if !target.simulated {
        return from_environment(target, http_client).await;
    }
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client)
        .region(Region::new(target.region.clone().unwrap_or_else(|| "us-east-1".into())))
        .credentials_provider(dummy_credentials())
        .build();
    Ok((config, None))
}

fn dummy_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(DUMMY, DUMMY, None, None, DUMMY))
}

/// Resolves the configuration from all sources of the SDK: environment, profiles, SSO, process, container, instance.
async fn from_environment(
    target: &Target,
    http_client: SharedHttpClient,
) -> Result<(SdkConfig, Option<Token>), SetupError> {
    let url = target.endpoint_url.as_ref();
    let is_loopback = url.is_some_and(HttpUrl::is_loopback);
    let untrusted = url.filter(|url| !target.is_trusted && !url.is_bedrock());
    if let Some(url) = untrusted.filter(|url| !url.is_loopback()) {
        return Err(SetupError::UntrustedEndpoint(url.clone()));
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client.clone());
    if let Some(region) = &target.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &target.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let region = match config.region() {
        Some(region) => region.clone(),
        None if is_loopback => Region::new("us-east-1"),
        None => return Err(SetupError::NoRegion),
    };
    // A new configuration: that of the environment would resolve its own endpoint and bearer token.
    let mut builder =
        SdkConfig::builder().behavior_version(BehaviorVersion::latest()).http_client(http_client).region(region);
    builder.set_app_name(config.app_name().cloned());
    builder.set_identity_cache(config.identity_cache());
    let plain_http = url.filter(|url| url.is_plain_http());
    if plain_http.is_none() {
        builder.set_use_fips(config.use_fips());
        builder.set_use_dual_stack(config.use_dual_stack());
    }
    if untrusted.is_some() {
        tracing::info!("only the plan sets this endpoint: requests to loopback are signed with dummy credentials");
        return Ok((builder.credentials_provider(dummy_credentials()).build(), None));
    }
    if let Some(token) = target.bearer_token.as_ref().filter(|_| plain_http.is_none()) {
        return Ok((builder.build(), Some(token.clone())));
    }
    let provider = match resolve(&config, &target.secrets).await {
        Ok((provider, credentials)) => match plain_http.filter(|url| !url.is_loopback() && !target.allow_http) {
            Some(url) if credentials.session_token().is_some() => {
                return Err(SetupError::SessionTokenOverHttp(url.clone()));
            }
            Some(url) => without_session_tokens(provider, url),
            None => provider,
        },
        // A server on this machine needs a signature, but no account.
        Err(reason) if is_loopback => {
            tracing::info!(%reason, "no AWS credentials: requests to loopback are signed with dummy credentials");
            dummy_credentials()
        }
        Err(reason) if target.bearer_token.is_some() => {
            let reason = format!("a bearer token is never sent over http, and {reason}");
            return Err(SetupError::NoCredentials(reason));
        }
        Err(reason) => return Err(SetupError::NoCredentials(reason)),
    };
    Ok((builder.credentials_provider(provider).build(), None))
}

/// Returns the credentials provider for other AWS services and the region of the profile, if set. Without `allow_http`, no
/// session token is provided for an endpoint over plain http that is not on this machine.
pub(crate) async fn credentials(
    profile: Option<&str>,
    network: &NetworkSettings,
    secrets: &Secrets,
    endpoint: Option<&HttpUrl>,
    allow_http: bool,
) -> (Option<SharedCredentialsProvider>, Option<String>) {
    let (http_client, _) = connect::client(network);
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client);
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let refused = endpoint.filter(|url| url.is_plain_http() && !url.is_loopback() && !allow_http);
    let provider = config.credentials_provider().map(|provider| remembering(provider, secrets));
    let provider = provider.map(|provider| match refused {
        Some(url) => without_session_tokens(provider, url),
        None => provider,
    });
    (provider, config.region().map(ToString::to_string))
}

/// Returns a provider for an endpoint over plain http that refuses session tokens, also in renewed credentials.
fn without_session_tokens(provider: SharedCredentialsProvider, endpoint: &HttpUrl) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(WithoutSessionTokens { provider, endpoint: endpoint.clone() })
}

#[derive(Debug)]
struct WithoutSessionTokens {
    provider: SharedCredentialsProvider,
    endpoint: HttpUrl,
}

impl ProvideCredentials for WithoutSessionTokens {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let credentials = self.provider.provide_credentials().await?;
            if credentials.session_token().is_some() {
                let refused = SetupError::SessionTokenOverHttp(self.endpoint.clone());
                return Err(CredentialsError::invalid_configuration(format!("{refused}; --allow-http allows it")));
            }
            Ok(credentials)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt().filter(|credentials| credentials.session_token().is_none())
    }
}

/// Resolves credentials once, so that a run without credentials ends before its first request.
async fn resolve(config: &SdkConfig, secrets: &Secrets) -> Result<(SharedCredentialsProvider, Credentials), String> {
    let provider = remembering(config.credentials_provider().ok_or("no provider is configured")?, secrets);
    match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => Ok((provider, credentials)),
        Ok(Err(error)) => {
            // Some messages of the SDK contain a debug dump in parentheses.
            let causes = cause_messages(&error);
            let plain: Vec<&str> = causes.iter().filter_map(|cause| cause.split(" (").next()).collect();
            let reported = secrets.redact(&plain.join(": "), MAX_MESSAGE_CHARS);
            tracing::debug!(reported, "no AWS credentials");
            Err(short_reason(&error).to_owned())
        }
        Err(_) => Err(format!("the provider chain did not reply within {} s", CREDENTIALS_TIMEOUT.as_secs())),
    }
}

/// Returns a one-line reason why there are no credentials.
fn short_reason(error: &CredentialsError) -> &'static str {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => "no source of the AWS SDK provides any",
        CredentialsError::ProviderTimedOut(_) => "their source did not answer in time",
        CredentialsError::InvalidConfiguration(_) => "the configuration of their source is invalid",
        _ => "their source failed",
    }
}

/// A credentials provider that adds its credentials, renewed ones included, to the masked secrets.
#[derive(Debug)]
struct Remembering {
    provider: SharedCredentialsProvider,
    secrets: Secrets,
}

fn remembering(provider: SharedCredentialsProvider, secrets: &Secrets) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Remembering { provider, secrets: secrets.clone() })
}

impl ProvideCredentials for Remembering {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
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
