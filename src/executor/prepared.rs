//! What is sent: a cell's request as the SDK wants it, built once per turn and distinct prompt, and
//! given to each request with its own mark. Sends nothing, and knows no connection.

use crate::matrix::Cell;
use crate::plan::{Api, CacheMode, Performance};
use crate::prompts::{Choice, Message as Said, Prompt, PromptDraws, Role, Source};
use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, ContentBlock, ConversationRole, InferenceConfiguration, Message,
    PerformanceConfigLatency, PerformanceConfiguration, ServiceTier, ServiceTierType, SystemContentBlock,
};
use aws_smithy_types::{Document, Number as DocumentNumber};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// So many prompts fill the cache before the load begins. One after the other, and a cache forgets
/// after five minutes: what a longer data set has beyond them misses once, and is counted.
const PRIMED: usize = 32;

/// What requests of a turn are made of.
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
    /// What is said and answered is kept.
    pub(super) keeps_text: bool,
    cache_mode: CacheMode,
    /// With a request's number behind it, a line that no other request has, of this run or another.
    mark: String,
    source: Arc<Source>,
    drawing: PromptDraws,
    /// One for each choice of the source.
    turns: Vec<Turns>,
}

/// A prompt in the SDK's words, before a mark.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    pub(super) system: Option<Vec<SystemContentBlock>>,
    pub(super) messages: Vec<Message>,
}

/// Which request of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// One that fills the prompt cache, from 0.
    Priming(usize),
    /// The order of the starts, from 0.
    Load(u64),
}

impl Prepared {
    /// For a turn of a cell. `mark` is a text that no other turn has, in this run or another.
    pub(crate) fn new(cell: &Cell, source: &Arc<Source>, mark: String, seed: u64, repetition: u32) -> Self {
        let number = |value: Option<f64>| value.map(|value| value as f32);
        let request = &cell.request;
        let tier = (cell.service_tier != "none").then(|| {
            ServiceTier::builder()
                .r#type(ServiceTierType::from(cell.service_tier.as_str()))
                .build()
                .unwrap_or_else(|_| unreachable!("the type is set"))
        });
        let turns = |prompt: &Prompt| turns(prompt, request.system.as_deref(), cell.cache_mode);
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
            keeps_text: false,
            cache_mode: cell.cache_mode,
            mark,
            turns: source.choices().iter().map(|choice| turns(&choice.prompt)).collect(),
            drawing: source.draws(seed, repetition),
            source: Arc::clone(source),
        }
    }

    /// The prompts that are to be in the cache before the load begins, in the order in which it draws them.
    pub(super) fn to_prime(&self) -> Vec<usize> {
        let wanted = self.turns.len().min(PRIMED);
        let mut first = Vec::new();
        // A prompt of little weight may be drawn late: what comes after that many draws is taken in order.
        let drawn = (0..64 * wanted as u64).map(|n| self.drawing.pick(n));
        for which in drawn.chain(0..self.turns.len()) {
            if first.len() == wanted {
                break;
            }
            if !first.contains(&which) {
                first.push(which);
            }
        }
        first
    }

    /// Which prompt a request gets.
    pub(super) fn which(&self, number: Number) -> usize {
        match number {
            Number::Priming(index) => self.to_prime().get(index).copied().unwrap_or(0),
            Number::Load(n) => self.drawing.pick(n),
        }
    }

    /// A prompt with its name and its line in a data set.
    pub(super) fn choice(&self, which: usize) -> Option<&Choice> {
        self.source.choices().get(which)
    }

    /// What a request says as one text, where it is to be kept.
    pub(super) fn text(&self, number: Number) -> Option<String> {
        self.keeps_text.then(|| self.turns(number).text())
    }

    /// What a request says, with its mark where the cache mode wants one.
    pub(super) fn turns(&self, number: Number) -> Turns {
        let Some(mut turns) = self.turns.get(self.which(number)).cloned() else {
            unreachable!("a plan that was read has a prompt for each size")
        };
        if self.cache_mode == CacheMode::AsIs {
            return turns;
        }
        let mark = match number {
            Number::Priming(index) => format!("Request {}-p{index:x}", self.mark),
            Number::Load(seq) => format!("Request {}-{seq:x}", self.mark),
        };
        match self.cache_mode {
            CacheMode::AsIs => {}
            // A prompt cache begins with what the model is told first.
            CacheMode::Cold => {
                if let Some(text) = turns.first_text() {
                    text.insert_str(0, &format!("{mark}\n"));
                }
            }
            CacheMode::Warm => {
                if let Some(text) = turns.last_text() {
                    text.push('\n');
                    text.push_str(&mark);
                }
            }
            CacheMode::Explicit => {
                if let Some(last) = turns.messages.last_mut() {
                    last.content.push(ContentBlock::Text(mark));
                }
            }
        }
        turns
    }
}

impl Turns {
    /// System text and messages, a line between them.
    fn text(&self) -> String {
        let system = self.system.iter().flatten().filter_map(|block| block.as_text().ok());
        let said = self.messages.iter().flat_map(Message::content).filter_map(|block| block.as_text().ok());
        system.chain(said).map(String::as_str).collect::<Vec<_>>().join("\n")
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

/// A prompt in the SDK's words, with the cache point that `explicit` wants behind all that is shared.
fn turns(prompt: &Prompt, system: Option<&str>, cache_mode: CacheMode) -> Turns {
    let system = prompt.system.as_deref().or(system);
    let mut messages: Vec<Message> = prompt.messages.iter().map(message).collect();
    if let (CacheMode::Explicit, Some(last)) = (cache_mode, messages.last_mut()) {
        let point = CachePointBlock::builder()
            .r#type(CachePointType::Default)
            .build()
            .unwrap_or_else(|_| unreachable!("the type is set"));
        last.content.push(ContentBlock::CachePoint(point));
    }
    Turns { system: system.map(|text| vec![SystemContentBlock::Text(text.to_owned())]), messages }
}

fn message(said: &Said) -> Message {
    let role = match said.role {
        Role::User => ConversationRole::User,
        Role::Assistant => ConversationRole::Assistant,
    };
    Message::builder()
        .role(role)
        .content(ContentBlock::Text(said.text.clone()))
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

/// JSON as the SDK holds it, of any depth.
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
