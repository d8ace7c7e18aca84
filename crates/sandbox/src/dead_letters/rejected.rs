//! A rejected record with all letters about it: of several groups, of rebuilds, and of its copies.

use std::collections::BTreeMap;

use super::letter::Letter;

/// A record that one or several groups have rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The oldest letter.
    pub(super) first: Letter,
    /// The other letters, oldest first.
    others: Vec<Letter>,
}

impl Rejected {
    /// All letters about the record, the oldest first.
    pub(super) fn letters(&self) -> impl Iterator<Item = &Letter> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The newest letter of each group.
    pub(super) fn by_group(&self) -> BTreeMap<&str, &Letter> {
        let letters = self.letters();
        letters
            .map(|letter| (letter.group.as_str(), letter))
            .collect()
    }
}

/// Groups letters by record; sorts the records by their first letters.
pub(super) fn by_record(mut letters: Vec<Letter>) -> Vec<Rejected> {
    letters.sort_by(|one, other| {
        let by_age = one.age().cmp(&other.age());
        one.subject().cmp(&other.subject()).then(by_age)
    });
    let mut records: Vec<Rejected> = Vec::new();
    for letter in letters {
        match records.last_mut() {
            Some(record) if record.first.subject() == letter.subject() => {
                record.others.push(letter);
            }
            _ => records.push(Rejected {
                first: letter,
                others: Vec::new(),
            }),
        }
    }
    records.sort_by_key(|record| record.first.age());
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_about_one_record_are_one() {
        let source = |offset: &'static str| {
            [
                ("source.topic", "events"),
                ("source.partition", "1"),
                ("source.offset", offset),
            ]
        };
        let letter = |place, group, reason, offset, value: &str| {
            let more = [("source.group", group), ("reason", reason)];
            let headers = [&source(offset)[..], &more].concat();
            Letter::for_test(place, &headers, value)
        };
        let letters = vec![
            letter(5, "b", "wrong_type", "7", "{}"),
            letter(4, "a", "missing_field", "7", "{}"),
            letter(3, "a", "missing_field", "8", "{}"),
            letter(2, "a", "wrong_type", "7", "{}"),
            // About a record of an earlier topic of the same name.
            letter(1, "a", "wrong_type", "7", "{"),
            Letter::for_test(9, &[], "{}"),
            Letter::for_test(8, &[], "{}"),
        ];
        let records = by_record(letters);
        let marks = |record: &Rejected| record.letters().map(Letter::mark).collect::<Vec<_>>();
        let places: Vec<_> = records.iter().map(marks).collect();
        let expected: [&[&str]; 5] = [
            &["0:1:1"],
            &["0:2:2", "0:4:4", "0:5:5"],
            &["0:3:3"],
            &["0:8:8"],
            &["0:9:9"],
        ];
        assert_eq!(places, expected);
        let by_group = records[1].by_group();
        let newest = by_group
            .iter()
            .map(|(group, letter)| (*group, &*letter.reason));
        let expected = [("a", "missing_field"), ("b", "wrong_type")];
        assert_eq!(newest.collect::<Vec<_>>(), expected);
    }
}
