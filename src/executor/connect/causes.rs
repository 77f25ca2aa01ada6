//! The causes of an error.

use std::error::Error as StdError;

/// Returns an error and its causes, outermost first.
pub(in crate::executor) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Returns the messages of an error and its causes, outermost first.
pub(in crate::executor) fn cause_messages(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut messages: Vec<String> = causes(error).map(ToString::to_string).collect();
    messages.dedup();
    messages
}

/// Returns the messages of the innermost two causes.
pub(in crate::executor) fn innermost_causes(error: &(dyn StdError + 'static)) -> String {
    let messages = cause_messages(error);
    messages[messages.len().saturating_sub(2)..].join(": ")
}
