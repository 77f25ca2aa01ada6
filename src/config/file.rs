//! TOML text to a tree and the place of everything in it. Finds all syntax errors at once.

use super::problem::{Place, Problem, Source};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A plan file as it stands.
#[derive(Debug)]
pub(super) struct PlanFile {
    pub(super) source: Source,
    /// What could be read.
    pub(super) tree: Value,
    /// Dotted path (`matrix.user_counts[1]`) to where the value stands.
    pub(super) values: HashMap<String, Range<usize>>,
    /// Dotted path to where the key stands.
    pub(super) keys: HashMap<String, Range<usize>>,
}

impl PlanFile {
    /// Parses as much as can be parsed.
    pub(super) fn parse(source: Source) -> (Self, Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let mut problems: Vec<Problem> = errors
            .iter()
            .map(|error| {
                let end = source.text.len();
                Problem::new(Place::File(source.clone(), error.span().unwrap_or(end..end)), error.message().to_owned())
            })
            .collect();
        let mut walk = Walk { values: HashMap::new(), keys: HashMap::new(), wrong: Vec::new() };
        let tree = walk.table(table.get_ref(), "");
        problems.extend(
            walk.wrong.into_iter().map(|(span, message)| Problem::new(Place::File(source.clone(), span), message)),
        );
        (Self { tree, values: walk.values, keys: walk.keys, source }, problems)
    }

    /// The place of a key.
    pub(super) fn key(&self, path: &str) -> Place {
        self.place(self.keys.get(path))
    }

    /// The place of a value; of the nearest thing around it where it has none.
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

    /// The line of a value, from 1.
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
    wrong: Vec<(Range<usize>, String)>,
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
                Err(_) => self.refuse(value.span(), format!("{number} does not fit into 64 bits")),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => self.refuse(value.span(), format!("{} is not a number that can be used here", number.as_str())),
            },
            DeValue::Boolean(boolean) => (*boolean).into(),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(array) => {
                array.iter().enumerate().map(|(index, item)| self.value(item, &format!("{path}[{index}]"))).collect()
            }
            DeValue::Table(table) => self.table(table, path),
        }
    }

    fn refuse(&mut self, span: Range<usize>, message: String) -> Value {
        self.wrong.push((span, message));
        Value::Null
    }
}
