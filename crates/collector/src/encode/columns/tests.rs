//! Columns and `_extra` together give every record back: nothing lost, nothing made up.

use super::{Coordinates, Rows};
use crate::encode::schema::{Column, Kind, Sample, Schema};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidemill_core::record::Reason;

type NoHeaders<'a> = std::iter::Empty<(&'a [u8], Option<&'a [u8]>)>;

fn at<'a>(offset: i64, key: Option<&'a [u8]>) -> Coordinates<'a, NoHeaders<'a>> {
    Coordinates {
        offset: offset.into(),
        timestamp: Some(offset + 1000),
        key,
        headers: std::iter::empty(),
    }
}

fn schema(columns: Value) -> Schema {
    Schema::from_json(json!({ "columns": columns }).to_string().as_bytes()).unwrap()
}

fn batch(schema: &Schema, records: &[&str]) -> RecordBatch {
    let mut rows = Rows::new(schema, 7);
    for (record, offset) in records.iter().zip(0..) {
        rows.push(at(offset, Some(b"k")), Some(record.as_bytes()))
            .unwrap();
    }
    rows.finish(Vec::new()).unwrap()
}

/// One value of an array as JSON, by its type alone; timestamps as their number.
fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .into(),
        DataType::Timestamp(_, _) => array
            .as_primitive::<TimestampMillisecondType>()
            .value(row)
            .into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members = columns.map(|(field, column)| (field.name().clone(), value(column, row)));
            Value::Object(members.collect())
        }
        other => panic!("{other}"),
    }
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Value> {
    let array = batch.column_by_name(name).unwrap();
    (0..batch.num_rows()).map(|row| value(array, row)).collect()
}

#[test]
fn values_of_every_kind_stand_in_their_columns() {
    let schema = schema(json!([
        {"name": "n", "type": "int64"}, {"name": "d", "type": "double"}, {"name": "b", "type": "bool"},
        {"name": "t", "type": "timestamp"}, {"name": "s", "type": "string"}, {"name": "i", "type": "integer"},
        {"name": "j", "type": "json"}, {"name": "l", "type": {"list": "int64"}},
        {"name": "o", "type": {"struct": [{"name": "x", "type": "double"}, {"name": "y", "type": "string"}]}},
    ]));
    let full = r#"{"n":1,"d":2.5,"b":true,"t":"1970-01-01T00:00:01Z","s":"\u00e9","i":18446744073709551616,
        "j":{"any": 1},"l":[1,null,3],"o":{"y":"z","x":null}}"#;
    let batch = batch(&schema, &[full, "{}"]);
    let expected = json!([1, 2.5, true, 1_000_000, "é", "18446744073709551616", "{\"any\": 1}", [1, null, 3],
        {"x": null, "y": "z"}, null, "k", 7, 0, 1000]);
    let row = |row| {
        batch
            .columns()
            .iter()
            .map(|column| value(column, row))
            .collect::<Value>()
    };
    assert_eq!(row(0), expected);
    let nulls = json!([
        null, null, null, null, null, null, null, null, null, null, "k", 7, 1, 1001
    ]);
    assert_eq!(row(1), nulls);
}

#[test]
fn what_fits_no_column_is_kept_to_the_letter() {
    let schema = schema(json!([
        {"name": "n", "type": "int64"},
        {"name": "l", "type": {"list": {"struct": [{"name": "x", "type": "int64"}]}}},
        {"name": "o", "type": {"struct": [{"name": "x", "type": "int64"}, {"name": "p", "type":
            {"struct": [{"name": "q", "type": "bool"}]}}]}},
    ]));
    let records = [
        r#"{"n":1.50,"new":"\u00e9","none":null}"#,
        r#"{"l":[{"x":1},{"x":1,"y":2}],"n":7}"#,
        r#"{"o":{"x":"1","z":[],"p":{"q":1,"r":2}}}"#,
        r#"{"n":1,"n":2,"u":1,"u":2}"#,
        r#"{"n":3,"n":"4"}"#,
        r#"{"_key":5,"\u006e":6}"#,
        r#"{"o":{"z":1,"z":null,"x":1,"x":null}}"#,
        r#"{"o":{"z":null,"z":1,"x":1,"x":2}}"#,
        r#"{"o":{"z":1,"\u007a":2,"x":"1","x":3}}"#,
    ];
    let batch = batch(&schema, &records);
    let expected = [
        json!(r#"{"n":1.50,"new":"\u00e9"}"#),
        json!(r#"{"l":[{"x":1},{"x":1,"y":2}]}"#),
        json!(r#"{"o":{"x":"1","z":[],"p":{"q":1,"r":2}}}"#),
        json!(r#"{"u":2}"#),
        json!(r#"{"n":"4"}"#),
        json!(r#"{"_key":5}"#),
        json!(null),
        json!(r#"{"o":{"z":1}}"#),
        json!(r#"{"o":{"\u007a":2}}"#),
    ];
    assert_eq!(column(&batch, "_extra"), expected);
    assert_eq!(
        column(&batch, "n"),
        [
            json!(null),
            json!(7),
            json!(null),
            json!(2),
            json!(null),
            json!(6),
            json!(null),
            json!(null),
            json!(null)
        ]
    );
    let objects = column(&batch, "o");
    assert_eq!(objects[2], json!({"x": null, "p": {"q": null}}));
    let of_keys = [json!(null), json!(2), json!(3)].map(|x| json!({"x": x, "p": null}));
    assert_eq!(objects[6..], of_keys);
}

#[test]
fn lists_that_take_far_more_than_their_text_stay_text() {
    let fields: Vec<Value> = (0..1_000)
        .map(|n| json!({"name": format!("f{n}"), "type": "int64"}))
        .collect();
    let item = json!({ "list": { "struct": fields } });
    let schema =
        schema(json!([{"name": "l", "type": item}, {"name": "m", "type": {"list": item}}]));
    let many = format!("[{}{{}}]", "{},".repeat(200_000));
    let records = [
        r#"{"l":[{"f7":1},{},{}]}"#.to_owned(),
        format!("{{\"l\":{many}}}"),
        format!("{{\"m\":[{many},{many}],\"l\":[{{}}]}}"),
        format!("{{\"m\":[{}[{{}}]]}}", "[{}],".repeat(200_000)),
    ];
    let mut rows = Rows::new(&schema, 0);
    for (record, offset) in records.iter().zip(0..) {
        rows.push(at(offset, None), Some(record.as_bytes()))
            .unwrap();
        assert!(!rows.is_full(), "{offset}");
    }
    let batch = rows.finish(Vec::new()).unwrap();
    let lists = batch.column_by_name("l").unwrap().as_list::<i32>();
    let lengths: Vec<i32> = (0..4).map(|row| lists.value_length(row)).collect();
    assert_eq!(lengths, [3, 0, 1, 0]);
    let extra = column(&batch, "_extra");
    assert_eq!(extra[0], json!(null));
    assert_eq!(extra[1], json!(records[1]));
    assert_eq!(extra[2], json!(format!("{{\"m\":[{many},{many}]}}")));
    assert_eq!(extra[3], json!(records[3]));
}

#[test]
fn what_is_no_object_is_rejected_and_leaves_no_trace() {
    let schema = schema(json!([{"name": "n", "type": "int64"}]));
    let mut rows = Rows::new(&schema, 0);
    for (value, reason) in [
        (None, Reason::EmptyValue),
        (Some(&b""[..]), Reason::EmptyValue),
        (Some(b"{\"n\":\"\xff\"}"), Reason::NotUtf8),
        (Some(b"{\"n\":1,"), Reason::InvalidJson),
        (Some(b"{\"n\":NaN}"), Reason::InvalidJson),
        (Some(b"[1]"), Reason::NotAnObject),
        (Some(b"\"n\""), Reason::NotAnObject),
    ] {
        let reject = rows.push(at(0, None), value).unwrap_err();
        assert_eq!(reject.reason, reason, "{value:?}");
    }
    rows.push(at(9, Some(b"\xff")), Some(b"{\"n\":1}")).unwrap();
    let batch = rows.finish(Vec::new()).unwrap();
    assert_eq!(column(&batch, "n"), [json!(1)]);
    assert_eq!(column(&batch, "_offset"), [json!(9)]);
    assert_eq!(column(&batch, "_key"), [json!(null)]);
    assert_eq!(
        column(&batch, "_extra"),
        [json!(r#"{"_key":{"base64":"/w=="}}"#)]
    );
}

/// Both are there, each under a name of its own.
#[test]
fn a_key_that_is_no_text_and_a_field_of_its_name_are_told_apart() {
    let schema = schema(json!([{"name": "n", "type": "int64"}]));
    let mut rows = Rows::new(&schema, 0);
    for (record, offset) in [
        r#"{"_key":5}"#,
        r#"{"\u005fkey":5,"__key":6}"#,
        r#"{"_key":5,"_key":null}"#,
    ]
    .iter()
    .zip(0..)
    {
        let coordinates = at(offset, Some(b"\xff"));
        rows.push(coordinates, Some(record.as_bytes())).unwrap();
    }
    let extra = column(&rows.finish(Vec::new()).unwrap(), "_extra");
    let expected = [
        r#"{"_key":5,"__key":{"base64":"/w=="}}"#,
        r#"{"\u005fkey":5,"__key":6,"___key":{"base64":"/w=="}}"#,
        r#"{"__key":{"base64":"/w=="}}"#,
    ];
    assert_eq!(extra, expected.map(|text| json!(text)));
}

#[test]
fn headers_are_kept_where_asked_for() {
    let mut schema = schema(json!([]));
    schema.headers = true;
    let mut rows = Rows::new(&schema, 0);
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"\xff\xfea", Some(b"\xff")), (b"a", None)];
    let coordinates = Coordinates {
        offset: 0.into(),
        timestamp: None,
        key: None,
        headers: headers.into_iter(),
    };
    rows.push(coordinates, Some(b"{}")).unwrap();
    rows.push(at(1, None), Some(b"{}")).unwrap();
    let batch = rows.finish(Vec::new()).unwrap();
    let lists = batch
        .column_by_name("_headers")
        .unwrap()
        .as_list::<i32>()
        .clone();
    let pairs = lists.value(0);
    let pairs = pairs.as_struct();
    let values = pairs.column(1).as_binary::<i32>();
    assert_eq!((pairs.len(), lists.value(1).len()), (2, 0));
    let names: Vec<_> = pairs.column(0).as_string::<i32>().iter().collect();
    assert_eq!(names, [Some("\u{fffd}\u{fffd}a"), Some("a")]);
    assert_eq!(values.value(0), b"\xff");
    assert!(values.is_null(1) && batch.column_by_name("_timestamp").unwrap().is_null(0));
}

/// Texts of these characters.
fn text(letters: &str, most: usize) -> impl Strategy<Value = String> + use<> {
    let letters: Vec<char> = letters.chars().collect();
    prop::collection::vec(prop::sample::select(letters), 0..=most).prop_map(String::from_iter)
}

/// JSON values whose numbers a test can compare exactly.
fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..4_i64).prop_map(Value::from),
        (-(1_i64 << 53)..1 << 53).prop_map(Value::from),
        Just(json!(0.5)),
        Just(json!(u64::MAX)),
        text("az\"\\é", 3).prop_map(Value::from),
        Just(json!("2026-02-15T10:30:00Z")),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            object(inner),
        ]
    })
}

fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec!["a", "b", "c", "d"]);
    prop::collection::btree_map(names.prop_map(String::from), values, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// The value that a column of `kind` holds for a value.
fn restore(kind: &Kind, stored: Value) -> Value {
    match (kind, stored) {
        (_, Value::Null) => Value::Null,
        (Kind::Timestamp, stored) => {
            assert_eq!(stored, json!(1_771_151_400_000_000_i64));
            json!("2026-02-15T10:30:00Z")
        }
        (Kind::Integer | Kind::Json, stored) => {
            serde_json::from_str(stored.as_str().unwrap()).unwrap()
        }
        (Kind::List(item), Value::Array(items)) => {
            items.into_iter().map(|one| restore(item, one)).collect()
        }
        (Kind::Struct(columns), Value::Object(members)) => restore_object(columns, members),
        (_, stored) => stored,
    }
}

fn restore_object(columns: &[Column], mut members: Map<String, Value>) -> Value {
    let restored = columns.iter().map(|column| {
        let stored = members.remove(&column.name).unwrap_or_default();
        (column.name.clone(), restore(&column.kind, stored))
    });
    Value::Object(restored.collect())
}

/// Adds what `_extra` kept to what the columns gave back.
fn merge(into: &mut Value, extra: Value) {
    match (into, extra) {
        (Value::Object(own), Value::Object(more)) => {
            for (key, value) in more {
                merge(own.entry(key).or_insert(Value::Null), value);
            }
        }
        (own, extra) => {
            assert!(own.is_null(), "{own} and {extra} in one place");
            *own = extra;
        }
    }
}

/// Without nulls, which are the same as nothing, and with numbers as doubles where they are equal to their integers.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let given = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                given
                    .map(|(key, value)| (key.clone(), plain(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Number(number)
            if number
                .as_f64()
                .is_some_and(|double| double.abs() <= 9_007_199_254_740_992.0) =>
        {
            json!(number.as_f64().unwrap())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn every_record_can_be_restored(
        sample in prop::collection::vec(object(any_value()), 0..4),
        records in prop::collection::vec(object(any_value()), 1..6),
    ) {
        let mut seen = Sample::default();
        for record in &sample {
            let text = record.to_string();
            prop_assert!(seen.observe(Some(text.as_bytes())).is_ok());
        }
        let schema = seen.schema(false);
        prop_assert_eq!(&Schema::from_json(&schema.to_json().unwrap()).unwrap(), &schema);
        // The sample's own records must fit without rest, all others with one.
        let all: Vec<Value> = sample.iter().chain(&records).cloned().collect();
        let texts: Vec<String> = all.iter().map(Value::to_string).collect();
        let batch = batch(&schema, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        for (row, record) in all.iter().enumerate() {
            let cells = schema.columns.iter().map(|own| {
                (own.name.clone(), value(batch.column_by_name(&own.name).unwrap(), row))
            });
            let mut restored = restore_object(&schema.columns, cells.collect());
            let extra = value(batch.column_by_name("_extra").unwrap(), row);
            if row < sample.len() {
                prop_assert!(extra.is_null(), "{extra} of {record} in {schema:?}");
            }
            if let Value::String(text) = extra {
                merge(&mut restored, serde_json::from_str(&text).unwrap());
            }
            prop_assert_eq!(plain(&restored), plain(record));
        }
    }
}
