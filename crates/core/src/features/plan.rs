//! The plan, made once from the definitions: columns, filters, and the sums over each window.

use super::definition::{Aggregate, Feature, Scalar};
use crate::record::Fields;

/// Indexes, in the decoded values, of the fields that are read from every event; the fields of features follow.
pub(crate) mod field {
    pub(crate) const USER: usize = 0;
    pub(crate) const TIME: usize = 1;
    pub(crate) const ACTION: usize = 2;
    pub(crate) const AMOUNT: usize = 3;
}
/// Names of these fields; the definitions name that of the time.
pub(super) const USER_FIELD: &str = "user_id";
pub(super) const ACTION_FIELD: &str = "action";
pub(super) const AMOUNT_FIELD: &str = "amount";

/// Limit of filters: the bits of an entry's mask.
pub(super) const FILTERS: usize = 64;

/// The encoding of a field's value in the 8 bytes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The number itself; NaN if the field is absent.
    Number,
    /// A hash of the value, which may be a text, a number or a bool; 0 if the field is absent.
    Hash,
}

/// One 8-byte column of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// The field's index among the decoded values.
    pub(super) field: usize,
    pub(super) kind: Kind,
}

/// The sums over the events that match a filter. Every tile holds each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) filter: usize,
    pub(super) column: Option<usize>,
    /// True if smallest and largest value are needed.
    pub(super) extremes: bool,
    /// True if mean and squared deviations are needed.
    pub(super) spread: bool,
    /// True if the newest value is needed.
    pub(super) last: bool,
}

/// A cell over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) window_ms: i64,
    pub(super) cell: usize,
}

/// The newest time or value of a feature without a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carry {
    pub(super) filter: usize,
    pub(super) column: Option<usize>,
}

/// The source of a feature's value: an index of `series` or `carries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Series(usize),
    Carry(usize),
}

/// The data that the features need.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The fields to decode, and their names in the same order.
    pub(super) fields: Fields,
    pub(super) names: Vec<String>,
    /// Each filter's conditions as (index among the decoded values, value that it must equal).
    pub(super) filters: Vec<Vec<(usize, Scalar)>>,
    pub(super) columns: Vec<Column>,
    /// Bytes of the mask in a kept entry: none if there is only one filter, which every kept entry matches.
    pub(super) mask_bytes: usize,
    /// Bytes of a kept entry.
    pub(super) stride: usize,
    pub(super) cells: Vec<Cell>,
    pub(super) series: Vec<Series>,
    pub(super) carries: Vec<Carry>,
    /// One for each feature, in the order of the features.
    pub(super) sources: Vec<Source>,
    /// The longest window in milliseconds; 0 if no feature has one.
    pub(super) longest_ms: i64,
}

impl Plan {
    /// The plan for these features.
    pub(super) fn new(timestamp: &str, features: &[Feature]) -> Self {
        let mut names = vec![USER_FIELD, timestamp, ACTION_FIELD, AMOUNT_FIELD];
        for feature in features {
            let conditions = feature.filter.0.iter().map(|(field, _)| field.as_str());
            for field in conditions.chain(feature.field.as_deref()) {
                place(&mut names, field);
            }
        }
        let mut plan = Self {
            fields: Fields::new(&names),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            filters: Vec::new(),
            columns: Vec::new(),
            mask_bytes: 0,
            stride: 0,
            cells: Vec::new(),
            series: Vec::new(),
            carries: Vec::new(),
            sources: Vec::new(),
            longest_ms: features
                .iter()
                .filter_map(|feature| feature.window_ms)
                .max()
                .unwrap_or(0),
        };
        for feature in features {
            let source = plan.source(&mut names, feature);
            plan.sources.push(source);
        }
        plan.mask_bytes = if plan.filters.len() > 1 {
            plan.filters.len().div_ceil(8)
        } else {
            0
        };
        plan.stride = 8 + plan.mask_bytes + 8 * plan.columns.len();
        plan
    }

    fn source<'a>(&mut self, names: &mut Vec<&'a str>, feature: &'a Feature) -> Source {
        let conditions = &feature.filter.0;
        let filter: Vec<_> = conditions
            .iter()
            .map(|(field, scalar)| (place(names, field), scalar.clone()))
            .collect();
        let filter = place(&mut self.filters, filter);
        let column = feature.field.as_deref().map(|field| {
            let kind = match feature.aggregate {
                Aggregate::Distinct => Kind::Hash,
                _ => Kind::Number,
            };
            let field = place(names, field);
            place(&mut self.columns, Column { field, kind })
        });
        let Some(window_ms) = feature.window_ms else {
            return Source::Carry(place(&mut self.carries, Carry { filter, column }));
        };
        let known = self
            .cells
            .iter()
            .position(|cell| (cell.filter, cell.column) == (filter, column));
        let cell = known.unwrap_or(self.cells.len());
        if known.is_none() {
            let (extremes, spread, last) = (false, false, false);
            self.cells.push(Cell {
                filter,
                column,
                extremes,
                spread,
                last,
            });
        }
        match feature.aggregate {
            Aggregate::Min | Aggregate::Max => self.cells[cell].extremes = true,
            Aggregate::Stddev => self.cells[cell].spread = true,
            Aggregate::Last => self.cells[cell].last = true,
            _ => {}
        }
        Source::Series(place(&mut self.series, Series { window_ms, cell }))
    }
}

/// The index of `item`, which is appended if it is new.
fn place<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    let known = items.iter().position(|other| *other == item);
    known.unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::super::Definitions;
    use super::*;

    #[test]
    fn the_standard_features_need_sixteen_bytes_an_event() {
        let plan = Definitions::standard().plan;
        assert_eq!((plan.stride, plan.mask_bytes), (16, 0));
        assert_eq!(
            plan.columns,
            [Column {
                field: field::AMOUNT,
                kind: Kind::Number
            }]
        );
        // The count of events, and the sum that sum and mean share.
        assert_eq!(plan.series.len(), 2);
        assert_eq!(plan.carries.len(), 1);
    }
}
