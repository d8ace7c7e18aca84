//! The problems of a configuration, all of them at once.

use crate::exit::Failure;

/// The problems of a configuration, collected so that all are reported at once.
#[derive(Debug, Default)]
pub struct Problems(pub(super) Vec<String>);

impl Problems {
    /// Adds a problem: a sentence that names the flag or field and the remedy.
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// The parsed value of a flag; or `None`, after adding a problem that names flag, value and the expected form.
    pub fn take<T>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        parse(text)
            .map_err(|expected| self.add(format!("{flag} {text:?}: {expected}")))
            .ok()
    }

    /// Adds a problem if two flags name one topic. A program that reads what it writes never ends, and nobody can
    /// separate two kinds of records in one topic.
    pub fn differ(&mut self, one: (&str, &str), other: (&str, &str)) {
        let ((first, topic), (second, same)) = (one, other);
        if topic == same && !topic.is_empty() {
            self.add(format!(
                "{first} and {second} are both {topic}: give each a topic of its own"
            ));
        }
    }

    /// Fails if there are problems, which ends the start.
    pub fn finish(self) -> anyhow::Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            [problem] => Err(Failure::usage(problem.clone())),
            all => {
                let list = all.join("\n  - ");
                let count = all.len();
                Err(Failure::usage(format!(
                    "{count} problems in the configuration:\n  - {list}"
                )))
            }
        }
    }
}
