//! Inferring a schema from a sample of records: the narrowest kind that takes all of a field's values.

use super::{Column, Kind, MAX_DEPTH, Schema, folded, is_reserved};
use crate::encode::columns::{parse_timestamp, unescape};
use crate::encode::json::{self, Member};
use crate::encode::usable;
use hashbrown::{HashMap, HashSet};
use tidemill_core::record::Reject;

/// More fields in one object than this are data, not names: such an object becomes JSON text, and at the top
/// level the later ones are left to `_extra`.
const MAX_FIELDS: usize = 1_000;

/// More fields than this in all objects together become no columns either: each takes 16 kB while a file is written.
const MAX_COLUMNS: usize = 2_000;

/// From so many records on a field that only had whole numbers is taken to have no others.
const MANY: usize = 1_000;

/// The fields seen so far in the records of a sample.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    fields: Object,
    /// The number of fields in all objects.
    columns: usize,
    records: usize,
}

/// The kind of a field's values so far.
#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    Bool,
    Int64,
    Integer,
    Double,
    Timestamp,
    String,
    List(Box<Seen>),
    Struct(Object),
    /// Values of kinds that have nothing in common.
    Mixed,
}

/// The place of an object. Values that fit no column of it are left to `_extra`, but an array is kept wholly or not at all.
#[derive(Clone, Copy)]
enum Within {
    Record,
    List,
}

/// The fields of an object, in the order of their first appearance.
#[derive(Debug, Default, PartialEq)]
struct Object {
    fields: Vec<(String, Seen)>,
    index: HashMap<String, usize>,
}

impl Sample {
    /// Takes one record's value into account, or says why it cannot become a row.
    pub(crate) fn observe(&mut self, value: Option<&[u8]>) -> Result<(), Reject> {
        let mut members = Vec::new();
        usable::object(value, &mut members)?;
        self.fields.observe(&members, 0, &mut self.columns);
        self.records += 1;
        Ok(())
    }

    /// The number of JSON objects seen.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The schema for records that go on: from fewer than [`MANY`] nobody knows that whole numbers stay whole, so that they
    /// are taken as doubles.
    pub(crate) fn lasting_schema(&self, headers: bool) -> Schema {
        let mut schema = self.schema(headers);
        if self.records < MANY {
            schema
                .columns
                .iter_mut()
                .for_each(|column| column.kind.widen());
        }
        schema
    }

    /// The schema that takes every value seen. Fields that were always null get no column.
    pub(crate) fn schema(&self, headers: bool) -> Schema {
        let (mut columns, _) = self.fields.columns(Within::Record);
        columns.retain(|Column { name, .. }| !is_reserved(name));
        Schema {
            columns,
            headers,
            features: None,
        }
    }
}

impl Object {
    /// Takes an object into account, counting new fields; `false` when it has more than columns can be made of.
    fn observe(&mut self, members: &[Member<'_>], depth: usize, columns: &mut usize) -> bool {
        let mut all = true;
        for member in members {
            let Some(name) = unescape(member.key, member.escaped) else {
                continue;
            };
            let place = match self.index.get(name.as_ref()) {
                Some(place) => *place,
                None if self.fields.len() == MAX_FIELDS || *columns >= MAX_COLUMNS => {
                    all = false;
                    continue;
                }
                None => {
                    self.index
                        .insert(name.clone().into_owned(), self.fields.len());
                    self.fields.push((name.into_owned(), Seen::Nothing));
                    *columns += 1;
                    self.fields.len() - 1
                }
            };
            self.fields[place].1.observe(member.value, depth, columns);
        }
        all
    }

    /// The columns of its fields, and the number of fields that get none, as their names differ from a column's in case
    /// alone: DuckDB and Spark would read the column in their place.
    fn columns(&self, within: Within) -> (Vec<Column>, usize) {
        let columns = self.fields.iter().filter_map(|(name, seen)| {
            let name = name.clone();
            Some(Column {
                name,
                kind: seen.kind(within)?,
            })
        });
        let mut columns: Vec<Column> = columns.collect();
        let (all, mut taken) = (columns.len(), HashSet::new());
        columns.retain(|column| taken.insert(folded(&column.name)));
        let twins = all - columns.len();
        (columns, twins)
    }
}

impl Seen {
    fn observe(&mut self, value: &str, depth: usize, columns: &mut usize) {
        let found = match value.as_bytes().first() {
            Some(b'n') | None => return,
            Some(b't' | b'f') => Seen::Bool,
            Some(b'"') if parse_timestamp(value).is_some() => Seen::Timestamp,
            Some(b'"') => Seen::String,
            Some(b'[') => return self.observe_list(value, depth, columns),
            Some(b'{') => return self.observe_object(value, depth, columns),
            Some(_) if value.contains(['.', 'e', 'E']) => Seen::Double,
            Some(_) if value.parse::<i64>().is_ok() => Seen::Int64,
            Some(_) => Seen::Integer,
        };
        self.widen(found, columns);
    }

    /// The narrowest of these that takes the values of both.
    fn widen(&mut self, found: Seen, columns: &mut usize) {
        let both = match (&*self, &found) {
            (own, found) if own == found => return,
            (Seen::Nothing, _) => found,
            (Seen::Int64, Seen::Double) => Seen::Double,
            (Seen::Int64, Seen::Integer) => Seen::Integer,
            (Seen::Double, Seen::Int64) | (Seen::Integer, Seen::Int64) => return,
            (Seen::Timestamp, Seen::String) => Seen::String,
            (Seen::String, Seen::Timestamp) => return,
            _ => return self.mix(columns),
        };
        *self = both;
    }

    /// Its values have nothing in common: it is text, and its fields are no columns any more.
    fn mix(&mut self, columns: &mut usize) {
        *columns -= self.fields();
        *self = Seen::Mixed;
    }

    /// The number of fields in its objects.
    fn fields(&self) -> usize {
        match self {
            Seen::List(item) => item.fields(),
            Seen::Struct(object) => {
                let fields = object.fields.iter();
                fields.map(|(_, seen)| 1 + seen.fields()).sum()
            }
            _ => 0,
        }
    }

    fn observe_list(&mut self, value: &str, depth: usize, columns: &mut usize) {
        if *self == Seen::Nothing {
            *self = Seen::List(Box::new(Seen::Nothing));
        }
        match self {
            Seen::List(item) if depth < MAX_DEPTH => {
                json::elements(value, |element| {
                    item.observe(element, depth + 1, columns);
                    true
                });
            }
            _ => self.mix(columns),
        }
    }

    fn observe_object(&mut self, value: &str, depth: usize, columns: &mut usize) {
        if *self == Seen::Nothing {
            *self = Seen::Struct(Object::default());
        }
        let mut members = Vec::new();
        let whole = match self {
            Seen::Struct(object) if depth < MAX_DEPTH => {
                json::members(value, &mut members).is_ok()
                    && object.observe(&members, depth + 1, columns)
            }
            _ => false,
        };
        if !whole {
            self.mix(columns);
        }
    }

    fn kind(&self, within: Within) -> Option<Kind> {
        Some(match self {
            Seen::Nothing => return None,
            Seen::Bool => Kind::Bool,
            Seen::Int64 => Kind::Int64,
            Seen::Integer => Kind::Integer,
            Seen::Double => Kind::Double,
            Seen::Timestamp => Kind::Timestamp,
            Seen::String => Kind::String,
            // A list that was always empty, an object without fields: their text says more than no column.
            Seen::List(item) => item
                .kind(Within::List)
                .map_or(Kind::Json, |item| Kind::List(Box::new(item))),
            Seen::Struct(object) => match (object.columns(within), within) {
                ((columns, _), _) if columns.is_empty() => Kind::Json,
                ((_, 1..), Within::List) => Kind::Json,
                ((columns, _), _) => Kind::Struct(columns),
            },
            Seen::Mixed => Kind::Json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(values: &[&str]) -> Option<Kind> {
        let mut sample = Sample::default();
        for value in values {
            let record = format!("{{\"f\":{value}}}");
            sample.observe(Some(record.as_bytes())).unwrap();
        }
        sample.schema(false).columns.pop().map(|column| column.kind)
    }

    #[test]
    fn the_narrowest_kind_that_takes_all_values() {
        let list = |kind| Some(Kind::List(Box::new(kind)));
        let lat = |kind| Column {
            name: "lat".into(),
            kind,
        };
        for (values, expected) in [
            (&["null"][..], None),
            (&["1", "null", "-7"], Some(Kind::Int64)),
            (&["1", "2.0"], Some(Kind::Double)),
            (&["1.5", "2"], Some(Kind::Double)),
            (&["1", "9223372036854775808"], Some(Kind::Integer)),
            (&["true", "false"], Some(Kind::Bool)),
            (
                &[
                    "\"2026-02-15T10:30:00Z\"",
                    "\"2026-02-15T12:30:00.5+02:00\"",
                ],
                Some(Kind::Timestamp),
            ),
            (
                &["\"2026-02-15T10:30:00Z\"", "\"soon\""],
                Some(Kind::String),
            ),
            (&["\"12\"", "12"], Some(Kind::Json)),
            (&["[1]", "[]", "[2.5,null]"], list(Kind::Double)),
            (&["[[\"a\"]]"], list(Kind::List(Box::new(Kind::String)))),
            (&["[]"], Some(Kind::Json)),
            (&["{}"], Some(Kind::Json)),
            (
                &["{\"lat\":1}", "{\"lat\":1.5,\"x\":null}"],
                Some(Kind::Struct(vec![lat(Kind::Double)])),
            ),
            (
                &["[{\"lat\":true}]"],
                list(Kind::Struct(vec![lat(Kind::Bool)])),
            ),
            (&["{\"lat\":1}", "[1]"], Some(Kind::Json)),
        ] {
            assert_eq!(kind(values), expected, "{values:?}");
        }
    }

    #[test]
    fn whole_numbers_of_few_records_may_yet_be_others() {
        let mut sample = Sample::default();
        for n in 1..=MANY {
            let record = br#"{"n":1,"in":{"n":[2]},"big":9223372036854775808}"#;
            sample.observe(Some(record)).unwrap();
            let kinds = |schema: Schema| format!("{:?}", schema.columns);
            let few = sample.lasting_schema(false);
            let (doubles, whole) = (kinds(few.clone()).matches("Double").count(), n == MANY);
            assert_eq!(doubles, if whole { 0 } else { 2 }, "{n}");
            assert_eq!(kinds(few) == kinds(sample.schema(false)), whole, "{n}");
        }
    }

    #[test]
    fn fields_keep_their_order_and_ours_are_left_out() {
        let mut sample = Sample::default();
        let mut observe = |value: &[u8]| sample.observe(Some(value)).is_ok();
        assert!(observe(br#"{"b":1,"_key":"x","_Offset":7,"B":2}"#));
        assert!(observe(br#"{"a":1,"b":2}"#));
        assert!(!observe(b"[]") && !observe(b"{\"a\":\"\xff\"}"));
        let schema = sample.schema(true);
        let names: Vec<&str> = schema
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(
            (names, schema.headers, sample.records()),
            (vec!["b", "a"], true, 2)
        );
    }

    /// DuckDB would read the first field's column in the place of the second's.
    #[test]
    fn of_names_that_differ_in_case_alone_the_first_gets_a_column() {
        let mut sample = Sample::default();
        let record = br#"{"o":{"a":1,"A":"x","p":{"\u00e9":1,"\u00c9":2}},"l":[{"b":1,"B":2}],"m":[{"o":{"c":1,"C":2}}]}"#;
        sample.observe(Some(record)).unwrap();
        let text = String::from_utf8(sample.schema(false).to_json().unwrap()).unwrap();
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let own =
            |name: &str, kind: serde_json::Value| serde_json::json!({"name": name, "type": kind});
        let structs = |fields: &[serde_json::Value]| serde_json::json!({ "struct": fields });
        let expected = serde_json::json!([
            own(
                "o",
                structs(&[
                    own("a", "int64".into()),
                    own("p", structs(&[own("é", "int64".into())]))
                ])
            ),
            own("l", serde_json::json!({"list": "json"})),
            own(
                "m",
                serde_json::json!({"list": structs(&[own("o", "json".into())])})
            ),
        ]);
        assert_eq!(found["columns"], expected);
    }

    #[test]
    fn depth_and_breadth_are_bounded() {
        let deep = format!("{}1{}", "{\"a\":".repeat(50), "}".repeat(50));
        assert!(
            Schema::from_json(&{
                let mut sample = Sample::default();
                let record = format!("{{\"f\":{deep}}}");
                sample.observe(Some(record.as_bytes())).unwrap();
                sample.schema(false).to_json().unwrap()
            })
            .is_ok()
        );
        let members: Vec<String> = (0..MAX_FIELDS + 1).map(|n| format!("\"k{n}\":1")).collect();
        let wide = format!("{{{}}}", members.join(","));
        assert_eq!(kind(&[&wide]), Some(Kind::Json));
    }

    #[test]
    fn all_fields_together_are_bounded_and_those_of_texts_do_not_count() {
        let object = |count: usize, value: &str| {
            let members: Vec<String> = (0..count).map(|n| format!("\"k{n}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let mut sample = Sample::default();
        // A map of a thousand and one users is no struct: what was counted of it is free again.
        let map = object(1, &object(MAX_FIELDS + 1, &object(5, "1")));
        sample.observe(Some(map.as_bytes())).unwrap();
        assert_eq!(sample.columns, 1);
        let wide = object(40, &object(MAX_FIELDS, "1"));
        sample.observe(Some(wide.as_bytes())).unwrap();
        assert!((1_000..=MAX_COLUMNS).contains(&sample.columns));
        let width = |sample: &Sample| -> usize {
            let columns = sample.schema(false).columns;
            columns.iter().map(|column| column.kind.width()).sum()
        };
        assert!(width(&sample) <= MAX_COLUMNS);
    }
}
