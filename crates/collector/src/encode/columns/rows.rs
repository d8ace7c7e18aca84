//! Rows under construction: each record's fields into the columns of the frozen schema, the rest into `_extra`.

use super::column::Column;
use super::coordinates::{CoordinateColumns, Coordinates, TextColumn};
use super::misfits::Misfits;
use super::object::{braced, push_member};
use super::scalar::unescape;
use crate::encode::json::Member;
use crate::encode::schema::Schema;
use crate::encode::usable;
use anyhow::Context;
use arrow::array::{ArrayRef, RecordBatch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use std::sync::Arc;
use tidemill_core::record::Reject;

/// Among so few members equal keys are found by comparing all.
const FEW: usize = 64;

/// Cells that are gathered before they are written, so that no number of columns and no length of lists takes more
/// memory than this many; a cell is a value or a null. More than ordinary data has in a whole file.
const CHUNK: usize = 2 << 20;

/// Bytes of records that are gathered before they are written: their texts are copies.
const CHUNK_BYTES: usize = 8 << 20;

/// Cells that the lists of a record may have however small it is.
const LIST_CELLS: usize = 10_000;

/// Cells that the lists of a record may have beyond that for each of its bytes: ten times what sparse records need. An
/// element of three bytes, `{},`, has as many cells as there are columns.
const CELLS_A_BYTE: usize = 4;

/// Rows of one partition. All columns have the same length between two records.
pub(crate) struct Rows {
    schema: Arc<arrow::datatypes::Schema>,
    columns: Vec<Column>,
    names: Names,
    /// For each column the row, counted from 1, that it was last given a value for.
    given: Vec<usize>,
    extra: TextColumn,
    coordinates: CoordinateColumns,
    /// Values that fitted no column, counted by member of the record.
    misfits: Misfits,
    /// Cells of a row, without those of lists.
    width: usize,
    gathered: Gathered,
    scratch: Vec<u8>,
}

/// The memory of all rows.
#[derive(Default)]
struct Gathered {
    cells: usize,
    /// Bytes of their records.
    bytes: usize,
}

/// The names of the columns.
struct Names {
    /// In the order of the columns: records mostly have their fields in the same order, so that the next column is mostly
    /// the right one.
    ordered: Vec<String>,
    /// The place of each field's column by its name.
    places: HashMap<String, usize>,
}

/// The place of one member of a record.
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
        Self {
            schema: Arc::new(schema.to_arrow()),
            columns: schema
                .columns
                .iter()
                .map(|column| Column::new(&column.kind))
                .collect(),
            names: Names::of(schema),
            given: vec![0; schema.columns.len()],
            extra: TextColumn::default(),
            coordinates: CoordinateColumns::new(partition, schema.headers),
            misfits: Misfits::default(),
            width: schema.columns.iter().map(|own| own.kind.width()).sum(),
            gathered: Gathered::default(),
            scratch: Vec::new(),
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.coordinates.len()
    }

    /// There are as many as are to be gathered at a time; a function of records and schema alone.
    pub(crate) fn is_full(&self) -> bool {
        self.gathered.cells >= CHUNK || self.gathered.bytes >= CHUNK_BYTES
    }

    /// The fields of all rows that fitted no column.
    pub(crate) fn misfits(&self) -> &Misfits {
        &self.misfits
    }

    /// Adds a record as a row, or says why it cannot become one; then nothing was added. A list that would take far
    /// more memory than its text stays text, in `_extra`.
    pub(crate) fn push<'a>(
        &mut self,
        at: Coordinates<'a, impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>>,
        value: Option<&[u8]>,
    ) -> Result<(), Reject> {
        let mut members = Vec::with_capacity(self.columns.len());
        let text = usable::object(value, &mut members)?;
        self.scratch.clear();
        self.push_members(&members, list_cells(text.len()));
        self.gathered.bytes += text.len();
        self.push_coordinates(at, &members);
        Ok(())
    }

    fn push_members(&mut self, members: &[Member<'_>], list_cells: usize) {
        let row = self.len() + 1;
        // Looking for equal keys one by one would take hours among a million of them.
        let mut repeated = members.len() > FEW;
        let mut next = 0;
        let mut places = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            let place = self.names.place(member, next);
            if let Place::Column(column) = place {
                repeated |= self.given[column] == row;
                self.given[column] = row;
                next = column + 1;
            } else if !repeated {
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
        let mut room = list_cells;
        for (member, place) in members.iter().zip(&places) {
            match place {
                Place::Column(column) => self.push_field(*column, member, &mut room),
                Place::Extra if member.value != "null" => self.push_extra(member),
                Place::Extra | Place::Nowhere => {}
            }
        }
        for column in &mut self.columns {
            if column.len() < row {
                column.append_null();
            }
        }
        self.gathered.cells += self.width + list_cells - room;
    }

    fn push_field(&mut self, column: usize, member: &Member<'_>, room: &mut usize) {
        let mut inner = Vec::new();
        if !self.columns[column].append(member.value, Some(&mut inner), room) {
            self.push_extra(member);
        } else if !inner.is_empty() {
            self.misfits.add(member.key, 1);
            push_member(&mut self.scratch, member.key, &braced(&inner));
        }
    }

    fn push_extra(&mut self, member: &Member<'_>) {
        self.misfits.add(member.key, 1);
        push_member(&mut self.scratch, member.key, member.value.as_bytes());
    }

    fn push_coordinates<'a>(
        &mut self,
        at: Coordinates<'a, impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>>,
        members: &[Member<'_>],
    ) {
        if let Some(key) = at.key
            && std::str::from_utf8(key).is_err()
        {
            let encoded = format!("{{\"base64\":\"{}\"}}", STANDARD.encode(key));
            self.misfits.add("_key", 1);
            push_member(&mut self.scratch, &free_name(members), encoded.as_bytes());
        }
        let extra = (!self.scratch.is_empty()).then(|| braced(&self.scratch));
        self.extra.push(extra.as_deref());
        self.coordinates.push(at);
    }

    /// The rows as a batch with all columns of the schema but the features, which are given.
    pub(crate) fn finish(self, features: Vec<ArrayRef>) -> anyhow::Result<RecordBatch> {
        let columns = self.columns.into_iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| column.finish(field.data_type()));
        let mut arrays: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        arrays.extend(features);
        arrays.push(Arc::new(self.extra.finish()?));
        arrays.extend(self.coordinates.finish()?);
        RecordBatch::try_new(self.schema, arrays).context("columns that do not make up the schema")
    }
}

impl Names {
    fn of(schema: &Schema) -> Self {
        let names = schema.columns.iter().map(|column| column.name.clone());
        let ordered: Vec<String> = names.collect();
        Self {
            places: ordered.iter().cloned().zip(0..).collect(),
            ordered,
        }
    }

    /// The place of a member, whose column most likely is `next`.
    fn place(&self, member: &Member<'_>, next: usize) -> Place {
        let likely = self.ordered.get(next);
        if !member.escaped && likely.is_some_and(|name| name == member.key) {
            return Place::Column(next);
        }
        let column =
            unescape(member.key, member.escaped).and_then(|name| self.places.get(name.as_ref()));
        column.map_or(Place::Extra, |column| Place::Column(*column))
    }
}

/// The name in `_extra` of a record's key that is not UTF-8: `_key`, with more underscores in front where the record has a
/// field of that name.
fn free_name(members: &[Member<'_>]) -> String {
    let mut free = "_key".to_owned();
    let has = |name: &str| {
        let mut names = members
            .iter()
            .filter_map(|own| unescape(own.key, own.escaped));
        names.any(|own| own == name)
    };
    while has(&free) {
        free.insert(0, '_');
    }
    free
}

/// Cells that the lists of a record of `bytes` may have.
fn list_cells(bytes: usize) -> usize {
    (LIST_CELLS + CELLS_A_BYTE * bytes).min(CHUNK)
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
