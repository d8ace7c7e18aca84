//! A micro-batch on its way through the worker: records in their order, each a row or a reject.

use hashbrown::HashMap;
use tidemill_core::claim::Content;
use tidemill_core::kafka::Record;
use tidemill_core::record::{Reason, Reject};

use crate::features::status::Status;
use crate::input::decode::{Decoder, Rows};
use crate::model::{Failure, Loaded};

/// Records that are scored and published together. Kept and cleared, so that its memory is reused.
#[derive(Default)]
pub struct Batch<'c> {
    /// The records, in the consumer's memory.
    records: Vec<Record<'c>>,
    /// Bytes of their keys and values.
    bytes: usize,
    /// One for each record.
    entries: Vec<Entry>,
    /// The rows of the records that could be decoded.
    rows: Rows,
    /// One for each row.
    transactions: Vec<Decoded>,
    /// The users whose features are wanted, each once.
    users: Vec<String>,
    user_index: HashMap<String, usize>,
}

/// The result of decoding and scoring one record.
enum Entry {
    /// It is this row.
    Row(usize),
    /// It becomes a dead letter.
    Reject(Reject),
}

/// A decoded transaction, beside its row.
struct Decoded {
    id: String,
    /// Its user, as an index into the batch's users, and its own time in epoch ms; for models that read features.
    user: Option<(usize, i64)>,
}

/// A record's answer.
pub enum Answer<'b> {
    /// A prediction from this row.
    Prediction(Row<'b>),
    /// A dead letter.
    Reject(&'b Reject),
}

/// One row of a batch.
pub struct Row<'b> {
    /// Its place among the rows, and so among their scores.
    pub index: usize,
    /// The transaction's id.
    pub id: &'b str,
    /// Inputs in the model's column order.
    pub inputs: &'b [f64],
    /// One for each input.
    pub statuses: &'b [Status],
}

impl<'c> Batch<'c> {
    /// Decodes a record's content and takes the record in.
    pub fn push(&mut self, decoder: &Decoder, record: Record<'c>, content: Content) {
        let rows = &mut self.rows;
        let decoded = content
            .of(record.value())
            .and_then(|value| decoder.decode(value, record.timestamp(), rows));
        match decoded {
            Ok(transaction) => {
                let index = &mut self.user_index;
                let users = &mut self.users;
                let user = transaction.user.map(|user| {
                    let next = users.len();
                    let place = *index.entry_ref(user.id.as_ref()).or_insert_with(|| {
                        users.push(user.id.clone().into_owned());
                        next
                    });
                    (place, user.time)
                });
                self.entries.push(Entry::Row(self.transactions.len()));
                self.transactions.push(Decoded {
                    id: transaction.id.into_owned(),
                    user,
                });
            }
            Err(reject) => self.entries.push(Entry::Reject(reject)),
        }
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        self.bytes += length(record.key()) + length(record.value());
        self.records.push(record);
    }

    /// The users whose features the rows want, each once.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Calls `fill` for each row with a user: with the user's place in [`Batch::users`], the transaction's time (epoch ms),
    /// and the row's inputs and statuses.
    pub fn fill_features(&mut self, mut fill: impl FnMut(usize, i64, &mut [f64], &mut [Status])) {
        let width = self.width();
        let inputs = self.rows.inputs.chunks_exact_mut(width);
        let statuses = self.rows.statuses.chunks_exact_mut(width);
        for ((transaction, inputs), statuses) in self.transactions.iter().zip(inputs).zip(statuses)
        {
            if let Some((user, time)) = transaction.user {
                fill(user, time, inputs, statuses);
            }
        }
    }

    /// The inputs of all rows, one row after the other.
    pub fn inputs(&self) -> &[f64] {
        &self.rows.inputs
    }

    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.transactions.len()
    }

    /// The statuses of each row.
    pub fn statuses(&self) -> impl Iterator<Item = &[Status]> {
        self.rows.statuses.chunks_exact(self.width())
    }

    /// Turns the rows whose score is not finite into rejects; `failures` are those that the model failed on.
    pub fn reject_unscored(&mut self, model: &Loaded, scores: &[f64], failures: Vec<Failure>) {
        let width = model.manifest.inputs.len();
        let failures = failures.into_iter();
        let mut failures: HashMap<usize, String> =
            failures.map(|failure| (failure.row, failure.why)).collect();
        for entry in &mut self.entries {
            if let Entry::Row(row) = *entry
                && !scores[row].is_finite()
            {
                let inputs = &self.rows.inputs[row * width..][..width];
                *entry = Entry::Reject(if let Some(why) = model.unfit(inputs) {
                    Reject::new(Reason::OutOfRange, why)
                } else if let Some(why) = failures.remove(&row) {
                    Reject::new(Reason::ModelFailed, format!("the model fails on it: {why}"))
                } else {
                    let error = "the model's score is not a finite number";
                    Reject::new(Reason::NonFiniteScore, error)
                });
            }
        }
    }

    /// The records in their order, each with its answer.
    pub fn answers(&self) -> impl Iterator<Item = (&Record<'c>, Answer<'_>)> {
        let width = self.width();
        let answer = move |entry| match entry {
            &Entry::Row(index) => {
                let columns = index * width..(index + 1) * width;
                Answer::Prediction(Row {
                    index,
                    id: &self.transactions[index].id,
                    inputs: &self.rows.inputs[columns.clone()],
                    statuses: &self.rows.statuses[columns],
                })
            }
            Entry::Reject(reject) => Answer::Reject(reject),
        };
        self.records.iter().zip(self.entries.iter().map(answer))
    }

    /// The earliest Kafka timestamp of its records, in epoch milliseconds.
    pub fn oldest_ms(&self) -> Option<i64> {
        let times = self.records.iter().filter_map(|record| record.timestamp());
        times.min()
    }

    /// The number of its records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True if it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of its records' keys and values, which stay in the consumer's memory until it is cleared.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
        self.entries.clear();
        self.rows.inputs.clear();
        self.rows.statuses.clear();
        self.transactions.clear();
        self.users.clear();
        self.user_index.clear();
    }

    /// Inputs of a row; 1 while there is no row.
    fn width(&self) -> usize {
        (self.rows.inputs.len() / self.transactions.len().max(1)).max(1)
    }
}
