//! Whatever Redis holds, reading it ends with a value or with none.

use crate::position::{Position, resume};
use crate::user::User;
use proptest::prelude::*;
use proptest::sample::Index;
use tidemill_core::features::{Definitions, Evaluation};

/// As many cases as `PROPTEST_CASES` says, for a long campaign, or `usual`.
fn cases(usual: u32) -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES");
    let given = given.ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(given.unwrap_or(usual))
}

/// Bytes that are changed in some places, and cut off.
#[derive(Clone, Debug)]
struct Change {
    bytes: Vec<(Index, u8)>,
    cut: Option<Index>,
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\"{}[],:.-0\\\0\xff\x7f".to_vec())
    ];
    let bytes = prop::collection::vec((any::<Index>(), byte), 0..6);
    (bytes, prop::option::weighted(0.3, any::<Index>()))
        .prop_map(|(bytes, cut)| Change { bytes, cut })
}

impl Change {
    fn of(&self, valid: &[u8]) -> Vec<u8> {
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

const POSITION: &str =
    "1234 00000000deadbeef-17 0000002a 00ff00ff 0123456789abcdef 2000 1771151400000 mixed 3000:7";

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn users(change in change(), bytes in prop::collection::vec(any::<u8>(), 0..80), at in any::<i64>()) {
        let definitions = Definitions::standard();
        let mut valid = Vec::new();
        User::new(3, 7).encode(&definitions, &mut valid);
        for bytes in [change.of(&valid), bytes] {
            if let Some(user) = User::decode(&definitions, &bytes) {
                user.window.evaluate(&definitions, at, &mut Evaluation::default());
                let mut again = Vec::new();
                user.encode(&definitions, &mut again);
                // Bits of the marks that mean nothing are not kept.
                prop_assert_eq!(again.len(), bytes.len());
            }
        }
    }

    #[test]
    fn positions(change in change(), text in prop::collection::vec(any::<char>(), 0..60), log in any::<(i64, i64)>()) {
        prop_assert!(POSITION.parse::<Position>().is_ok());
        let changed = String::from_utf8_lossy(&change.of(POSITION.as_bytes())).into_owned();
        for text in [changed, String::from_iter(text)] {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string().parse(), Ok(position.clone()));
                let _any = resume(Some(&position), "00ff00ff", log);
            }
        }
    }
}
