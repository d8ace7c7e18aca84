//! One column under construction: takes JSON values as they are written, or says that one does not fit.

use super::list::List;
use super::object::{Fields, append_object};
use super::scalar::{is_integer, parse_double, parse_int64, parse_timestamp, unescape};
use super::texts::{Texts, nulls};
use crate::encode::schema::Kind;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{self, DataType, Field};
use arrow::error::ArrowError;
use std::borrow::Cow;
use std::sync::Arc;

/// A column of one [`Kind`]; all its rows have a value or null.
#[derive(Debug)]
pub(super) struct Column {
    values: Values,
    /// True for each row that has a value.
    valid: Vec<bool>,
}

#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    Int64(Vec<i64>),
    Timestamp(Vec<i64>),
    Double(Vec<f64>),
    Text(Form, Texts),
    List(List),
    Struct(Fields),
}

/// The values that a column of texts takes.
#[derive(Clone, Copy, Debug)]
enum Form {
    String,
    Integer,
    Json,
}

impl Column {
    pub(super) fn new(kind: &Kind) -> Self {
        let values = match kind {
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::Int64 => Values::Int64(Vec::new()),
            Kind::Timestamp => Values::Timestamp(Vec::new()),
            Kind::Double => Values::Double(Vec::new()),
            Kind::String => Values::Text(Form::String, Texts::default()),
            Kind::Integer => Values::Text(Form::Integer, Texts::default()),
            Kind::Json => Values::Text(Form::Json, Texts::default()),
            Kind::List(item) => Values::List(List::new(item)),
            Kind::Struct(columns) => Values::Struct(Fields::new(columns)),
        };
        let valid = Vec::new();
        Self { values, valid }
    }

    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Appends a row with a validated JSON value, as it is written.
    ///
    /// `false`: the value does not fit, and nothing was appended. Members of an object that do not fit its struct
    /// are added to `extra`, as `"key":value` with commas between them; without `extra` the object does not fit.
    /// Arrays take the cells of their elements from `room`, and do not fit where it is too small.
    pub(super) fn append(
        &mut self,
        value: &str,
        extra: Option<&mut Vec<u8>>,
        room: &mut usize,
    ) -> bool {
        if value == "null" {
            self.append_null();
            return true;
        }
        let rows = self.valid.len();
        let fits = match &mut self.values {
            Values::Bool(values) => push(values, parse_bool(value)),
            Values::Int64(values) => push(values, parse_int64(value)),
            Values::Timestamp(values) => push(values, parse_timestamp(value)),
            Values::Double(values) => push(values, parse_double(value)),
            Values::Text(form, texts) => match form.text(value) {
                Some(text) => {
                    texts.push(text.as_bytes());
                    true
                }
                None => false,
            },
            Values::List(list) => list.append(value, room),
            Values::Struct(fields) => append_object(fields, rows, value, extra, room),
        };
        if fits {
            self.valid.push(true);
        }
        fits
    }

    pub(super) fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::Int64(values) | Values::Timestamp(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Text(_, texts) => texts.push(b""),
            Values::List(list) => list.append_null(),
            Values::Struct(fields) => fields.columns().iter_mut().for_each(Self::append_null),
        }
        self.valid.push(false);
    }

    /// Drops the rows after the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        match &mut self.values {
            Values::Bool(values) => values.truncate(rows),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Text(_, texts) => texts.truncate(rows),
            Values::List(list) => list.truncate(rows),
            Values::Struct(fields) => {
                let columns = fields.columns().iter_mut();
                columns.for_each(|column| column.truncate(rows));
            }
        }
    }

    /// The column as an array of `kind`, the Arrow type of the kind it was made for.
    pub(super) fn finish(self, kind: &DataType) -> Result<ArrayRef, ArrowError> {
        let rows = self.valid.len();
        let nulls = nulls(self.valid);
        Ok(match (self.values, kind) {
            (Values::Bool(values), _) => {
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            (Values::Int64(values), _) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            (Values::Timestamp(values), _) => {
                let array = TimestampMicrosecondArray::try_new(values.into(), nulls)?;
                Arc::new(array.with_data_type(kind.clone()))
            }
            (Values::Double(values), _) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            (Values::Text(_, texts), _) => {
                let (offsets, bytes) = texts.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            (Values::List(list), DataType::List(field)) => Arc::new(list.finish(field, nulls)?),
            (Values::Struct(columns), DataType::Struct(fields)) => {
                let arrays = finish_all(columns.into_columns().into_iter(), fields)?;
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    arrays,
                    nulls,
                    rows,
                )?)
            }
            (_, other) => {
                return Err(ArrowError::SchemaError(format!(
                    "no column of ours is {other}"
                )));
            }
        })
    }
}

fn finish_all(
    columns: impl Iterator<Item = Column>,
    fields: &datatypes::Fields,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let finish = |(column, field): (Column, &Arc<Field>)| column.finish(field.data_type());
    columns.zip(fields).map(finish).collect()
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let fits = value.is_some();
    values.extend(value);
    fits
}

fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

impl Form {
    /// The text to store for a value, if it has this form.
    fn text(self, value: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::String => {
                let inner = value.strip_prefix('"')?.strip_suffix('"')?;
                unescape(inner, inner.contains('\\'))
            }
            Self::Integer => is_integer(value).then_some(Cow::Borrowed(value)),
            Self::Json => Some(Cow::Borrowed(value)),
        }
    }
}
