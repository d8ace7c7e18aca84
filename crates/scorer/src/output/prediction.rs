//! Encodes predictions and their receipts, byte by byte as documented.

use std::io::Write;

use tidemill_core::kafka::TopicId;

use crate::features::status::Status;

/// Name of the header that carries the receipt.
pub const RECEIPT_HEADER: &str = "tidemill";

/// Decimals that a published score is rounded to.
const SCALE: f64 = 10_000.0;

/// Writes a prediction: exactly its three fields. `score` is rounded to 4 decimals.
pub fn write_prediction(out: &mut Vec<u8>, transaction_id: &str, score: f64, is_fraud: bool) {
    out.extend_from_slice(b"{\"transaction_id\":");
    write_text(out, transaction_id);
    out.extend_from_slice(b",\"fraud_score\":");
    write_number(out, round(score));
    out.extend_from_slice(if is_fraud {
        b",\"is_fraud\":true}"
    } else {
        b",\"is_fraud\":false}"
    });
}

/// A score as it is published: rounded to 4 decimals, half away from zero.
pub fn round(score: f64) -> f64 {
    let scaled = score * SCALE;
    if scaled.is_infinite() {
        // So large a number has no decimals.
        return score;
    }
    // Adding 0 turns -0 into 0.
    scaled.round() / SCALE + 0.0
}

/// The origin of a record and of its score.
pub struct Receipt<'a> {
    /// The record's offset.
    pub offset: i64,
    /// The inputs in the model's order.
    pub inputs: &'a [f64],
    /// The status of each.
    pub statuses: &'a [Status],
    /// Milliseconds since the record's own timestamp, if it has one.
    pub times: Option<Times>,
}

/// The times at which a batch passed its stages: milliseconds since the record's timestamp, or since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Taken from the topic.
    pub fetched: i64,
    /// Features there (at once for a model that reads none).
    pub features: i64,
    /// Scored.
    pub scored: i64,
}

impl Times {
    /// The same times counted from `origin`.
    pub fn since(self, origin: i64) -> Times {
        Times {
            fetched: self.fetched - origin,
            features: self.features - origin,
            scored: self.scored - origin,
        }
    }
}

/// The start of every receipt of one model and partition. `id` is Kafka's id of the topic, left out where brokers give none.
pub fn receipt_prefix(model: &str, topic: &str, id: Option<TopicId>, partition: i32) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.extend_from_slice(b"{\"v\":1,\"model\":");
    write_text(&mut prefix, model);
    prefix.extend_from_slice(b",\"topic\":");
    write_text(&mut prefix, topic);
    if let Some(id) = id {
        drop(write!(prefix, ",\"topic_id\":\"{id}\""));
    }
    prefix.extend_from_slice(b",\"partition\":");
    write_whole(&mut prefix, partition.into());
    prefix.extend_from_slice(b",\"offset\":");
    prefix
}

/// Writes a receipt that starts with `prefix`. Inputs are written so that they read back equal; a
/// missing one (not a number) is null.
pub fn write_receipt(out: &mut Vec<u8>, prefix: &[u8], receipt: &Receipt<'_>) {
    out.extend_from_slice(prefix);
    write_whole(out, receipt.offset);
    out.extend_from_slice(b",\"inputs\":[");
    for (index, input) in receipt.inputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_number(out, *input);
    }
    out.extend_from_slice(b"],\"status\":[");
    for (index, status) in receipt.statuses.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(status.name().as_bytes());
        out.push(b'"');
    }
    out.push(b']');
    if let Some(times) = receipt.times {
        out.extend_from_slice(b",\"t\":{\"fetched\":");
        write_whole(out, times.fetched);
        out.extend_from_slice(b",\"features\":");
        write_whole(out, times.features);
        out.extend_from_slice(b",\"scored\":");
        write_whole(out, times.scored);
        out.push(b'}');
    }
    out.push(b'}');
}

// Writing into a vector cannot fail, nor can texts and numbers fail to be JSON.

fn write_text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        drop(serde_json::to_writer(out, text));
    }
}

fn write_number(out: &mut Vec<u8>, number: f64) {
    drop(serde_json::to_writer(out, &number));
}

fn write_whole(out: &mut Vec<u8>, number: i64) {
    drop(write!(out, "{number}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prediction(id: &str, score: f64, is_fraud: bool) -> String {
        let mut out = Vec::new();
        write_prediction(&mut out, id, score, is_fraud);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn predictions_have_exactly_the_documented_bytes() {
        let expected = r#"{"transaction_id":"t_1","fraud_score":0.9132,"is_fraud":true}"#;
        assert_eq!(prediction("t_1", 0.913_249_9, true), expected);
        for (score, written) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.1 + 0.2, "0.3"),
            (0.849_96, "0.85"),
            (0.000_04, "0.0"),
            (-0.000_04, "0.0"),
            (-2.5, "-2.5"),
        ] {
            let expected =
                format!(r#"{{"transaction_id":"t","fraud_score":{written},"is_fraud":false}}"#);
            assert_eq!(prediction("t", score, false), expected);
        }
    }

    #[test]
    fn the_largest_scores_are_numbers_too() {
        for score in [f64::MAX, f64::MIN, 1.8e304, -1.7e305] {
            let text = prediction("t", score, false);
            let back: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(back["fraud_score"].as_f64(), Some(score), "{text}");
        }
    }

    #[test]
    fn receipts_have_exactly_the_documented_bytes() {
        let id = "AAAAAAAAAAAAAAAAAAAAAQ".parse().ok();
        let prefix = receipt_prefix("ab12", "transactions", id, 3);
        let mut receipt = Receipt {
            offset: 1207,
            inputs: &[49.99, 10.0, 0.0, f64::NAN],
            statuses: &[Status::Ok, Status::Ok, Status::Stale, Status::Default],
            times: Some(
                Times {
                    fetched: 1_002,
                    features: 1_003,
                    scored: 1_005,
                }
                .since(1_000),
            ),
        };
        let mut out = Vec::new();
        write_receipt(&mut out, &prefix, &receipt);
        let expected = concat!(
            r#"{"v":1,"model":"ab12","topic":"transactions","topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","#,
            r#""partition":3,"offset":1207,"#,
            r#""inputs":[49.99,10.0,0.0,null],"status":["ok","ok","stale","default"],"#,
            r#""t":{"fetched":2,"features":3,"scored":5}}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        receipt.times = None;
        let mut out = Vec::new();
        write_receipt(&mut out, &prefix, &receipt);
        assert!(out.ends_with(br#""default"]}"#));
        let without = receipt_prefix("ab12", "transactions", None, 3);
        let expected = br#"{"v":1,"model":"ab12","topic":"transactions","partition":3,"offset":"#;
        assert_eq!(without, expected, "old brokers");
    }

    proptest! {
        #[test]
        fn any_id_and_inputs_read_back_equal(id in prop::collection::vec(any::<char>(), 1..40), inputs in prop::collection::vec(any::<f64>(), 0..6)) {
            let id = String::from_iter(id);
            let read: serde_json::Value = serde_json::from_str(&prediction(&id, 0.5, true)).unwrap();
            prop_assert_eq!(read["transaction_id"].as_str(), Some(id.as_str()));
            let inputs: Vec<f64> = inputs.into_iter().filter(|x| x.is_finite()).collect();
            let statuses = vec![Status::Ok; inputs.len()];
            let receipt = Receipt { offset: 1, inputs: &inputs, statuses: &statuses, times: None };
            let mut out = Vec::new();
            write_receipt(&mut out, &receipt_prefix("m", &id, None, 0), &receipt);
            let text = String::from_utf8(out).unwrap();
            let listed = text.split("\"inputs\":[").nth(1).unwrap().split(']').next().unwrap();
            let back: Vec<f64> = listed.split(',').filter_map(|x| x.parse().ok()).collect();
            prop_assert_eq!(back, inputs);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }

        #[test]
        fn rounding_is_within_half_a_unit_of_the_last_decimal(score in 0.0f64..=1.0) {
            prop_assert!((round(score) - score).abs() <= 0.000_05 + 1e-12);
            let text = prediction("t", score, false);
            let written = text.split("\"fraud_score\":").nth(1).unwrap().split(',').next().unwrap();
            prop_assert!(written.len() <= 6, "{}", written);
        }
    }
}
