//! Valid bytes with some of them changed, for the tests of all four crates that read bytes from outside.

use proptest::prelude::*;
use proptest::sample::Index;

/// As many cases as `PROPTEST_CASES` says, for a long campaign, else `usual`.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES");
    let given = given.ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(given.unwrap_or(usual))
}

/// Changes of some bytes, and a cut.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    bytes: Vec<(Index, u8)>,
    cut: Option<Index>,
}

/// Changes up to five bytes, preferably to those with a meaning for a reader.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\"{}[],:.-0\\\0\xff\x7f".to_vec())
    ];
    let bytes = prop::collection::vec((any::<Index>(), byte), 0..6);
    (bytes, prop::option::weighted(0.3, any::<Index>()))
        .prop_map(|(bytes, cut)| Change { bytes, cut })
}

impl Change {
    /// Applies the change to `valid`.
    pub(crate) fn of(&self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        for (place, byte) in self.bytes.iter().filter(|_| !valid.is_empty()) {
            bytes[place.index(valid.len())] = *byte;
        }
        bytes.truncate(
            self.cut
                .map_or(valid.len(), |cut| cut.index(valid.len() + 1)),
        );
        bytes
    }
}
