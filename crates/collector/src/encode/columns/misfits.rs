//! Values that fitted no column, counted by the field they are of.

use serde::Serialize;
use std::collections::BTreeMap;

/// Fields that are told apart; records may have any number of names.
const FIELDS: usize = 100;

/// Stands for the fields beyond those.
const OTHERS: &str = "(others)";

/// The number of values in `_extra`, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Misfits(BTreeMap<String, u64>);

impl Misfits {
    /// Counts `count` values of a field.
    pub(crate) fn add(&mut self, field: &str, count: u64) {
        if let Some(known) = self.0.get_mut(field) {
            *known += count;
            return;
        }
        let field = if self.0.len() < FIELDS { field } else { OTHERS };
        *self.0.entry(field.to_owned()).or_default() += count;
    }

    /// Counts what was counted elsewhere.
    pub(crate) fn extend(&mut self, more: &Self) {
        more.iter()
            .for_each(|(field, count)| self.add(field, count));
    }

    /// All of them together.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// There are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each field with its count, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(field, count)| (field.as_str(), *count))
    }

    /// As the footer has them: one JSON object.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// Reads what [`Misfits::to_json`] wrote.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_and_bounded() {
        let mut misfits = Misfits::default();
        for n in 0..1_000 {
            misfits.add(&format!("f{n}"), 1);
            misfits.add("f7", 2);
        }
        let mut twice = misfits.clone();
        twice.extend(&misfits);
        assert_eq!((misfits.total(), twice.total()), (3_000, 6_000));
        let of = |field: &str| {
            misfits
                .iter()
                .find(|(own, _)| *own == field)
                .map(|(_, n)| n)
        };
        assert_eq!((of("f7"), of(OTHERS)), (Some(2_001), Some(900)));
        assert_eq!(misfits.iter().count(), FIELDS + 1);
        assert_eq!(Misfits::from_json(&misfits.to_json()), Some(misfits));
    }
}
