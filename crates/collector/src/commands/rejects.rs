//! `collector rejects`: the records that could not become rows, one a line, so that they can be mended and sent again.

use crate::dataset::catalog::Catalog;
use crate::dataset::rejects;
use crate::dataset::store::{Location, Store};
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidemill_core::json_record::json_record;
use tidemill_core::printing::tell;

/// Prints the rejected records of a data set as lines of JSON, by topic, partition and offset.
///
/// Errors: it cannot be listed, or a file of rejects cannot be read.
pub async fn rejects(location: &Location) -> anyhow::Result<()> {
    let store = Store::open(location, false)?;
    let catalog = Catalog::list(&store).await?;
    for ((topic, partition), files) in &catalog.rejects {
        let mut files: Vec<_> = files.iter().collect();
        files.sort_by_key(|(_, first)| **first);
        for (path, _) in files {
            let lines = rejects::read(&store.read(path).await?);
            for line in lines.with_context(|| path.clone())? {
                let line = to_json(topic, *partition, &line).with_context(|| path.clone())?;
                tell(&format!("{line}\n"))?;
            }
        }
    }
    Ok(())
}

fn to_json(topic: &str, partition: i32, line: &rejects::Line) -> anyhow::Result<Value> {
    let bytes = |text: &Option<String>| text.as_ref().map(|text| STANDARD.decode(text)).transpose();
    let (key, value) = (bytes(&line.key)?, bytes(&line.value)?);
    let mut object = json_record(
        (topic, partition, line.offset.into()),
        line.timestamp,
        (key.as_deref(), value.as_deref()),
    );
    object.insert("reason".to_owned(), json!(line.reason));
    object.insert("error".to_owned(), json!(line.error));
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_it_was() {
        let line = rejects::Line {
            offset: 7.into(),
            timestamp: Some(5),
            key: None,
            value: Some(STANDARD.encode("oops")),
            reason: "invalid_json".to_owned(),
            error: "the value is not JSON".to_owned(),
        };
        let expected = json!({
            "topic": "t", "partition": 3, "offset": 7, "timestamp_ms": 5, "key": null, "value": "oops",
            "reason": "invalid_json", "error": "the value is not JSON",
        });
        assert_eq!(to_json("t", 3, &line).unwrap(), expected);
    }
}
