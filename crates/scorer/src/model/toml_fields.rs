//! Fields of a TOML table; each wrong one is noted with its line and name.

use std::ops::Range;

use tidemill_core::spelling::unknown_key;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The problems found so far; lines are counted when one is added.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    /// None yet, in `text`.
    pub(super) fn of(text: &'t str) -> Self {
        let found = Vec::new();
        Problems { text, found }
    }

    /// Notes what is wrong with a field that stands at `at`.
    pub(super) fn add(&mut self, at: Range<usize>, field: &str, what: &str) {
        let before = self.text.as_bytes().iter().take(at.start);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        let problem = format!("line {line}: {field}: {what}");
        self.found.push((line, problem));
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All, from the first line on.
    pub(super) fn in_order(mut self) -> Vec<String> {
        self.found.sort_by_key(|(line, _)| *line);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// A table.
pub(super) struct Fields<'r, 't> {
    table: &'r DeTable<'t>,
    /// The beginning of its fields' names.
    prefix: String,
    at: Range<usize>,
}

impl<'r, 't> Fields<'r, 't> {
    /// The whole file's.
    pub(super) fn root(root: &'r Spanned<DeTable<'t>>) -> Self {
        Fields {
            table: root.get_ref(),
            prefix: String::new(),
            at: root.span(),
        }
    }

    /// True if the field is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes what is wrong with a field, at its line or, if it is not there, at the table's.
    pub(super) fn wrong(&self, key: &str, what: &str, problems: &mut Problems<'_>) {
        let at = self.table.get(key).map_or(self.at.clone(), Spanned::span);
        problems.add(at, &format!("{}{key}", self.prefix), what);
    }

    /// Notes fields that mean nothing: a misspelt option must not be ignored.
    pub(super) fn only(&self, names: &[&str], problems: &mut Problems<'_>) {
        for (key, _) in self.table.iter() {
            if !names.contains(&key.get_ref().as_ref()) {
                let what = unknown_key(key.get_ref(), names);
                let field = format!("{}{}", self.prefix, key.get_ref());
                problems.add(key.span(), &field, &what);
            }
        }
    }

    /// A text.
    pub(super) fn string(&self, key: &str, problems: &mut Problems<'_>) -> Option<String> {
        if let DeValue::String(text) = self.table.get(key)?.get_ref() {
            return Some(text.clone().into_owned());
        }
        self.wrong(key, "must be a text in quotes", problems);
        None
    }

    /// A truth value.
    pub(super) fn truth(&self, key: &str, problems: &mut Problems<'_>) -> Option<bool> {
        if let DeValue::Boolean(truth) = self.table.get(key)?.get_ref() {
            return Some(*truth);
        }
        self.wrong(key, "must be true or false", problems);
        None
    }

    /// A number, which may be `nan`.
    pub(super) fn float(&self, key: &str, problems: &mut Problems<'_>) -> Option<f64> {
        let value = as_float(self.table.get(key)?.get_ref());
        if value.is_none() {
            self.wrong(key, "must be a number", problems);
        }
        value
    }

    /// A finite number.
    pub(super) fn number(&self, key: &str, problems: &mut Problems<'_>) -> Option<f64> {
        let value = self.float(key, problems)?;
        if !value.is_finite() {
            self.wrong(key, "must be a finite number", problems);
            return None;
        }
        Some(value)
    }

    /// An array of numbers; `None` if it is another thing.
    pub(super) fn floats(&self, key: &str) -> Option<Vec<f64>> {
        match self.table.get(key)?.get_ref() {
            DeValue::Array(values) => values.iter().map(|v| as_float(v.get_ref())).collect(),
            _ => None,
        }
    }

    /// The table `[key]`.
    pub(super) fn table(&self, key: &str, problems: &mut Problems<'_>) -> Option<Fields<'r, 't>> {
        let found = self.table.get(key)?;
        let DeValue::Table(table) = found.get_ref() else {
            self.wrong(key, &format!("must be a table: [{key}]"), problems);
            return None;
        };
        Some(Fields {
            table,
            prefix: format!("{key}."),
            at: found.span(),
        })
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &str, problems: &mut Problems<'_>) -> Vec<Fields<'r, 't>> {
        let mut tables = Vec::new();
        let Some(value) = self.table.get(key) else {
            return tables;
        };
        let wrong = format!("must be written [[{key}]]");
        let DeValue::Array(found) = value.get_ref() else {
            self.wrong(key, &wrong, problems);
            return tables;
        };
        for (index, value) in found.iter().enumerate() {
            match value.get_ref() {
                DeValue::Table(table) => tables.push(Fields {
                    table,
                    prefix: format!("{key}[{index}]."),
                    at: value.span(),
                }),
                _ => problems.add(value.span(), key, &wrong),
            }
        }
        tables
    }
}

fn as_float(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix())
            .ok()
            .map(|whole| whole as f64),
        _ => None,
    }
}
