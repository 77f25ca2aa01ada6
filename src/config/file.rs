//! Parses TOML into a tree with the position of each key and value. Reports all syntax errors together.

use super::problem::{Place, Problem, Source};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed plan file.
#[derive(Debug)]
pub(super) struct PlanFile {
    pub(super) source: Source,
    /// The part that could be parsed.
    pub(super) tree: Value,
    /// Byte range of each value by dotted path (`matrix.user_counts[1]`).
    pub(super) values: HashMap<String, Range<usize>>,
    /// Byte range of each key by dotted path.
    pub(super) keys: HashMap<String, Range<usize>>,
}

impl PlanFile {
    /// Parses as much as possible.
    pub(super) fn parse(source: Source) -> (Self, Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let mut problems: Vec<Problem> = errors
            .iter()
            .map(|error| {
                let end = source.text.len();
                Problem::new(Place::File(source.clone(), error.span().unwrap_or(end..end)), error.message().to_owned())
            })
            .collect();
        let mut walk = Walk { values: HashMap::new(), keys: HashMap::new(), rejected: Vec::new() };
        let tree = walk.table(table.get_ref(), "");
        problems.extend(
            walk.rejected.into_iter().map(|(span, message)| Problem::new(Place::File(source.clone(), span), message)),
        );
        (Self { tree, values: walk.values, keys: walk.keys, source }, problems)
    }

    /// Returns the place of a key.
    pub(super) fn key(&self, path: &str) -> Place {
        self.place(self.keys.get(path))
    }

    /// Returns the place of a value, or of the nearest enclosing one.
    pub(super) fn value(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(span) = self.values.get(path).or_else(|| self.keys.get(path)) {
                return Place::File(self.source.clone(), span.clone());
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.place(None),
            }
        }
    }

    /// Returns the line of a value, from 1.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        let span = self.keys.get(path).or_else(|| self.values.get(path))?;
        Some(self.source.text[..span.start].matches('\n').count() + 1)
    }

    fn place(&self, span: Option<&Range<usize>>) -> Place {
        Place::File(self.source.clone(), span.cloned().unwrap_or(0..0))
    }
}

struct Walk {
    values: HashMap<String, Range<usize>>,
    keys: HashMap<String, Range<usize>>,
    rejected: Vec<(Range<usize>, String)>,
}

impl Walk {
    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            self.keys.insert(path.clone(), key.span());
            let value = self.value(value, &path);
            map.insert(name.to_owned(), value);
        }
        Value::Object(map)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Value {
        self.values.insert(path.to_owned(), value.span());
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => self.reject(value.span(), format!("integer `{number}` does not fit into 64 bits")),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => {
                    self.reject(value.span(), format!("invalid number `{}`: expected a finite number", number.as_str()))
                }
            },
            DeValue::Boolean(boolean) => (*boolean).into(),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(array) => {
                array.iter().enumerate().map(|(index, item)| self.value(item, &format!("{path}[{index}]"))).collect()
            }
            DeValue::Table(table) => self.table(table, path),
        }
    }

    fn reject(&mut self, span: Range<usize>, message: String) -> Value {
        self.rejected.push((span, message));
        Value::Null
    }
}
