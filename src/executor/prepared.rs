//! Prepared requests: a cell's request in the SDK's types, built once per cell run and distinct prompt. Each request is a
//! copy, with a unique line if the cache mode requires it. Nothing is sent here.

use crate::matrix::Cell;
use crate::plan::{Api, CacheMode, Performance};
use crate::prompts::{Choice, Message as PromptMessage, Prompt, PromptDraws, Role, Source};
use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, ContentBlock, ConversationRole, InferenceConfiguration, Message,
    PerformanceConfigLatency, PerformanceConfiguration, ServiceTier, ServiceTierType, SystemContentBlock,
};
use aws_smithy_types::{Document, Number as DocumentNumber};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of prompts that are primed. They are sent one after the other, and cached prefixes expire after five
/// minutes: further prompts of a long data set miss the cache once and are counted.
const MAX_PRIMING_REQUESTS: usize = 32;

/// The prepared requests of a cell run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) region: Option<String>,
    pub(super) model_id: String,
    pub(super) api: Api,
    pub(super) timeout: Duration,
    pub(super) inference: InferenceConfiguration,
    pub(super) tier: Option<ServiceTier>,
    pub(super) performance: Option<PerformanceConfiguration>,
    pub(super) additional: Option<Document>,
    pub(super) metadata: Option<HashMap<String, String>>,
    /// Whether prompts and replies are recorded.
    pub(super) keep_text: bool,
    cache_mode: CacheMode,
    /// Text that, followed by a request's number, is unique across requests and runs.
    nonce: String,
    source: Arc<Source>,
    draws: PromptDraws,
    /// One conversation per prompt of the source, shared by the cell runs that send the same.
    conversations: Arc<[Conversation]>,
}

/// A prompt in the SDK's types, before the unique line is added.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    pub(super) system: Option<Vec<SystemContentBlock>>,
    pub(super) messages: Vec<Message>,
}

/// The number of a request in a cell run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestNumber {
    /// A priming request, from 0.
    Priming(usize),
    /// A request of the load, in order of the starts, from 0.
    Load(u64),
}

impl Prepared {
    /// Prepares a cell run. The text of the unique line must not be used by any other cell run.
    pub(super) fn new(
        cell: &Cell,
        source: &Arc<Source>,
        conversations: Arc<[Conversation]>,
        nonce: String,
        seed: u64,
        repetition: u32,
    ) -> Self {
        let number = |value: Option<f64>| value.map(|value| value as f32);
        let request = &cell.request;
        let tier = (cell.service_tier != "none").then(|| {
            ServiceTier::builder()
                .r#type(ServiceTierType::from(cell.service_tier.as_str()))
                .build()
                .unwrap_or_else(|_| unreachable!("the type is set"))
        });
        Self {
            region: cell.region.clone(),
            model_id: cell.full_model_id(),
            api: cell.api,
            timeout: request.timeout,
            inference: InferenceConfiguration::builder()
                .max_tokens(i32::try_from(request.max_tokens).unwrap_or(i32::MAX))
                .set_temperature(number(request.temperature.0))
                .set_top_p(number(request.top_p.0))
                .set_stop_sequences((!request.stop_sequences.is_empty()).then(|| request.stop_sequences.clone()))
                .build(),
            tier,
            performance: request.performance.map(performance),
            additional: (!request.additional_fields.is_empty())
                .then(|| document(&Value::Object(request.additional_fields.clone()))),
            metadata: (!request.request_metadata.is_empty())
                .then(|| request.request_metadata.clone().into_iter().collect()),
            keep_text: false,
            cache_mode: cell.cache_mode,
            nonce,
            conversations,
            draws: source.draws(seed, repetition),
            source: Arc::clone(source),
        }
    }

    /// Returns the prompts to prime, in the order in which the load uses them.
    pub(super) fn priming_prompts(&self) -> Vec<usize> {
        let count = self.conversations.len().min(MAX_PRIMING_REQUESTS);
        let mut first = Vec::new();
        // A prompt with a low weight may be drawn late: after this number of draws, the rest is taken in order.
        let drawn = (0..64 * count as u64).map(|n| self.draws.pick(n));
        for index in drawn.chain(0..self.conversations.len()) {
            if first.len() == count {
                break;
            }
            if !first.contains(&index) {
                first.push(index);
            }
        }
        first
    }

    /// Returns the index of a request's prompt.
    pub(super) fn prompt_index(&self, number: RequestNumber) -> usize {
        match number {
            RequestNumber::Priming(index) => self.priming_prompts().get(index).copied().unwrap_or(0),
            RequestNumber::Load(n) => self.draws.pick(n),
        }
    }

    /// Returns a prompt with its name and its line in a data set.
    pub(super) fn choice(&self, index: usize) -> Option<&Choice> {
        self.source.choices().get(index)
    }

    /// Returns the prompt of a request as one text, if it is recorded.
    pub(super) fn prompt_text(&self, number: RequestNumber) -> Option<String> {
        self.keep_text.then(|| self.conversation(number).text())
    }

    /// Returns the conversation of a request, with a unique line if the cache mode requires one.
    pub(super) fn conversation(&self, number: RequestNumber) -> Conversation {
        let Some(mut conversation) = self.conversations.get(self.prompt_index(number)).cloned() else {
            unreachable!("a valid plan has a prompt for each size")
        };
        if self.cache_mode == CacheMode::AsIs {
            return conversation;
        }
        let unique_line = match number {
            RequestNumber::Priming(index) => format!("Request {}-p{index:x}", self.nonce),
            RequestNumber::Load(seq) => format!("Request {}-{seq:x}", self.nonce),
        };
        match self.cache_mode {
            CacheMode::AsIs => {}
            // The cached prefix starts with the system prompt.
            CacheMode::Cold => {
                if let Some(text) = conversation.first_text() {
                    text.insert_str(0, &format!("{unique_line}\n"));
                }
            }
            CacheMode::Warm => {
                if let Some(text) = conversation.last_text() {
                    text.push('\n');
                    text.push_str(&unique_line);
                }
            }
            CacheMode::Explicit => {
                if let Some(last) = conversation.messages.last_mut() {
                    last.content.push(ContentBlock::Text(unique_line));
                }
            }
        }
        conversation
    }
}

impl Conversation {
    /// Returns the system prompt and all messages, separated by line breaks.
    fn text(&self) -> String {
        let system = self.system.iter().flatten().filter_map(|block| block.as_text().ok());
        let messages = self.messages.iter().flat_map(Message::content).filter_map(|block| block.as_text().ok());
        system.chain(messages).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn first_text(&mut self) -> Option<&mut String> {
        if let Some(SystemContentBlock::Text(text)) = self.system.as_mut().and_then(|system| system.first_mut()) {
            return Some(text);
        }
        match self.messages.first_mut()?.content.first_mut()? {
            ContentBlock::Text(text) => Some(text),
            _ => None,
        }
    }

    fn last_text(&mut self) -> Option<&mut String> {
        match self.messages.last_mut()?.content.last_mut()? {
            ContentBlock::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Converts the prompts of a source as a cell sends them.
pub(super) fn conversations(cell: &Cell, source: &Source) -> Arc<[Conversation]> {
    let convert = |prompt| conversation(prompt, cell.request.system.as_deref(), cell.cache_mode);
    source.choices().iter().map(|choice| convert(&choice.prompt)).collect()
}

/// The prompts of a run in the SDK's types, each converted once.
#[derive(Debug, Default)]
pub(super) struct PreparedPrompts {
    by_source: HashMap<PromptsKey, Arc<[Conversation]>>,
}

/// The address of a source, which the job keeps, and what else the conversations of a cell depend on: the system prompt, and
/// whether they contain a cache point.
type PromptsKey = (usize, Option<String>, bool);

impl PreparedPrompts {
    /// Returns the prompts of a cell.
    pub(super) fn get(&mut self, cell: &Cell, source: &Arc<Source>) -> Arc<[Conversation]> {
        let has_cache_point = cell.cache_mode == CacheMode::Explicit;
        let key = (Arc::as_ptr(source).addr(), cell.request.system.clone(), has_cache_point);
        Arc::clone(self.by_source.entry(key).or_insert_with(|| conversations(cell, source)))
    }
}

/// Converts a prompt to the SDK's types. With cache mode `explicit`, a cache point follows the common part.
fn conversation(prompt: &Prompt, system: Option<&str>, cache_mode: CacheMode) -> Conversation {
    let system = prompt.system.as_deref().or(system);
    let mut messages: Vec<Message> = prompt.messages.iter().map(sdk_message).collect();
    if let (CacheMode::Explicit, Some(last)) = (cache_mode, messages.last_mut()) {
        let point = CachePointBlock::builder()
            .r#type(CachePointType::Default)
            .build()
            .unwrap_or_else(|_| unreachable!("the type is set"));
        last.content.push(ContentBlock::CachePoint(point));
    }
    Conversation { system: system.map(|text| vec![SystemContentBlock::Text(text.to_owned())]), messages }
}

fn sdk_message(message: &PromptMessage) -> Message {
    let role = match message.role {
        Role::User => ConversationRole::User,
        Role::Assistant => ConversationRole::Assistant,
    };
    Message::builder()
        .role(role)
        .content(ContentBlock::Text(message.text.clone()))
        .build()
        .unwrap_or_else(|_| unreachable!("role and content are set"))
}

fn performance(which: Performance) -> PerformanceConfiguration {
    let latency = match which {
        Performance::Standard => PerformanceConfigLatency::Standard,
        Performance::Optimized => PerformanceConfigLatency::Optimized,
    };
    PerformanceConfiguration::builder().latency(latency).build()
}

/// Converts JSON of any depth to the SDK's type.
fn document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(is) => Document::Bool(*is),
        Value::Number(number) => Document::Number(match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => DocumentNumber::PosInt(number),
            (None, Some(number)) => DocumentNumber::NegInt(number),
            (None, None) => DocumentNumber::Float(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Document::String(text.clone()),
        Value::Array(items) => Document::Array(items.iter().map(document).collect()),
        Value::Object(fields) => {
            Document::Object(fields.iter().map(|(key, value)| (key.clone(), document(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_prepared_once_for_all_cells_that_send_the_same() {
        let cell = &crate::matrix::expand(&crate::plan::tests::plan())[0];
        let source = Arc::new(Source::from_text("hello"));
        let mut prompts = PreparedPrompts::default();
        let mut with = |change: &dyn Fn(&mut Cell), source| {
            let mut cell = cell.clone();
            change(&mut cell);
            prompts.get(&cell, source)
        };
        let first = with(&|_| {}, &source);
        let tier = |cell: &mut Cell| (cell.service_tier, cell.cache_mode) = ("flex".into(), CacheMode::Warm);
        assert!(Arc::ptr_eq(&first, &with(&tier, &source)), "the unique line is added to each request");
        let changes: [&dyn Fn(&mut Cell); 2] =
            [&|cell| cell.request.system = Some("be brief".into()), &|cell| cell.cache_mode = CacheMode::Explicit];
        for change in changes {
            assert!(!Arc::ptr_eq(&first, &with(change, &source)));
        }
        assert!(!Arc::ptr_eq(&first, &with(&|_| {}, &Arc::new(Source::from_text("hello")))));
    }
}
