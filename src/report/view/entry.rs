//! Labelled texts.

use serde::Serialize;

/// Label with a text value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    pub(crate) label: String,
    pub(crate) value: String,
}

impl Entry {
    pub(super) fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}
