//! Joins a user's stored features to a transaction's row: which value is used, and with what status.
//!
//! Pure: the hash's fields and the transaction's time come in, numbers go out.

use crate::features::status::Status;
use crate::model::{Input, Manifest, Source};

/// Features written for a time up to this much after the transaction's are taken as of its time:
/// clocks of producers differ.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// The fields of a feature hash that a model reads, and where they go in its row.
pub struct Join {
    columns: Vec<(usize, Input)>,
    fields: Vec<String>,
}

/// One stored value, as the store returned it.
pub type Stored = Option<Vec<u8>>;

impl Join {
    /// For the features that `manifest` lists; `None` when it lists none.
    pub fn new(manifest: &Manifest) -> Option<Self> {
        let columns: Vec<(usize, Input)> = manifest
            .inputs
            .iter()
            .enumerate()
            .filter(|(_, input)| input.from == Source::Features)
            .map(|(column, input)| (column, input.clone()))
            .collect();
        let names = columns.iter().map(|(_, input)| input.name.clone());
        let fields = names
            .chain(["_as_of".to_owned(), "_valid_until".to_owned()])
            .collect();
        (!columns.is_empty()).then_some(Join { columns, fields })
    }

    /// The hash fields to read, in the order in which [`Join::fill`] takes their values.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The columns of the row that are features.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|(column, _)| *column)
    }

    /// Fills a row's features as of `time` (epoch ms). `stored` is `None` when the store was not read
    /// in time.
    pub fn fill(
        &self,
        stored: Option<&[Stored]>,
        time: i64,
        inputs: &mut [f64],
        statuses: &mut [Status],
    ) {
        let missing = match stored {
            Some(values) if values.iter().any(Option::is_some) => None,
            Some(_) => Some(Status::Empty),
            None => Some(Status::Default),
        };
        let values = stored.unwrap_or_default();
        let as_of = number(values.get(self.columns.len())).map(|ms| ms as i64);
        let valid_until = number(values.get(self.columns.len() + 1)).map(|ms| ms as i64);
        for (index, (column, input)) in self.columns.iter().enumerate() {
            let past_ms = valid_until.map_or(0, |until| time.saturating_sub(until));
            let expired = input.max_stale_ms.is_some_and(|max| past_ms > max);
            let value = number(values.get(index)).filter(|_| !expired);
            let (value, status) = match (missing, value) {
                (Some(status), _) => (input.default.unwrap_or(0.0), status),
                (None, None) => (input.default.unwrap_or(0.0), Status::Default),
                (None, Some(value)) => {
                    let ahead =
                        as_of.is_some_and(|at| time < at.saturating_sub(CLOCK_TOLERANCE_MS));
                    let stale = valid_until.is_some_and(|until| time >= until);
                    let fresh = if ahead { Status::Ahead } else { Status::Ok };
                    (value, if stale { Status::Stale } else { fresh })
                }
            };
            inputs[*column] = value;
            statuses[*column] = status;
        }
    }
}

/// A stored decimal; what is not a finite number counts as absent.
fn number(stored: Option<&Stored>) -> Option<f64> {
    let text = std::str::from_utf8(stored?.as_deref()?).ok()?;
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, from: Source) -> Input {
        Input {
            name: name.to_owned(),
            from,
            default: None,
            max_stale_ms: None,
        }
    }

    /// Joins one feature, the second input of two, and returns what was filled in.
    fn fill(
        feature: Input,
        value: Option<&str>,
        as_of: Option<&str>,
        valid_until: Option<&str>,
        time: i64,
    ) -> (f64, Status) {
        let inputs = vec![input("amount", Source::Event), feature];
        let join = Join::new(&Manifest {
            inputs,
            ..Manifest::default()
        })
        .unwrap();
        assert_eq!(join.fields(), ["spend", "_as_of", "_valid_until"]);
        let stored = [value, as_of, valid_until].map(|field| field.map(|text| text.into()));
        let (mut row, mut statuses) = ([7.0, 0.0], [Status::Ok; 2]);
        join.fill(Some(&stored), time, &mut row, &mut statuses);
        assert_eq!(
            (row[0], statuses[0]),
            (7.0, Status::Ok),
            "the event's input is left alone"
        );
        (row[1], statuses[1])
    }

    #[test]
    fn statuses_follow_the_transactions_own_time() {
        let spend = input("spend", Source::Features);
        let at = |time| {
            fill(
                spend.clone(),
                Some("49.99"),
                Some("10000"),
                Some("90000"),
                time,
            )
        };
        assert_eq!(at(4_999), (49.99, Status::Ahead));
        assert_eq!(at(5_000), (49.99, Status::Ok));
        assert_eq!(at(89_999), (49.99, Status::Ok));
        assert_eq!(at(90_000), (49.99, Status::Stale));
    }

    #[test]
    fn what_is_missing_becomes_the_default_or_0() {
        let mut spend = input("spend", Source::Features);
        assert_eq!(
            fill(spend.clone(), None, None, None, 0),
            (0.0, Status::Empty)
        );
        let (as_of, until) = (Some("0"), Some("9"));
        assert_eq!(
            fill(spend.clone(), None, as_of, until, 1),
            (0.0, Status::Default)
        );
        assert_eq!(
            fill(spend.clone(), Some("x"), as_of, until, 1),
            (0.0, Status::Default)
        );
        spend.default = Some(12.5);
        assert_eq!(
            fill(spend.clone(), None, None, None, 0),
            (12.5, Status::Empty)
        );
        assert_eq!(
            fill(spend.clone(), None, as_of, until, 1),
            (12.5, Status::Default)
        );
        spend.max_stale_ms = Some(60_000);
        assert_eq!(
            fill(spend.clone(), Some("1"), as_of, until, 60_009),
            (1.0, Status::Stale)
        );
        assert_eq!(
            fill(spend, Some("1"), as_of, until, 60_010),
            (12.5, Status::Default)
        );
    }

    #[test]
    fn a_store_that_was_not_read_in_time_gives_defaults() {
        let inputs = vec![Input {
            default: Some(3.0),
            ..input("spend", Source::Features)
        }];
        let join = Join::new(&Manifest {
            inputs,
            ..Manifest::default()
        })
        .unwrap();
        let (mut row, mut statuses) = ([0.0], [Status::Ok]);
        join.fill(None, 5, &mut row, &mut statuses);
        assert_eq!((row[0], statuses[0]), (3.0, Status::Default));
    }
}
