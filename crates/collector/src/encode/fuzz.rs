//! Reading any bytes from outside ends with rows, a value or a reason.

#[path = "../../../core/src/any_bytes/change.rs"]
mod change;

use crate::dataset::{names, reader, rejects};
use crate::encode::frozen::Frozen;
use crate::encode::schema::{Sample, Schema};
use crate::encode::{Codec, encode};
use crate::pipeline::batch::Batch;
use bytes::Bytes;
use change::{Change, cases, change};
use proptest::prelude::*;

const RECORDS: [&str; 3] = [
    r#"{"id":"t_1","n":7,"x":1.5,"ok":true,"at":"2026-02-15T10:30:00Z","tags":["a","b"],"geo":{"lat":1.5,"in":{"z":1}},"big":99999999999999999999}"#,
    r#"{"id":"\u00e9\n","n":null,"x":-2e-3,"tags":[],"geo":{"lat":2,"new":[1]},"more":{"k":"v"},"id":"twice"}"#,
    r#"{"$claim":{"path":"a","length":1000000,"sha256":"00"}}"#,
];

fn frozen() -> Frozen {
    let mut sample = Sample::default();
    sample.observe(Some(RECORDS[0].as_bytes())).unwrap();
    let schema = sample.schema(true);
    let fingerprint = schema.fingerprint().unwrap();
    Frozen {
        schema,
        fingerprint,
    }
}

fn batch(values: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::at(0.into());
    for (value, offset) in values.iter().zip(0..) {
        let headers = [(value.as_slice(), Some(value.as_slice())), (b"none", None)];
        batch.push(
            offset.into(),
            Some(offset),
            Some(value),
            Some(value),
            headers.into_iter(),
        );
    }
    batch
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn records(
        changes in prop::collection::vec((0..RECORDS.len(), change()), 1..6),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut values: Vec<Vec<u8>> =
            changes.iter().map(|(which, change)| change.of(RECORDS[*which].as_bytes())).collect();
        values.push(bytes);
        let count = values.len() as u64;
        let files = encode(&"t".into(), 0, batch(&values), &frozen(), Codec::None, None).unwrap();
        prop_assert_eq!(files.footer.rows + files.footer.rejected, count);
        let (footer, _) = reader::rows(files.data.bytes).unwrap();
        prop_assert_eq!(&footer, &files.footer);
        let lines = rejects::read(&files.rejects.map_or(Bytes::new(), |file| file.bytes)).unwrap();
        prop_assert_eq!(lines.len() as u64, footer.rejected);
        // Any of them may be the first ever seen.
        let mut sample = Sample::default();
        for value in &values {
            sample.observe(Some(value)).ok();
        }
        let text = sample.schema(false).to_json().unwrap();
        if let Ok(schema) = Schema::from_json(&text) {
            let fingerprint = schema.fingerprint().unwrap();
            let frozen = Frozen { schema, fingerprint };
            encode(&"t".into(), 0, batch(&values), &frozen, Codec::None, None).unwrap();
        }
    }

    #[test]
    fn footers(change in change(), tail in prop::collection::vec(any::<u8>(), 0..40)) {
        let values = [RECORDS[0].as_bytes().to_vec(), b"oops".to_vec()];
        let whole = encode(&"t".into(), 0, batch(&values), &frozen(), Codec::None, None).unwrap().data.bytes;
        // Changes of the whole file, of its footer alone, and no file at all.
        let footer = whole.len() - whole.len().min(700);
        let near = [&whole[..footer], &change.of(&whole[footer..])].concat();
        for bytes in [change.of(&whole), near, tail] {
            let _any = reader::rows(bytes.into());
        }
    }

    #[test]
    fn files_beside_the_rows(change in change(), name in prop::collection::vec(any::<char>(), 0..60)) {
        let schema = frozen().schema.to_json().unwrap();
        let _any = Schema::from_json(&change.of(&schema));
        let line = b"{\"offset\":7,\"timestamp\":null,\"key\":\"aw==\",\"value\":null,\"reason\":\"r\",\"error\":\"e\"}\n";
        let _any = rejects::read(&change.of(line));
        for name in [String::from_iter(name), changed(&change, &names::data("t", 3, 9.into())), changed(&change, "t+00003+00000000000000000009+00000000000000000010.ndjson")] {
            let _any = (names::parse_data(&name), names::parse_rejected(&name));
        }
    }
}

fn changed(change: &Change, text: &str) -> String {
    String::from_utf8_lossy(&change.of(text.as_bytes())).into_owned()
}
