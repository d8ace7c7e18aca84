//! The events that a window keeps one by one, as people look at them.

use super::definitions::Definitions;
use super::entry;
use super::plan::{Kind, Source};
use super::window::Window;

/// One event of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept<'d> {
    /// Its time (epoch ms).
    pub time: i64,
    /// The fields that features take as numbers, where it has them.
    pub numbers: Vec<(&'d str, f64)>,
    /// The features whose conditions it matches, by their place in the definitions; their windows may not reach it.
    pub features: Vec<usize>,
}

impl Window {
    /// The newest events, at most `count`, in the order of their times. Those that tiles have summed up are not among them.
    pub fn last_events<'d>(&self, definitions: &'d Definitions, count: usize) -> Vec<Kept<'d>> {
        let plan = &definitions.plan;
        let kept = self.entries.chunks_exact(plan.stride);
        let skipped = kept.len().saturating_sub(count);
        let numbers = |entry: &[u8]| {
            let columns = plan.columns.iter().enumerate();
            let numbers = columns.filter(|(_, column)| column.kind == Kind::Number);
            let numbers = numbers.map(|(index, column)| {
                let bits = entry::column(plan, entry, index);
                (plan.names[column.field].as_str(), f64::from_bits(bits))
            });
            numbers.filter(|(_, number)| !number.is_nan()).collect()
        };
        let features = |entry: &[u8]| {
            let sources = plan.sources.iter().enumerate();
            let matching = sources.filter(|(_, source)| {
                let filter = match source {
                    Source::Series(index) => plan.cells[plan.series[*index].cell].filter,
                    Source::Carry(index) => plan.carries[*index].filter,
                };
                entry::matches(plan, entry, filter)
            });
            matching.map(|(index, _)| index).collect()
        };
        let events = kept.skip(skipped).map(|entry| Kept {
            time: entry::time(entry),
            numbers: numbers(entry),
            features: features(entry),
        });
        events.collect()
    }

    /// The number of events kept one by one, and of the minutes whose events are only summed up.
    pub fn kept(&self, definitions: &Definitions) -> (usize, usize) {
        let events = self.entries.len() / definitions.plan.stride.max(1);
        (events, self.tiles.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Limits;
    use super::*;
    use crate::record::Value;

    #[test]
    fn events_have_their_numbers_and_the_features_that_they_match() {
        let text = r#"
            [[feature]]
            name = "spent"
            aggregate = "sum"
            field = "amount"
            window = "1h"
            where = { action = "purchase" }
            [[feature]]
            name = "events"
            aggregate = "count"
            window = "5m"
        "#;
        let definitions = Definitions::parse(text).unwrap();
        let mut window = Window::default();
        for (minute, action, amount) in [
            (3, "purchase", Value::Float(2.5)),
            (1, "view", Value::Absent),
            (2, "purchase", Value::Integer(4)),
        ] {
            let mut values = vec![Value::Absent; 4];
            values[super::super::field::ACTION] = Value::Text(action.into());
            values[super::super::field::AMOUNT] = amount;
            let mut entry = Vec::new();
            definitions
                .entry(minute * 60_000, &values, &mut entry)
                .unwrap();
            window.insert(&definitions, &entry, &Limits::NONE);
        }
        let event = |minute: i64, numbers: &[(&'static str, f64)], features: &[usize]| Kept {
            time: minute * 60_000,
            numbers: numbers.to_vec(),
            features: features.to_vec(),
        };
        let all = [
            event(1, &[], &[1]),
            event(2, &[("amount", 4.0)], &[0, 1]),
            event(3, &[("amount", 2.5)], &[0, 1]),
        ];
        assert_eq!(window.last_events(&definitions, 10), all);
        assert_eq!(window.last_events(&definitions, 2), all[1..]);
        assert_eq!(window.kept(&definitions), (3, 0));
        assert!(Window::default().last_events(&definitions, 9).is_empty());
    }
}
