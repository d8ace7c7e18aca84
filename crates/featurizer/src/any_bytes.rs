//! Redis may hold any bytes: reading them yields a value or none, and never panics.

#[path = "../../core/src/any_bytes/change.rs"]
mod change;

use crate::assignment::{Known, Present, resume};
use crate::store::Position;
use crate::users::{Erasures, Home, User};
use change::{cases, change};
use proptest::prelude::*;
use tidemill_core::features::{Definitions, Evaluation, Limits};
use tidemill_core::kafka::LogRange;

const POSITION: &str = "stored=1234 token=deadbeef-17 epoch=2a log=7 begin=3 features=00ff00ff topic=AAAAAAAAAAAAAAAAAAAAAQ last=123456789abcdef \
     warm_until=2000 complete_from=1771151400000 shown=2900:3000:2f mixed=1 unswept=1";

const HOME: Home = Home {
    partition: 3,
    epoch: 7,
};

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn users(change in change(), bytes in prop::collection::vec(any::<u8>(), 0..80), at in any::<i64>()) {
        let definitions = Definitions::standard();
        let (mut valid, mut user) = (Vec::new(), User::new(HOME, Erasures::default()));
        user.encode(&definitions, &mut valid);
        let entry = vec![1; definitions.entry_bytes()];
        user.insert(&definitions, &Limits::NONE, &entry, 5);
        user.encode_added(&mut valid);
        for bytes in [change.of(&valid), bytes] {
            if let Some(user) = User::decode(&definitions, &Limits::NONE, &bytes, Erasures::default()) {
                user.window().evaluate(&definitions, at, &mut Evaluation::default());
                let mut again = Vec::new();
                user.clone().encode(&definitions, &mut again);
                let read = User::decode(&definitions, &Limits::NONE, &again, Erasures::default());
                prop_assert_eq!(read.map(|read| read.window().clone()), Some(user.window().clone()));
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
                let range = LogRange { oldest: log.0, end: log.1 };
                let known = Known { stored: Some(position), log: Some(range), ..Known::default() };
                let present = Present { definitions: "00ff00ff", topic: None };
                let _any = resume(&[(0, known)].into(), present);
            }
        }
    }
}
