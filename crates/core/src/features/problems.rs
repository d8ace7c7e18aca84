//! The problems of `features.toml`, each with its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The problems found so far.
pub(super) struct Problems<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    /// No problems yet in `text`; the error says why it is no TOML.
    pub(super) fn of(text: &'t str) -> Result<Self, String> {
        let root = DeTable::parse(text).map_err(|error| error.to_string())?;
        let found = Vec::new();
        Ok(Self { text, root, found })
    }

    /// Adds a problem with a key of the file, or of its `feature`-th [[feature]].
    pub(super) fn add(&mut self, feature: Option<usize>, key: &str, problem: &str) {
        let line = self.line(feature, key).unwrap_or(1);
        let problem = match feature {
            None => format!("line {line}: {problem}"),
            Some(index) => {
                let name = self.name(index).unwrap_or_else(|| (index + 1).to_string());
                format!("line {line}: feature {name}: {problem}")
            }
        };
        self.found.push((line, problem));
    }

    /// The number of problems.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// All problems, by line.
    pub(super) fn in_order(mut self) -> Vec<String> {
        self.found.sort_by_key(|(line, _)| *line);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }

    /// The line of a key, or of the section that lacks it.
    fn line(&self, feature: Option<usize>, key: &str) -> Option<usize> {
        let at = match feature {
            None => self.root.get_ref().get(key)?.span(),
            Some(index) => {
                let section = self.section(index)?;
                match section.get_ref() {
                    DeValue::Table(table) => table.get(key).unwrap_or(section).span(),
                    _ => section.span(),
                }
            }
        };
        let before = self.text.as_bytes().iter().take(at.start);
        Some(1 + before.filter(|&&byte| byte == b'\n').count())
    }

    fn name(&self, index: usize) -> Option<String> {
        let DeValue::Table(table) = self.section(index)?.get_ref() else {
            return None;
        };
        let DeValue::String(name) = table.get("name")?.get_ref() else {
            return None;
        };
        Some(name.clone().into_owned())
    }

    fn section(&self, index: usize) -> Option<&Spanned<DeValue<'t>>> {
        match self.root.get_ref().get("feature")?.get_ref() {
            DeValue::Array(sections) => sections.get(index),
            _ => None,
        }
    }
}
