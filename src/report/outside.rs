//! Sanitizes external text (names, messages and ids of a plan, a service or a journal) before it is output. Characters
//! that break a line or change the text direction are replaced. With `--public` it also masks account ids, names of
//! roles, users, profiles and hosts, and the texts that [`super::texts`] masks.

use super::ReportError;
use super::texts::mask_texts;
use crate::record::manifest::Manifest;
use crate::stats::{CellSummary, Summary};
use crate::units::pattern::{PLACEHOLDERS, pattern};
use crate::units::text::clean;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Bound;

/// ARN resource types whose names are chosen by users, or that belong to one account.
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

/// Sanitizes a run and its numbers, and masks them if `public` is set.
///
/// # Errors
/// If the sanitized manifest cannot be parsed, which is an internal error.
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

/// Applies a function to every text of a tree. Keys are included, since some are from a plan.
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

/// Applies a function to every text in the numbers that a service supplied.
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

/// Returns the histogram log of a cell with another id as its tag.
fn tagged(log: &[u8], from: &str, to: &str) -> Vec<u8> {
    match std::str::from_utf8(log) {
        Ok(text) if from != to => text.replace(&format!("Tag={from},"), &format!("Tag={to},")).into_bytes(),
        _ => log.to_vec(),
    }
}

/// Masked texts, each with its replacement. A text has the same replacement everywhere, so that different texts stay
/// distinguishable.
#[derive(Debug, Default)]
struct Mask {
    known: BTreeMap<String, String>,
    counts: [usize; 4],
}

/// Minimum length in bytes of a name's pattern that is masked. A shorter pattern is a placeholder or matches too many
/// words.
const SHORTEST_PATTERN: usize = 4;

/// Kinds of masked texts: index and label of the replacement.
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

    /// Adds a text and its pattern, since error messages may contain the pattern instead. The pattern of a number or an
    /// id reveals nothing and is not added.
    fn insert(&mut self, text: &str, label: String) {
        let pattern = pattern(text);
        if pattern.len() >= SHORTEST_PATTERN {
            self.known.entry(pattern).or_insert_with(|| label.clone());
        }
        self.known.insert(text.to_owned(), label);
    }

    /// Adds a profile name. A name that equals a tier or a region prefix is masked only in the profile setting.
    fn profile(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|name| name.len() >= 4 && !["default", "priority", "flex"].contains(name)) {
            self.insert(name, "profile-1".into());
        }
    }

    /// Adds the account ids and names in a text.
    fn learn(&mut self, text: &str) {
        let is_account = |word: &&str| word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit());
        for arn in text.split("arn:").skip(1) {
            let end = arn.find(|c: char| c.is_whitespace() || "\"'`,;()[]<>".contains(c)).unwrap_or(arn.len());
            // Fields: partition:service:region:account:resource.
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
                // `us.amazon.nova-lite-v1:0` is a public AWS id, and it identifies the model.
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

    /// Replaces known texts that are whole words, the longest first. The run time does not depend on the number of
    /// known texts.
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

    /// Returns the longest known text that `text` starts with, and its replacement. The match must end at a word
    /// boundary.
    fn longest(&self, text: &str) -> Option<(&String, &String)> {
        let mut start = text;
        while !start.is_empty() {
            let (secret, label) = self.known.range::<str, _>((Bound::Unbounded, Bound::Included(start))).next_back()?;
            if start.starts_with(secret.as_str()) && !is_of_word(text[secret.len()..].chars().next()) {
                return Some((secret, label));
            }
            // Any shorter match is a prefix of the part that both texts have in common.
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
    fn masked_accounts_and_names_stay_distinct() {
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
