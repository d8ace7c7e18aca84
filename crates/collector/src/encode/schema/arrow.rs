//! A schema as Arrow's, which the Parquet writer takes.

use super::{EXTRA, Kind, Schema};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

impl Schema {
    /// All columns of a file: the event's fields, features, what fits none, and the record's coordinates.
    pub(crate) fn to_arrow(&self) -> arrow::datatypes::Schema {
        let own = self
            .columns
            .iter()
            .map(|column| nullable(&column.name, column.kind.to_arrow()));
        let features = self
            .feature_names()
            .iter()
            .map(|name| nullable(name, DataType::Float64));
        let mut fields: Vec<Field> = own.chain(features).collect();
        fields.push(nullable(EXTRA, DataType::Utf8));
        fields.push(nullable("_key", DataType::Utf8));
        fields.push(Field::new("_partition", DataType::Int32, false));
        fields.push(Field::new("_offset", DataType::Int64, false));
        fields.push(nullable("_timestamp", utc(TimeUnit::Millisecond)));
        if self.headers {
            let pair = DataType::Struct(header_fields());
            let item = Field::new("element", pair, false);
            fields.push(Field::new("_headers", DataType::List(item.into()), false));
        }
        arrow::datatypes::Schema::new(fields)
    }
}

impl Kind {
    /// The Arrow type of a column's values.
    pub(crate) fn to_arrow(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Timestamp => utc(TimeUnit::Microsecond),
            Self::String | Self::Integer | Self::Json => DataType::Utf8,
            Self::List(item) => DataType::List(nullable("element", item.to_arrow()).into()),
            Self::Struct(columns) => {
                let fields = columns
                    .iter()
                    .map(|column| nullable(&column.name, column.kind.to_arrow()));
                DataType::Struct(fields.collect())
            }
        }
    }
}

/// A header: its name as text, with U+FFFD in the place of bytes that are not UTF-8, and its value, which may be null
/// and need not be text.
pub(crate) fn header_fields() -> Fields {
    let key = Field::new("key", DataType::Utf8, false);
    vec![key, nullable("value", DataType::Binary)].into()
}

fn nullable(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}
