//! The columns of ours: where each record lay, and what it carried beside its value.

use super::texts::{Texts, nulls, offsets};
use crate::dataset::offset::Offset;
use crate::encode::schema::header_fields;
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use std::sync::Arc;

/// A record's place in its topic, and all that it carries beside its value.
#[derive(Clone, Debug)]
pub(crate) struct Coordinates<'a, Headers> {
    /// Its offset.
    pub(crate) offset: Offset,
    /// Its Kafka timestamp in milliseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    /// Its key.
    pub(crate) key: Option<&'a [u8]>,
    /// Its headers, in their order.
    pub(crate) headers: Headers,
}

/// Columns of coordinates under construction.
pub(super) struct CoordinateColumns {
    partition: i32,
    keys: TextColumn,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    timed: Vec<bool>,
    headers: Option<HeaderLists>,
}

/// Texts, some of them null.
#[derive(Default)]
pub(super) struct TextColumn {
    texts: Texts,
    valid: Vec<bool>,
}

#[derive(Default)]
struct HeaderLists {
    ends: Vec<i32>,
    keys: Texts,
    values: Texts,
    valid: Vec<bool>,
}

impl CoordinateColumns {
    /// None yet, of `partition`; headers are kept where asked for.
    pub(super) fn new(partition: i32, headers: bool) -> Self {
        Self {
            partition,
            keys: TextColumn::default(),
            offsets: Vec::new(),
            timestamps: Vec::new(),
            timed: Vec::new(),
            headers: headers.then(HeaderLists::default),
        }
    }

    /// The number of records.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Adds those of a record. A key that is not UTF-8 becomes null; of a header's name, U+FFFD stands for what is not.
    pub(super) fn push<'a>(
        &mut self,
        at: Coordinates<'a, impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>>,
    ) {
        let text = at.key.filter(|key| std::str::from_utf8(key).is_ok());
        self.keys.push(text);
        self.offsets.push(at.offset.into());
        self.timestamps.push(at.timestamp.unwrap_or_default());
        self.timed.push(at.timestamp.is_some());
        if let Some(lists) = &mut self.headers {
            for (name, value) in at.headers {
                lists.keys.push(String::from_utf8_lossy(name).as_bytes());
                lists.values.push(value.unwrap_or_default());
                lists.valid.push(value.is_some());
            }
            lists.ends.push(lists.valid.len() as i32);
        }
    }

    /// The columns in the order of the schema.
    pub(super) fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = self.len();
        let times = TimestampMillisecondArray::try_new(self.timestamps.into(), nulls(self.timed))?;
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.keys.finish()?),
            Arc::new(Int32Array::from_value(self.partition, rows)),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(times.with_timezone("UTC")),
        ];
        if let Some(lists) = self.headers {
            arrays.push(Arc::new(lists.finish()?));
        }
        Ok(arrays)
    }
}

impl TextColumn {
    pub(super) fn push(&mut self, text: Option<&[u8]>) {
        self.texts.push(text.unwrap_or_default());
        self.valid.push(text.is_some());
    }

    pub(super) fn finish(self) -> Result<StringArray, ArrowError> {
        let (offsets, bytes) = self.texts.finish();
        StringArray::try_new(offsets, bytes, nulls(self.valid))
    }
}

impl HeaderLists {
    fn finish(self) -> Result<ListArray, ArrowError> {
        let (key_offsets, keys) = self.keys.finish();
        let keys = StringArray::try_new(key_offsets, keys, None)?;
        let (value_offsets, values) = self.values.finish();
        let values = BinaryArray::try_new(value_offsets, values, nulls(self.valid))?;
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
        let pairs = StructArray::try_new(header_fields(), columns, None)?;
        let item = Field::new("element", DataType::Struct(header_fields()), false);
        ListArray::try_new(item.into(), offsets(self.ends), Arc::new(pairs), None)
    }
}
