//! The gate for what comes from outside: names, messages and ids of a plan, a service or a journal, before
//! anything is said of them. What would leave its line or turn other text around is replaced, and with
//! `--public` whoever asked is not told: account ids, names of roles, users, profiles and machines, and what [`super::texts`]
//! masks.

use super::ReportError;
use super::texts::mask_texts;
use crate::record::manifest::Manifest;
use crate::stats::{CellSummary, Summary};
use crate::units::pattern::{PLACEHOLDERS, pattern};
use crate::units::text::clean;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Resources whose names people gave, or that belong to one account.
const OWN: [&str; 13] = [
    "role",
    "user",
    "group",
    "assumed-role",
    "federated-user",
    "application-inference-profile",
    "provisioned-model",
    "imported-model",
    "custom-model",
    "custom-model-deployment",
    "prompt-router",
    "prompt",
    "guardrail",
];

/// Cleans a run and its numbers, and with `public` masks them.
///
/// # Errors
/// A manifest that cannot be read any more, which would be a fault of this tool.
pub(crate) fn clean_all(
    manifest: &Manifest,
    mut summary: Summary,
    public: bool,
) -> Result<(Manifest, Summary), ReportError> {
    let wrong = |error: serde_json::Error| ReportError::Json(error.to_string());
    let mut tree = serde_json::to_value(manifest).map_err(wrong)?;
    let mut mask = Mask::default();
    if public {
        mask_texts(&mut tree);
        mask.profile(manifest.plan.target.profile.as_deref());
        each_text(&mut tree, &mut |text| mask.learn(text));
        each_of(&mut summary, &mut |text| mask.learn(text));
    }
    let mut gate = |text: &mut String| {
        let masked = mask.apply(text);
        *text = clean(&masked).into_owned();
    };
    each_text(&mut tree, &mut gate);
    each_of(&mut summary, &mut gate);
    let mut manifest: Manifest = serde_json::from_value(tree).map_err(wrong)?;
    if let Some(profile) = manifest.plan.target.profile.as_mut().filter(|_| public) {
        *profile = "profile-1".into();
    }
    if let Some(shards) = manifest.shards.as_mut().filter(|_| public) {
        let mut hosts = Mask::default();
        shards.parts.iter().for_each(|part| hosts.put(&part.host, HOST));
        for part in &mut shards.parts {
            part.host = hosts.apply(&part.host);
            part.reason = part.reason.as_ref().map(|reason| hosts.apply(reason));
        }
    }
    for (cell, planned) in summary.cells.iter_mut().zip(&manifest.cells) {
        cell.histogram = tagged(&cell.histogram, &cell.cell.id, &planned.cell.id);
        cell.cell = planned.cell.clone();
    }
    Ok((manifest, summary))
}

/// Every text of a tree, and every key, since some are a plan's.
fn each_text(value: &mut Value, with: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => with(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, with)),
        Value::Object(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(mut key, mut value)| {
                    with(&mut key);
                    each_text(&mut value, with);
                    (key, value)
                })
                .collect();
        }
        _ => {}
    }
}

/// Every text that a service put into the numbers.
fn each_of(summary: &mut Summary, with: &mut impl FnMut(&mut String)) {
    summary.preflight.unpriced_tier.iter_mut().for_each(&mut *with);
    for CellSummary { errors, protocols, spend, slowest, .. } in &mut summary.cells {
        for slow in slowest {
            with(&mut slow.class);
            with(&mut slow.request_id);
        }
        for error in errors {
            with(&mut error.class);
            with(&mut error.message);
            with(&mut error.pattern);
        }
        spend.unpriced_tier.iter_mut().for_each(&mut *with);
        *protocols = std::mem::take(protocols)
            .into_iter()
            .map(|(mut name, count)| {
                with(&mut name);
                (name, count)
            })
            .collect();
    }
}

/// The histogram log of a cell under another id.
fn tagged(log: &[u8], from: &str, to: &str) -> Vec<u8> {
    match std::str::from_utf8(log) {
        Ok(text) if from != to => text.replace(&format!("Tag={from},"), &format!("Tag={to},")).into_bytes(),
        _ => log.to_vec(),
    }
}

/// What is masked, each with what stands for it: the same everywhere, so that two stay two.
#[derive(Debug, Default)]
struct Mask {
    known: BTreeMap<String, String>,
    counts: [usize; 4],
}

/// A shorter pattern of a name is a placeholder or stands for too many words, in bytes.
const SHORTEST_PATTERN: usize = 4;

/// Kinds of what is masked, and how they are called then.
const ACCOUNT: (usize, &str) = (0, "account");
const NAME: (usize, &str) = (1, "name");
const ID: (usize, &str) = (2, "id");
const HOST: (usize, &str) = (3, "host");

impl Mask {
    fn put(&mut self, text: &str, (kind, label): (usize, &str)) {
        if !text.is_empty() && !self.known.contains_key(text) {
            self.counts[kind] += 1;
            self.insert(text, format!("{label}-{}", self.counts[kind]));
        }
    }

    /// Messages of errors may contain its pattern instead. What is a number or an id has none that tells anything.
    fn insert(&mut self, text: &str, label: String) {
        let pattern = pattern(text);
        if pattern.len() >= SHORTEST_PATTERN {
            self.known.entry(pattern).or_insert_with(|| label.clone());
        }
        self.known.insert(text.to_owned(), label);
    }

    /// A profile that is called like a tier or a region prefix is masked where it is a profile, and nowhere else.
    fn profile(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|name| name.len() >= 4 && !["default", "priority", "flex"].contains(name)) {
            self.insert(name, "profile-1".into());
        }
    }

    /// Finds what is to be masked.
    fn learn(&mut self, text: &str) {
        let is_account = |word: &&str| word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit());
        for arn in text.split("arn:").skip(1) {
            let end = arn.find(|c: char| c.is_whitespace() || "\"'`,;()[]<>".contains(c)).unwrap_or(arn.len());
            // partition:service:region:account:resource
            let fields: Vec<&str> = arn[..end].splitn(5, ':').collect();
            let [_, _, _, account, resource] = fields[..] else { continue };
            if is_account(&account) {
                self.put(account, ACCOUNT);
            }
            let resource = resource.trim_end_matches('.');
            let mut parts = resource.split(['/', ':']);
            match parts.next() {
                Some(kind) if OWN.contains(&kind) => {
                    let label = if kind.contains("model") || kind.contains("pro") { ID } else { NAME };
                    parts.filter(|part| !PLACEHOLDERS.contains(part)).for_each(|part| self.put(part, label));
                }
                // `us.amazon.nova-lite-v1:0` is AWS's own, and says which model it was.
                Some("inference-profile") => {
                    if let Some(id) = parts.next().filter(|id| !id.contains('.') && !PLACEHOLDERS.contains(id)) {
                        self.put(id, ID);
                    }
                }
                _ => {}
            }
        }
        text.split(|c: char| !c.is_alphanumeric()).filter(is_account).for_each(|account| self.put(account, ACCOUNT));
    }

    /// Replaces what is known where it is a word, the longest first. The time does not depend on how much is known.
    fn apply(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut before = None;
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let known = if is_of_word(before) { None } else { self.longest(rest) };
            let end = if let Some((secret, label)) = known {
                masked += label;
                secret.len()
            } else {
                masked.push(first);
                first.len_utf8()
            };
            before = rest[..end].chars().next_back();
            rest = &rest[end..];
        }
        masked
    }

    /// The longest of what is known that a text starts with, and its label. No word may continue behind it.
    fn longest(&self, text: &str) -> Option<(&String, &String)> {
        let mut start = text;
        while !start.is_empty() {
            let (secret, label) = self.known.range::<str, _>((Bound::Unbounded, Bound::Included(start))).next_back()?;
            if start.starts_with(secret.as_str()) && !is_of_word(text[secret.len()..].chars().next()) {
                return Some((secret, label));
            }
            // Whatever else the text may start with is a part of what both have in common.
            let common = start.chars().zip(secret.chars()).take_while(|(one, other)| one == other);
            let common = common.map(|(c, _)| c.len_utf8()).sum::<usize>();
            let shorter = if common < secret.len() { common } else { start[..common].char_indices().next_back()?.0 };
            start = &start[..shorter];
        }
        None
    }
}

fn is_of_word(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_names_are_masked_and_stay_apart() {
        let texts = [
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
            "User: arn:aws:sts::123456789012:assumed-role/TeamRole/jane@example.com is not authorized to perform: bedrock:InvokeModel",
            "arn:aws:bedrock:eu-west-1:210987654321:inference-profile/eu.amazon.nova-2-lite-v1:0",
            "a1b2c3d4e5f6_us_flex_small_u20",
            "arn-aws-bedrock-us-east-1-123456789012-application-inference-profile-a1b2c3d4e5f6",
            "account 123456789012, not 1234567890123 nor x123456789012",
            "the profile production-eu could not be found; default is a tier",
        ];
        let mut mask = Mask::default();
        mask.profile(Some("production-eu"));
        for text in texts {
            mask.learn(text);
        }
        let masked: Vec<String> = texts.iter().map(|text| mask.apply(text)).collect();
        assert_eq!(
            masked,
            [
                "arn:aws:bedrock:us-east-1:account-1:application-inference-profile/id-1",
                "User: arn:aws:sts::account-1:assumed-role/name-1/name-2 is not authorized to perform: bedrock:InvokeModel",
                "arn:aws:bedrock:eu-west-1:account-2:inference-profile/eu.amazon.nova-2-lite-v1:0",
                "id-1_us_flex_small_u20",
                "arn-aws-bedrock-us-east-1-account-1-application-inference-profile-id-1",
                "account account-1, not 1234567890123 nor x123456789012",
                "the profile profile-1 could not be found; default is a tier",
            ]
        );
    }
}
