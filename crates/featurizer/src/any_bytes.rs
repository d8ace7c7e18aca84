//! Whatever Redis holds, reading it ends with a value or with none.

#[path = "../../core/src/any_bytes/change.rs"]
mod change;

use crate::position::{Position, resume};
use crate::user::User;
use change::{cases, change};
use proptest::prelude::*;
use tidemill_core::features::{Definitions, Evaluation, Limits};

const POSITION: &str =
    "1234 00000000deadbeef-17 0000002a 00ff00ff 0123456789abcdef 2000 1771151400000 mixed 3000:7";

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn users(change in change(), bytes in prop::collection::vec(any::<u8>(), 0..80), at in any::<i64>()) {
        let definitions = Definitions::standard();
        let (mut valid, mut user) = (Vec::new(), User::new(3, 7));
        user.encode(&definitions, &mut valid);
        user.encode_added(&[1; 48], &mut valid);
        for bytes in [change.of(&valid), bytes] {
            if let Some(user) = User::decode(&definitions, &Limits::NONE, &bytes) {
                user.window.evaluate(&definitions, at, &mut Evaluation::default());
                let mut again = Vec::new();
                user.clone().encode(&definitions, &mut again);
                let read = User::decode(&definitions, &Limits::NONE, &again);
                prop_assert_eq!(read.map(|read| read.window), Some(user.window));
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
