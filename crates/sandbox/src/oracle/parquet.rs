//! A collector's data set, read back row by row and compared with the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::{Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::kafka::Stored;

/// The contents of a folder of Parquet files.
#[derive(Debug, Default)]
pub struct DataSet {
    /// The files, sorted by name.
    pub files: Vec<PathBuf>,
    /// Number of rows of each file, in the same order.
    pub rows_of_files: Vec<usize>,
    /// Rows by partition and offset.
    pub rows: BTreeMap<(i32, i64), Row>,
    /// Partition and offset of rows that occur more than once.
    pub doubled: Vec<(i32, i64)>,
}

/// A row's columns that are not null, as JSON; timestamps in epoch milliseconds.
pub(crate) type Row = BTreeMap<String, Value>;

/// Reads all Parquet files in a folder.
pub fn read_data_set(folder: &Path) -> Result<DataSet> {
    let mut data_set = DataSet::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(data_set),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The schema's file, which has no rows, is not counted.
        if name.ends_with(".parquet") && !name.starts_with('_') {
            data_set.files.push(path);
        }
    }
    data_set.files.sort();
    for path in data_set.files.clone() {
        let rows = data_set
            .read_file(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        data_set.rows_of_files.push(rows);
    }
    Ok(data_set)
}

impl DataSet {
    fn read_file(&mut self, path: &Path) -> Result<usize> {
        let mut count = 0;
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            count += batch.num_rows();
            self.take(&batch)?;
        }
        Ok(count)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .with_context(|| format!("no column {name}"))
        };
        let partitions = column("_partition")?;
        let partitions = partitions
            .as_any()
            .downcast_ref::<Int32Array>()
            .context("_partition is no int32")?;
        let offsets = column("_offset")?;
        let offsets = offsets
            .as_any()
            .downcast_ref::<Int64Array>()
            .context("_offset is no int64")?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let at = (partitions.value(row), offsets.value(row));
            let mut cells = Row::new();
            for (field, values) in schema.fields().iter().zip(batch.columns()) {
                if let Some(cell) = cell(values.as_ref(), row)? {
                    cells.insert(field.name().clone(), cell);
                }
            }
            if self.rows.insert(at, cells).is_some() {
                self.doubled.push(at);
            }
        }
        Ok(())
    }

    /// The differences from a log without rejects: rows that are missing, surplus, doubled or different; empty if
    /// right.
    pub fn differences(&self, log: &[Stored]) -> Vec<String> {
        let mut wrong: Vec<String> = self
            .doubled
            .iter()
            .map(|at| format!("{at:?} is there more than once"))
            .collect();
        for record in log {
            let at = (record.partition, record.offset);
            match self.rows.get(&at) {
                None => wrong.push(format!("{at:?} is missing")),
                Some(row) => {
                    wrong.extend(difference(record, row).map(|text| format!("{at:?}: {text}")))
                }
            }
        }
        if wrong.is_empty() && self.rows.len() > log.len() {
            wrong.push(format!(
                "{} rows for {} records",
                self.rows.len(),
                log.len()
            ));
        }
        wrong
    }
}

/// Compares every field of a record's flat JSON object with the row's column of that name.
fn difference(record: &Stored, row: &Row) -> Option<String> {
    let value = record.value.as_deref().unwrap_or_default();
    // Raw, since parsing a number as JSON may already round it.
    let fields: BTreeMap<&str, &RawValue> = match serde_json::from_slice(value) {
        Ok(fields) => fields,
        Err(_) => return Some("is no JSON object, yet has a row".to_owned()),
    };
    for (name, raw) in fields {
        let stored = row.get(name);
        if !same(raw.get(), stored) {
            return Some(format!("{name} is {stored:?}, expected {raw}"));
        }
    }
    let text = |bytes: &Vec<u8>| Value::from(String::from_utf8_lossy(bytes).into_owned());
    let key = record.key.as_ref().map(text);
    let time = record.timestamp_ms.map(Value::from);
    for (name, expected) in [("_key", key), ("_timestamp", time)] {
        let stored = row.get(name);
        if stored != expected.as_ref() {
            return Some(format!("{name} is {stored:?}, expected {expected:?}"));
        }
    }
    None
}

/// True if a JSON value and a cell are equal; `None` is null.
fn same(raw: &str, stored: Option<&Value>) -> bool {
    let Some(stored) = stored else {
        return raw == "null";
    };
    match (raw.parse::<f64>(), stored.as_f64()) {
        (Ok(value), Some(stored)) => value == stored,
        (Err(_), Some(stored)) => {
            // A time: text in the record, milliseconds in the row.
            let text: Result<String, _> = serde_json::from_str(raw);
            let time = text
                .ok()
                .and_then(|text| text.parse::<jiff::Timestamp>().ok());
            time.is_some_and(|time| time.as_millisecond() as f64 == stored)
        }
        _ => serde_json::from_str::<Value>(raw).is_ok_and(|value| value == *stored),
    }
}

/// One value as JSON; `None` for null.
fn cell(values: &dyn Array, row: usize) -> Result<Option<Value>> {
    if values.is_null(row) {
        return Ok(None);
    }
    let any = values.as_any();
    use arrow::array::{BinaryArray, BooleanArray, Float64Array, StringArray};
    let value = match values.data_type() {
        DataType::Utf8 => any
            .downcast_ref::<StringArray>()
            .map(|a| a.value(row).into()),
        DataType::Boolean => any
            .downcast_ref::<BooleanArray>()
            .map(|a| a.value(row).into()),
        DataType::Int32 => any
            .downcast_ref::<Int32Array>()
            .map(|a| a.value(row).into()),
        DataType::Int64 => any
            .downcast_ref::<Int64Array>()
            .map(|a| a.value(row).into()),
        DataType::Float64 => any
            .downcast_ref::<Float64Array>()
            .map(|a| a.value(row).into()),
        DataType::Binary => any
            .downcast_ref::<BinaryArray>()
            .map(|a| String::from_utf8_lossy(a.value(row)).into_owned().into()),
        DataType::Timestamp(unit, _) => return Ok(Some(millis(values, *unit, row)?.into())),
        // Tests compare nested values themselves, where they know the expectation.
        other => Some(format!("<{other}>").into()),
    };
    Ok(value)
}

fn millis(values: &dyn Array, unit: arrow::datatypes::TimeUnit, row: usize) -> Result<i64> {
    use arrow::array::{TimestampMicrosecondArray, TimestampMillisecondArray};
    use arrow::datatypes::TimeUnit;
    let any = values.as_any();
    let found = match unit {
        TimeUnit::Millisecond => any
            .downcast_ref::<TimestampMillisecondArray>()
            .map(|a| a.value(row)),
        TimeUnit::Microsecond => any
            .downcast_ref::<TimestampMicrosecondArray>()
            .map(|a| a.value(row).div_euclid(1_000)),
        _ => None,
    };
    found.context("a timestamp of an unexpected unit")
}
