//! Reading any bytes from outside ends with a value or a reason.

#[path = "../../core/src/any_bytes/change.rs"]
mod change;

use crate::commands::replay::Comparing;
use crate::features::join::Join;
use crate::features::status::Status;
use crate::input::decode::{Decoder, Rows};
use crate::model::{Manifest, fixture, read_manifest};
use change::{cases, change};
use proptest::prelude::*;

/// The manifest beside a fixture, which has an input of each kind.
fn manifest() -> (Manifest, Vec<u8>) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/history.toml");
    (read_manifest(&file).unwrap(), std::fs::read(&file).unwrap())
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn transactions(change in change(), bytes in prop::collection::vec(any::<u8>(), 0..60), time in prop::option::of(any::<i64>())) {
        let decoder = Decoder::new(&manifest().0);
        let valid = br#"{"transaction_id":"t_1","user_id":7,"amount":1.5,"hour_of_day":3,"is_international":true,"merchant_risk_score":-2e-3,"timestamp":"2026-02-15T10:30:00Z"}"#;
        for value in [change.of(valid), bytes] {
            let mut rows = Rows::default();
            let decoded = decoder.decode(Some(&value), time, &mut rows).is_ok();
            prop_assert_eq!(rows.inputs.is_empty(), !decoded);
            prop_assert_eq!(rows.inputs.len(), rows.statuses.len());
        }
    }

    #[test]
    fn manifests(change in change()) {
        let (_, text) = manifest();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(&file, change.of(&text)).unwrap();
        let _any = read_manifest(&file);
    }

    #[test]
    fn stored_features(
        values in prop::collection::vec(prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            prop::sample::select(vec!["NaN", "inf", "-1e999", "1e308", "9e18", "-9223372036854775808", ""]).prop_map(|text| text.as_bytes().to_vec()),
        ]), 0..12),
        time in any::<i64>(),
    ) {
        let (manifest, _) = manifest();
        let join = Join::new(&manifest).unwrap();
        let width = manifest.inputs.len();
        let (mut inputs, mut statuses) = (vec![0.0; width], vec![Status::Ok; width]);
        join.fill(Some(&values), time, &mut inputs, &mut statuses);
        prop_assert!(inputs.iter().all(|input| input.is_finite()));
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn predictions_and_receipts(changes in prop::collection::vec((change(), change()), 1..20)) {
        let model = fixture("logistic").unwrap();
        let mut comparing = Comparing::new(&model).unwrap();
        let value = br#"{"transaction_id":"t_1","fraud_score":0.9132,"is_fraud":true}"#;
        let receipt = br#"{"v":1,"model":"00","topic":"t","partition":0,"offset":7,"inputs":[1.5,null,0.0,-2e300],"status":["ok"]}"#;
        for (one, other) in &changes {
            comparing.add(&one.of(value), &other.of(receipt));
        }
        comparing.score();
    }
}
