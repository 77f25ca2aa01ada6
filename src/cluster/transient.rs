//! Which failures of an exchange are transient.

use super::http::TOO_LONG;
use aws_credential_types::provider::error::CredentialsError;
use std::error::Error as StdError;
use std::io;

/// Returns whether a failure is transient: a network that is down, a server that is overloaded or restarted, a stale
/// handle of a network file system. Permanent failures are missing permissions or credentials, a missing bucket, a file in
/// place of a directory, and requests that S3 rejects as invalid.
pub(super) fn is_transient(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return !matches!(
                error,
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)
            );
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if is_permanent(error.kind()) || is_link(error) {
                return false;
            }
            let Some(inner) = error.get_ref() else { return true };
            cause = Some(inner);
            continue;
        }
        cause = error.source();
    }
    // The store's error type for rejected requests is private; its text contains the status.
    let text = error.to_string();
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse::<u16>().ok());
    match status {
        Some(400) => text.contains("RequestTimeout"),
        Some(408 | 429) => true,
        Some(status) => status >= 500,
        None => !text.contains("redirect without LOCATION") && !text.contains(TOO_LONG),
    }
}

/// Returns whether the error is a symbolic link in place of a file. The kind of this error is not stable.
fn is_link(error: &io::Error) -> bool {
    /// `ELOOP`.
    const LOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };
    cfg!(unix) && error.raw_os_error() == Some(LOOP)
}

fn is_permanent(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::ReadOnlyFilesystem
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::FileTooLarge
            | Kind::InvalidFilename
            | Kind::InvalidInput
            | Kind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::super::store::is_transient;
    use super::*;
    use std::time::Duration;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: source.into() }
    }

    #[test]
    fn transient_and_permanent_failures_are_distinguished() {
        /// `ESTALE`, `EIO`, `EACCES` and `ELOOP` as Linux numbers them.
        const STALE: i32 = 116;
        const IO: i32 = 5;
        const ACCESS: i32 = 13;
        const LOOP: i32 = 40;
        let status = |text: &str| generic(format!("Server returned non-2xx status code: {text}"));
        let transient = [
            generic(io::Error::from_raw_os_error(STALE)),
            generic(io::Error::from_raw_os_error(IO)),
            generic(io::Error::from(io::ErrorKind::ConnectionReset)),
            generic(io::Error::from(generic(io::Error::from_raw_os_error(STALE)))),
            status("503 Service Unavailable: <Code>SlowDown</Code>"),
            status("429 Too Many Requests"),
            status("400 Bad Request: <Code>RequestTimeout</Code>"),
            generic(CredentialsError::provider_timed_out(Duration::from_secs(1))),
            generic("error decoding response body"),
        ];
        for error in transient {
            assert!(is_transient(&error), "{error}");
        }
        let path = || "start.json".to_owned();
        let permanent = [
            generic(io::Error::from_raw_os_error(ACCESS)),
            generic(io::Error::from(io::ErrorKind::NotADirectory)),
            generic(io::Error::from_raw_os_error(LOOP)),
            generic(io::Error::from(generic(io::Error::from_raw_os_error(ACCESS)))),
            status("400 Bad Request: <Code>ExpiredToken</Code>"),
            status("301 Moved Permanently"),
            generic("Received redirect without LOCATION, this normally indicates an incorrectly configured region"),
            generic(CredentialsError::not_loaded("no providers in chain")),
            object_store::Error::PermissionDenied { path: path(), source: "403 Forbidden".into() },
            object_store::Error::NotFound { path: path(), source: "404 NoSuchBucket".into() },
            generic(io::Error::from(object_store::Error::NotFound { path: path(), source: "404".into() })),
        ];
        for error in permanent {
            assert!(!is_transient(&error), "{error}");
        }
    }
}
