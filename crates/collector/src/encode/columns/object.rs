//! Objects into the columns of a struct, and the text of what did not fit.

use super::column::Column;
use super::scalar::unescape;
use crate::encode::json::{self, Member};
use hashbrown::HashSet;
use std::borrow::Cow;

/// Appends an object's members to the columns of its struct, which have `rows` rows. Of a key that stands there
/// twice the last counts.
pub(super) fn append_object(
    fields: &mut [(String, Column)],
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
    let mut left_keys = HashSet::new();
    for Member {
        key,
        escaped,
        value,
    } in members.iter().rev()
    {
        let name = unescape(key, *escaped);
        let field = fields
            .iter_mut()
            .find(|(own, _)| Some(own.as_str()) == name.as_deref());
        let mut inner = Vec::new();
        match field {
            Some((_, column)) if column.len() > rows => {}
            Some((_, column)) => {
                if !column.append(value, extra.is_some().then_some(&mut inner), room) {
                    column.append_null();
                    left_keys.insert(*key);
                    left.push((key, value.as_bytes().into()));
                } else if !inner.is_empty() {
                    left_keys.insert(*key);
                    left.push((key, braced(&inner).into()));
                }
            }
            None if *value == "null" || !left_keys.insert(*key) => {}
            None => left.push((key, value.as_bytes().into())),
        }
    }
    match extra {
        None if !left.is_empty() => {
            fields
                .iter_mut()
                .for_each(|(_, column)| column.truncate(rows));
            return false;
        }
        Some(extra) => {
            for (key, value) in left.iter().rev() {
                push_member(extra, key, value);
            }
        }
        None => {}
    }
    for (_, column) in fields {
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
