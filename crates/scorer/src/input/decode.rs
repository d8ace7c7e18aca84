//! Decodes a transaction's bytes into one row of the model's inputs.

use std::borrow::Cow;

use tidemill_core::record::{Fields, Reason, Reject, Value, missing, timestamp};

use crate::features::status::Status;
use crate::model::{Input, Manifest, Source};

/// Knows which fields the model wants; made once for each model.
pub struct Decoder {
    fields: Fields,
    inputs: Vec<Wanted>,
    width: usize,
    reads_features: bool,
}

/// An input that comes with the transaction.
struct Wanted {
    /// Its column in the row.
    column: usize,
    /// Its field, as an index into the decoded values.
    field: usize,
    input: Input,
}

/// The identity of a transaction, beside its row.
#[derive(Debug, PartialEq)]
pub struct Transaction<'a> {
    /// The key of its prediction.
    pub id: Cow<'a, str>,
    /// The user whose features count, and the time, for a model that reads features.
    pub user: Option<UserAt<'a>>,
}

/// A user at a time.
#[derive(Debug, PartialEq)]
pub struct UserAt<'a> {
    /// The user's id.
    pub id: Cow<'a, str>,
    /// The transaction's own time, in epoch milliseconds.
    pub time: i64,
}

const ID: usize = 0;
const USER: usize = 1;
const TIME: usize = 2;

impl Decoder {
    /// A decoder for the inputs that `manifest` lists.
    pub fn new(manifest: &Manifest) -> Self {
        let mut names = vec!["transaction_id", "user_id", "timestamp"];
        let mut inputs = Vec::new();
        for (column, input) in manifest.inputs.iter().enumerate() {
            if input.from == Source::Event {
                let known = names.iter().position(|name| *name == input.name);
                let field = known.unwrap_or_else(|| {
                    names.push(&input.name);
                    names.len() - 1
                });
                inputs.push(Wanted {
                    column,
                    field,
                    input: input.clone(),
                });
            }
        }
        Decoder {
            fields: Fields::new(names),
            inputs,
            width: manifest.inputs.len(),
            reads_features: manifest.reads_features(),
        }
    }

    /// Decodes a record's value, and appends its row: the inputs that come with the transaction are
    /// filled in, those from the feature store are left at 0 for the reader.
    ///
    /// # Errors
    ///
    /// The reason for a dead letter; nothing has been appended then.
    pub fn decode<'a>(
        &self,
        value: Option<&'a [u8]>,
        record_timestamp: Option<i64>,
        rows: &mut Rows,
    ) -> Result<Transaction<'a>, Reject> {
        let values = self.fields.decode(value)?;
        let transaction = self.identify(value, &values, record_timestamp)?;
        let start = rows.inputs.len();
        rows.inputs.resize(start + self.width, 0.0);
        rows.statuses.resize(start + self.width, Status::Ok);
        for wanted in &self.inputs {
            match wanted.read(value, &values[wanted.field]) {
                Ok((number, status)) => {
                    rows.inputs[start + wanted.column] = number;
                    rows.statuses[start + wanted.column] = status;
                }
                Err(reject) => {
                    rows.inputs.truncate(start);
                    rows.statuses.truncate(start);
                    return Err(reject);
                }
            }
        }
        Ok(transaction)
    }

    fn identify<'a>(
        &self,
        value: Option<&[u8]>,
        values: &[Value<'a>],
        record_timestamp: Option<i64>,
    ) -> Result<Transaction<'a>, Reject> {
        let id = values[ID]
            .id("transaction_id")?
            .ok_or_else(|| missing(value, "transaction_id"))?;
        let mut user = None;
        if self.reads_features {
            let id = values[USER]
                .id("user_id")?
                .ok_or_else(|| missing(value, "user_id"))?;
            let own = timestamp::decode(&values[TIME], "timestamp")?;
            let time = own.or(record_timestamp).ok_or_else(|| {
                let error = "neither timestamp nor the record has a time";
                Reject::new(Reason::InvalidTimestamp, error)
            })?;
            user = Some(UserAt { id, time });
        }
        Ok(Transaction { id, user })
    }
}

impl Wanted {
    fn read(&self, whole: Option<&[u8]>, value: &Value<'_>) -> Result<(f64, Status), Reject> {
        let name = &self.input.name;
        match (value.number_or_bool(name)?, self.input.default) {
            (Some(number), _) => Ok((number, Status::Ok)),
            (None, Some(default)) => Ok((default, Status::Default)),
            (None, None) => Err(missing(whole, name)),
        }
    }
}

/// The rows of a batch, one after the other: the model's inputs, and the origin of each.
#[derive(Default)]
pub struct Rows {
    /// Inputs in the model's column order.
    pub inputs: Vec<f64>,
    /// One for each input.
    pub statuses: Vec<Status>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, from: Source, default: Option<f64>) -> Input {
        Input {
            name: name.to_owned(),
            from,
            default,
            max_stale_ms: None,
        }
    }

    fn decode(manifest: &Manifest, value: &str) -> (Result<(String, Option<i64>), Reason>, Rows) {
        let mut rows = Rows::default();
        let decoded = Decoder::new(manifest).decode(Some(value.as_bytes()), Some(77), &mut rows);
        let told = decoded
            .map(|decoded| (decoded.id.into_owned(), decoded.user.map(|user| user.time)))
            .map_err(|reject| reject.reason);
        (told, rows)
    }

    #[test]
    fn the_tutorials_transaction_becomes_a_row() {
        let value = r#"{"transaction_id":"t_1","user_id":"u_1","amount":49.99,"hour_of_day":10,
            "is_international":true,"merchant_risk_score":0.12,"other":[1]}"#;
        let (told, rows) = decode(&Manifest::default(), value);
        assert_eq!(told, Ok(("t_1".to_owned(), None)));
        assert_eq!(rows.inputs, [49.99, 10.0, 1.0, 0.12]);
        assert_eq!(rows.statuses, [Status::Ok; 4]);
    }

    #[test]
    fn defaults_stand_in_and_features_are_left_to_the_reader() {
        let manifest = Manifest {
            inputs: vec![
                input("spend", Source::Features, None),
                input("amount", Source::Event, Some(5.0)),
                input("timestamp", Source::Event, None),
            ],
            ..Manifest::default()
        };
        let value = r#"{"transaction_id":7,"user_id":8,"timestamp":1771151400,"amount":null}"#;
        let (told, rows) = decode(&manifest, value);
        assert_eq!(told, Ok(("7".to_owned(), Some(1_771_151_400_000))));
        assert_eq!(rows.inputs, [0.0, 5.0, 1_771_151_400.0]);
        assert_eq!(rows.statuses, [Status::Ok, Status::Default, Status::Ok]);
        let without_time = Manifest {
            inputs: manifest.inputs[..2].to_vec(),
            ..manifest
        };
        let (told, _) = decode(&without_time, r#"{"transaction_id":"a","user_id":"u"}"#);
        assert_eq!(
            told,
            Ok(("a".to_owned(), Some(77))),
            "the record's own time stands in"
        );
    }

    #[test]
    fn what_cannot_be_used_is_rejected_and_leaves_no_row() {
        let manifest = Manifest::default();
        for (value, reason) in [
            ("", Reason::EmptyValue),
            ("{", Reason::InvalidJson),
            ("[]", Reason::NotAnObject),
            ("{}", Reason::MissingField),
            (r#"{"transaction_id":""}"#, Reason::OutOfRange),
            (r#"{"transaction_id":1.5}"#, Reason::WrongType),
            (r#"{"transaction_id":"t","amount":1}"#, Reason::MissingField),
            (r#"{"transaction_id":"t","amount":"1"}"#, Reason::WrongType),
            (
                r#"{"transaction_id":"t","amount":1,"hour_of_day":null}"#,
                Reason::MissingField,
            ),
        ] {
            let (told, rows) = decode(&manifest, value);
            assert_eq!(told, Err(reason), "{value}");
            assert!(
                rows.inputs.is_empty() && rows.statuses.is_empty(),
                "{value}"
            );
        }
        let inputs = vec![input("spend", Source::Features, None)];
        let features = Manifest {
            inputs,
            ..Manifest::default()
        };
        let (told, _) = decode(&features, r#"{"transaction_id":"t"}"#);
        assert_eq!(told, Err(Reason::MissingField), "features need a user");
        let bad = r#"{"transaction_id":"t","user_id":"u","timestamp":"yesterday"}"#;
        assert_eq!(decode(&features, bad).0, Err(Reason::InvalidTimestamp));
    }
}
