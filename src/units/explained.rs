//! What an error that ends a subcommand states beside its message: the exit code and the fix. Each module implements it
//! beside its own errors.

/// An unexpected error of the system, or results that could not be written.
pub(crate) const INTERNAL: u8 = 1;
/// A wrong use or an invalid plan, and every other reason to stop before the start except [`NO_SERVICE`].
pub(crate) const USAGE: u8 = 2;
/// Some cell has no success, was aborted, skipped or refused, or results are missing.
pub(crate) const INCOMPLETE: u8 = 3;
/// Credentials or region cannot be resolved, or the endpoint or the exchange does not answer.
pub(crate) const NO_SERVICE: u8 = 4;
/// The run was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error with its exit code and its hint.
pub(crate) trait Explained: std::error::Error {
    /// Returns the exit code of a subcommand that ends with this error.
    fn exit_code(&self) -> u8 {
        USAGE
    }

    /// Returns a line that states the fix, if there is a general one.
    fn hint(&self) -> Option<String> {
        None
    }
}
