//! Prompts: prompts files, data sets, generated texts, and the prompts embedded in the binary; and the assignment of prompts
//! to requests. Data only: depends on `plan` and `units`, not on how a request is sent.

mod collection;
mod dataset;
mod file;
mod generate;
mod json;
mod minimum;
mod prompt;
mod source;

pub(crate) use collection::Prompts;
pub(crate) use file::Files;
pub(crate) use minimum::minimum_prefix;
pub(crate) use prompt::{Message, Prompt, Role};
pub(crate) use source::{Choice, PromptDraws, Source, TEMPLATE_TOKENS};
