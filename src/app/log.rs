//! The log on stderr, with secrets masked.

use crate::units::Secrets;
use std::collections::BTreeMap;
use std::io::Write;

/// Log filters that always apply. The SDK's own traces contain key ids, session tokens and signatures, so no filter can
/// enable them. After a failed request the SDK complains that a connection is not its own; this is expected, so the
/// message is switched off.
const LOG_RESTRICTIONS: &str = "aws_smithy_runtime=info,aws_smithy_runtime_api=info,aws_runtime=info,aws_sigv4=info,\
    aws_sdk_bedrockruntime=info,aws_sdk_sso=info,aws_sdk_ssooidc=info,aws_sdk_sts=info,\
    aws_smithy_runtime::client::http::connection_poisoning=off";

/// Starts logging to stderr. `-v` logs what this program sends and where; `RUST_LOG` sets any other filter.
pub(super) fn start(verbose: u8, environment: &BTreeMap<String, String>, secrets: &Secrets) {
    let filter = match (environment.get("RUST_LOG").filter(|filter| !filter.is_empty()), verbose) {
        (Some(filter), _) => filter.clone(),
        (None, 0) => "bedrock_plan=warn".into(),
        (None, 1) => "bedrock_plan=debug".into(),
        (None, _) => "bedrock_plan=trace,aws_config=debug,hyper_util=debug".into(),
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(format!("{filter},{LOG_RESTRICTIONS}")))
        .with_writer({
            let secrets = secrets.clone();
            move || MaskedStderr(secrets.clone())
        })
        .with_ansi(false)
        .try_init();
}

/// A writer to stderr that masks secrets. Each log line arrives in one call.
struct MaskedStderr(Secrets);

impl Write for MaskedStderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        std::io::stderr().write_all(self.0.mask(&line).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
