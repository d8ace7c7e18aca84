//! Objects into the columns of a struct, and the text of what did not fit.

use super::column::Column;
use super::scalar::unescape;
use crate::encode::json::{self, Member};
use crate::encode::schema;
use hashbrown::{HashMap, HashSet};
use std::borrow::Cow;

/// The columns of a struct, by the names of its fields.
#[derive(Debug)]
pub(super) struct Fields {
    names: Vec<String>,
    columns: Vec<Column>,
    places: HashMap<String, usize>,
}

impl Fields {
    pub(super) fn new(schema: &[schema::Column]) -> Self {
        let names: Vec<String> = schema.iter().map(|column| column.name.clone()).collect();
        Self {
            columns: schema
                .iter()
                .map(|column| Column::new(&column.kind))
                .collect(),
            places: names.iter().cloned().zip(0..).collect(),
            names,
        }
    }

    pub(super) fn columns(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    pub(super) fn into_columns(self) -> Vec<Column> {
        self.columns
    }

    /// The place of a member's column, which most likely is `next`.
    fn place(&self, member: &Member<'_>, next: usize) -> Option<usize> {
        if !member.escaped && self.names.get(next).is_some_and(|name| name == member.key) {
            return Some(next);
        }
        let name = unescape(member.key, member.escaped)?;
        self.places.get(name.as_ref()).copied()
    }
}

/// Appends an object's members to the columns of its struct, which have `rows` rows. Of a key that stands there
/// twice the last counts.
pub(super) fn append_object(
    fields: &mut Fields,
    rows: usize,
    value: &str,
    extra: Option<&mut Vec<u8>>,
    room: &mut usize,
) -> bool {
    let mut members = Vec::new();
    if json::members(value, &mut members).is_err() {
        return false;
    }
    let mut left: Vec<(&str, Cow<'_, [u8]>)> = Vec::new();
    let mut later = HashSet::new();
    let mut next = members.len();
    for member in members.iter().rev() {
        next = next.wrapping_sub(1);
        let Member {
            key,
            escaped,
            value,
        } = member;
        let place = fields.place(member, next);
        next = place.unwrap_or(next);
        let mut inner = Vec::new();
        match place.map(|place| &mut fields.columns[place]) {
            Some(column) if column.len() > rows => {}
            Some(column) => {
                if !column.append(value, extra.is_some().then_some(&mut inner), room) {
                    column.append_null();
                    left.push((key, value.as_bytes().into()));
                } else if !inner.is_empty() {
                    left.push((key, braced(&inner).into()));
                }
            }
            None => {
                let name = unescape(key, *escaped).unwrap_or(Cow::Borrowed(*key));
                if later.insert(name) && *value != "null" {
                    left.push((key, value.as_bytes().into()));
                }
            }
        }
    }
    match extra {
        None if !left.is_empty() => {
            let columns = fields.columns.iter_mut();
            columns.for_each(|column| column.truncate(rows));
            return false;
        }
        Some(extra) => {
            for (key, value) in left.iter().rev() {
                push_member(extra, key, value);
            }
        }
        None => {}
    }
    for column in &mut fields.columns {
        if column.len() == rows {
            column.append_null();
        }
    }
    true
}

/// Adds a member to the text of an object without its braces; `key` is written as it was read.
pub(super) fn push_member(object: &mut Vec<u8>, key: &str, value: &[u8]) {
    if !object.is_empty() {
        object.push(b',');
    }
    object.push(b'"');
    object.extend_from_slice(key.as_bytes());
    object.extend_from_slice(b"\":");
    object.extend_from_slice(value);
}

/// The text of an object from that of its members.
pub(super) fn braced(members: &[u8]) -> Vec<u8> {
    [b"{", members, b"}"].concat()
}
