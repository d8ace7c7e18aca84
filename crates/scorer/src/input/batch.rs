//! A micro-batch on its way through the worker: records in their order, each a row or a reject.

use hashbrown::HashMap;
use tidemill_core::claim::Content;
use tidemill_core::kafka::Record;
use tidemill_core::record::{Reason, Reject};

use crate::input::decode::{Decoder, Rows};
use crate::model::Loaded;

/// Records that are scored and published together. Kept and cleared, so that its memory is reused.
#[derive(Default)]
pub struct Batch<'c> {
    /// The records themselves, in the consumer's memory.
    pub records: Vec<Record<'c>>,
    /// Bytes of their keys and values, which stay in memory until the batch is published.
    pub bytes: usize,
    /// What became of each record.
    pub entries: Vec<Entry>,
    /// The rows of those that could be decoded.
    pub rows: Rows,
    /// One for each row.
    pub transactions: Vec<Decoded>,
    /// The users whose features are wanted, each once.
    pub users: Vec<String>,
    user_index: HashMap<String, usize>,
}

/// What became of a record.
pub enum Entry {
    /// It is this row.
    Row(usize),
    /// It becomes a dead letter.
    Reject(Reject),
}

/// A decoded transaction, beside its row.
pub struct Decoded {
    /// Its id.
    pub id: String,
    /// Its user, as an index into the batch's users, and its own time in epoch ms; for models that
    /// read features.
    pub user: Option<(usize, i64)>,
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

    /// Turns the rows whose score is not finite into rejects.
    pub fn reject_unscored(&mut self, model: &Loaded, scores: &[f64]) {
        let width = model.manifest.inputs.len();
        for entry in &mut self.entries {
            if let Entry::Row(row) = *entry
                && !scores[row].is_finite()
            {
                let inputs = &self.rows.inputs[row * width..][..width];
                *entry = Entry::Reject(match model.unfit(inputs) {
                    Some(why) => Reject::new(Reason::OutOfRange, why),
                    None => {
                        let error = "the model's score is not a finite number";
                        Reject::new(Reason::NonFiniteScore, error)
                    }
                });
            }
        }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
        self.entries.clear();
        self.rows.clear();
        self.transactions.clear();
        self.users.clear();
        self.user_index.clear();
    }
}
