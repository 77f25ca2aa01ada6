//! Why an exchange cannot be used.

use super::transient::is_transient;
use crate::units::explained::{Explained, NO_SERVICE};
use std::path::PathBuf;

/// Why an exchange cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The URL is invalid.
    #[error("invalid exchange `{url}`: {message}")]
    Address { url: String, message: String },
    /// The exchange refuses an operation or cannot be reached.
    #[error("the exchange {url} cannot be used: {message}")]
    Refused {
        url: String,
        /// The reason, with secrets masked: a store may repeat the request.
        message: String,
        /// Whether a retry may succeed.
        is_transient: bool,
    },
    /// All attempts failed.
    #[error("{message} (after {attempts} attempts)")]
    Unreachable {
        attempts: u32,
        /// Message of the last failure.
        message: String,
    },
    /// A file on this machine cannot be used.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
}

impl StoreError {
    /// Returns whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { is_transient, .. } => *is_transient,
            Self::File { source, .. } => is_transient(source),
            Self::Address { .. } | Self::Unreachable { .. } => false,
        }
    }
}

impl Explained for StoreError {
    fn exit_code(&self) -> u8 {
        NO_SERVICE
    }
}
