//! A column of arrays under construction, bounded in what their elements take.

use super::column::Column;
use super::texts::offsets;
use crate::encode::json;
use crate::encode::schema::Kind;
use arrow::array::ListArray;
use arrow::buffer::NullBuffer;
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

/// Arrays end to end.
#[derive(Debug)]
pub(super) struct List {
    ends: Vec<i32>,
    item: Box<Column>,
    /// Cells that an element takes: a value or a null in each column of an object, whatever stands in its text.
    width: usize,
}

impl List {
    pub(super) fn new(item: &Kind) -> Self {
        Self {
            ends: Vec::new(),
            item: Box::new(Column::new(item)),
            width: item.width(),
        }
    }

    /// Adds an array, or nothing where an element does not fit or the cells of all are more than `room`, which they
    /// are taken from.
    pub(super) fn append(&mut self, value: &str, room: &mut usize) -> bool {
        let (before, room_before) = (self.item.len(), *room);
        let fits = json::elements(value, |element| match room.checked_sub(self.width) {
            Some(rest) => {
                *room = rest;
                self.item.append(element, None, room)
            }
            None => false,
        });
        if fits {
            self.append_null();
        } else {
            self.item.truncate(before);
            *room = room_before;
        }
        fits
    }

    /// Ends an array with the elements so far: without new ones it is empty, as a null is.
    pub(super) fn append_null(&mut self) {
        self.ends.push(self.item.len() as i32);
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        let items = self.ends.last().map_or(0, |end| *end as usize);
        self.item.truncate(items);
    }

    pub(super) fn finish(
        self,
        field: &FieldRef,
        nulls: Option<NullBuffer>,
    ) -> Result<ListArray, ArrowError> {
        let item = self.item.finish(field.data_type())?;
        ListArray::try_new(field.clone(), offsets(self.ends), item, nulls)
    }
}
