//! Rows under construction: each record's fields into the columns of the frozen schema, the rest into `_extra`.

use super::column::{Column, Texts, braced, nulls, offsets, push_member};
use super::scalar::unescape;
use crate::json::{self, Malformed, Member};
use crate::schema::{Schema, header_fields};
use anyhow::Context;
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use std::sync::Arc;
use tidemill_core::record::{Reason, Reject};

/// Where a record lies, and what it carries beside its value.
#[derive(Clone, Debug)]
pub(crate) struct Coordinates<'a, Headers> {
    /// Its offset.
    pub(crate) offset: i64,
    /// Its Kafka timestamp in milliseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    /// Its key.
    pub(crate) key: Option<&'a [u8]>,
    /// Its headers, in their order.
    pub(crate) headers: Headers,
}

/// Rows of one partition. All columns have the same length between two records.
pub(crate) struct Rows {
    schema: Arc<arrow::datatypes::Schema>,
    partition: i32,
    columns: Vec<Column>,
    /// The place of each field's column by its name.
    places: HashMap<String, usize>,
    /// The names in the order of the columns: records mostly have their fields in the same order, so that the next
    /// column is mostly the right one.
    names: Vec<String>,
    /// For each column the row, counted from 1, that it was last given a value for.
    given: Vec<usize>,
    extra: Optional<Texts>,
    keys: Optional<Texts>,
    offsets: Vec<i64>,
    timestamps: Optional<Vec<i64>>,
    headers: Option<HeaderLists>,
    /// Values that fitted no column, counted by member of the record.
    misfits: usize,
    scratch: Vec<u8>,
}

/// A column of ours beside whether each row has a value.
#[derive(Default)]
struct Optional<Values> {
    values: Values,
    valid: Vec<bool>,
}

#[derive(Default)]
struct HeaderLists {
    ends: Vec<i32>,
    keys: Texts,
    values: Texts,
    valid: Vec<bool>,
}

/// Where one member of a record goes.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Column(usize),
    Extra,
    /// A later member has the same key.
    Nowhere,
}

impl Rows {
    /// No rows yet, of `partition`.
    pub(crate) fn new(schema: &Schema, partition: i32) -> Self {
        let names: Vec<String> = schema
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        Self {
            schema: Arc::new(schema.to_arrow()),
            partition,
            columns: schema
                .columns
                .iter()
                .map(|column| Column::new(&column.kind))
                .collect(),
            places: names.iter().cloned().zip(0..).collect(),
            given: vec![0; names.len()],
            names,
            extra: Optional::default(),
            keys: Optional::default(),
            offsets: Vec::new(),
            timestamps: Optional::default(),
            headers: schema.headers.then(HeaderLists::default),
            misfits: 0,
            scratch: Vec::new(),
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// How many fields of all rows fitted no column.
    pub(crate) fn misfits(&self) -> usize {
        self.misfits
    }

    /// Adds a record as a row, or says why it cannot become one; then nothing was added.
    pub(crate) fn push<'a>(
        &mut self,
        at: Coordinates<'a, impl Iterator<Item = (&'a str, Option<&'a [u8]>)>>,
        value: Option<&[u8]>,
    ) -> Result<(), Reject> {
        let text = decode(value)?;
        let mut members = Vec::with_capacity(self.columns.len());
        json::members(text, &mut members).map_err(|malformed| {
            let reason = match malformed {
                Malformed::OtherType => Reason::NotAnObject,
                Malformed::Syntax { .. } => Reason::InvalidJson,
            };
            Reject::new(reason, malformed.to_string())
        })?;
        self.scratch.clear();
        self.push_members(&members);
        self.push_coordinates(at);
        Ok(())
    }

    fn push_members(&mut self, members: &[Member<'_>]) {
        let row = self.len() + 1;
        let mut repeated = false;
        let mut next = 0;
        let mut places = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            let place = self.place(member, next);
            if let Place::Column(column) = place {
                repeated |= self.given[column] == row;
                self.given[column] = row;
                next = column + 1;
            } else {
                let mut others = members[..index].iter().zip(&places);
                let same =
                    others.any(|(other, place)| *place == Place::Extra && other.key == member.key);
                repeated |= same || member.escaped;
            }
            places.push(place);
        }
        if repeated {
            keep_last(members, &mut places);
        }
        for (member, place) in members.iter().zip(&places) {
            match place {
                Place::Column(column) => self.push_field(*column, member),
                Place::Extra if member.value != "null" => self.push_extra(member),
                Place::Extra | Place::Nowhere => {}
            }
        }
        for column in &mut self.columns {
            if column.len() < row {
                column.append_null();
            }
        }
    }

    fn place(&self, member: &Member<'_>, next: usize) -> Place {
        if !member.escaped && self.names.get(next).is_some_and(|name| name == member.key) {
            return Place::Column(next);
        }
        let column =
            unescape(member.key, member.escaped).and_then(|name| self.places.get(name.as_ref()));
        column.map_or(Place::Extra, |column| Place::Column(*column))
    }

    fn push_field(&mut self, column: usize, member: &Member<'_>) {
        let mut inner = Vec::new();
        if !self.columns[column].append(member.value, Some(&mut inner)) {
            self.push_extra(member);
        } else if !inner.is_empty() {
            self.misfits += 1;
            push_member(&mut self.scratch, member.key, &braced(&inner));
        }
    }

    fn push_extra(&mut self, member: &Member<'_>) {
        self.misfits += 1;
        push_member(&mut self.scratch, member.key, member.value.as_bytes());
    }

    fn push_coordinates<'a>(
        &mut self,
        at: Coordinates<'a, impl Iterator<Item = (&'a str, Option<&'a [u8]>)>>,
    ) {
        let key = at.key.map(std::str::from_utf8);
        if let (Some(Err(_)), Some(bytes)) = (key, at.key) {
            let encoded = format!("{{\"base64\":\"{}\"}}", STANDARD.encode(bytes));
            self.misfits += 1;
            push_member(&mut self.scratch, "_key", encoded.as_bytes());
        }
        self.keys.push(key.and_then(Result::ok).map(str::as_bytes));
        let extra = (!self.scratch.is_empty()).then(|| braced(&self.scratch));
        self.extra.push(extra.as_deref());
        self.offsets.push(at.offset);
        self.timestamps
            .values
            .push(at.timestamp.unwrap_or_default());
        self.timestamps.valid.push(at.timestamp.is_some());
        if let Some(lists) = &mut self.headers {
            for (key, value) in at.headers {
                lists.keys.push(key.as_bytes());
                lists.values.push(value.unwrap_or_default());
                lists.valid.push(value.is_some());
            }
            lists.ends.push(lists.valid.len() as i32);
        }
    }

    /// The rows as a batch with all columns of the schema but the features, which are given.
    pub(crate) fn finish(self, features: Vec<ArrayRef>) -> anyhow::Result<RecordBatch> {
        let rows = self.len();
        let fields = self.schema.fields();
        let columns = self.columns.into_iter().zip(fields);
        let columns = columns.map(|(column, field)| column.finish(field.data_type()));
        let mut arrays: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        arrays.extend(features);
        arrays.push(Arc::new(self.extra.finish()?));
        arrays.push(Arc::new(self.keys.finish()?));
        arrays.push(Arc::new(Int32Array::from_value(self.partition, rows)));
        arrays.push(Arc::new(Int64Array::from(self.offsets)));
        let Optional { values, valid } = self.timestamps;
        let times = TimestampMillisecondArray::try_new(values.into(), nulls(valid))?;
        arrays.push(Arc::new(times.with_timezone("UTC")));
        if let Some(lists) = self.headers {
            arrays.push(lists.finish()?);
        }
        RecordBatch::try_new(self.schema, arrays).context("columns that do not make up the schema")
    }
}

fn decode(value: Option<&[u8]>) -> Result<&str, Reject> {
    let bytes = value.unwrap_or_default();
    if bytes.is_empty() {
        return Err(Reject::new(Reason::EmptyValue, "the value is empty"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Reject::new(
            Reason::NotUtf8,
            format!("the value is not UTF-8 at byte {at}"),
        )
    })
}

/// Of members with the same key only the last keeps its place.
fn keep_last(members: &[Member<'_>], places: &mut [Place]) {
    let mut later = HashMap::with_capacity(members.len());
    for (index, member) in members.iter().enumerate().rev() {
        let name = unescape(member.key, member.escaped).unwrap_or(member.key.into());
        if later.insert(name, ()).is_some() {
            places[index] = Place::Nowhere;
        }
    }
}

impl Optional<Texts> {
    fn push(&mut self, text: Option<&[u8]>) {
        self.values.push(text.unwrap_or_default());
        self.valid.push(text.is_some());
    }

    fn finish(self) -> anyhow::Result<StringArray> {
        let (offsets, bytes) = self.values.finish();
        Ok(StringArray::try_new(offsets, bytes, nulls(self.valid))?)
    }
}

impl HeaderLists {
    fn finish(self) -> anyhow::Result<ArrayRef> {
        let (key_offsets, keys) = self.keys.finish();
        let keys = StringArray::try_new(key_offsets, keys, None)?;
        let (value_offsets, values) = self.values.finish();
        let values = BinaryArray::try_new(value_offsets, values, nulls(self.valid))?;
        let pairs = StructArray::try_new(
            header_fields(),
            vec![Arc::new(keys), Arc::new(values)],
            None,
        )?;
        let item =
            arrow::datatypes::Field::new("element", DataType::Struct(header_fields()), false);
        let lists = ListArray::try_new(item.into(), offsets(self.ends), Arc::new(pairs), None)?;
        Ok(Arc::new(lists))
    }
}
