//! One prompt: a conversation that ends with a message of the user.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Characters per token, a rough estimate without the model's tokenizer.
pub(super) const CHARACTERS_PER_TOKEN: f64 = 4.0;

/// One prompt as sent, before a cache mode changes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Prompt {
    /// System prompt; `None` uses the plan's `request.system`.
    pub(crate) system: Option<String>,
    /// At least one message. Roles alternate; the first and the last are the user's.
    pub(crate) messages: Vec<Message>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"role\": \"user\", \"text\": \"...\"}")]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) text: String,
}

/// Author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Assistant,
}

impl Prompt {
    /// Creates a prompt with one message of the user.
    pub(crate) fn from_text(text: impl Into<String>) -> Self {
        Self { system: None, messages: vec![Message { role: Role::User, text: text.into() }] }
    }

    /// Returns the estimated number of tokens. `system` is the plan's, for a prompt without its own.
    pub(super) fn estimated_tokens(&self, system: Option<&str>) -> f64 {
        let system = self.system.as_deref().or(system);
        let texts = system.into_iter().chain(self.messages.iter().map(|message| message.text.as_str()));
        texts.map(|text| text.chars().count() as f64).sum::<f64>() / CHARACTERS_PER_TOKEN
    }

    /// Returns everything that determines the text sent. A plain text is represented verbatim, for stable hashes.
    pub(super) fn canonical(&self) -> Value {
        let messages = || self.messages.iter().map(|message| json!({"role": message.role, "text": message.text}));
        match (&self.system, &self.messages[..]) {
            (None, [only]) => only.text.clone().into(),
            (None, _) => json!({"messages": messages().collect::<Vec<_>>()}),
            (Some(system), _) => json!({"messages": messages().collect::<Vec<_>>(), "system": system}),
        }
    }

    /// Creates a prompt from a conversation that a model can continue.
    pub(super) fn validated(system: Option<String>, messages: Vec<Message>) -> Result<Self, String> {
        if system.as_deref().is_some_and(|system| system.trim().is_empty()) {
            return Err("its `system` is empty".into());
        }
        if messages.is_empty() {
            return Err("it has no messages".into());
        }
        for (index, message) in messages.iter().enumerate() {
            let expected = if index % 2 == 0 { Role::User } else { Role::Assistant };
            if message.role != expected {
                let expected = if index % 2 == 0 { "user" } else { "assistant" };
                return Err(format!(
                    "message {} must have the role {expected}: user and assistant alternate, and the user is first",
                    index + 1
                ));
            }
            if message.text.trim().is_empty() {
                return Err(if messages.len() == 1 {
                    "it is empty".into()
                } else {
                    format!("message {} is empty", index + 1)
                });
            }
        }
        if messages.len().is_multiple_of(2) {
            return Err("its last message has the role assistant: the last message must be the user's".into());
        }
        Ok(Self { system, messages })
    }
}
