//! The featurizer's section of the live page: the definitions, and one user's values with the events behind them.

mod look_up;
mod pace;

use crate::settings::Config;
use serde_json::{Value, json};
use tidemill_core::features::Feature;
use tidemill_core::status::Section;

/// The section of a featurizer.
pub(crate) fn section(config: &Config) -> anyhow::Result<Section> {
    let definitions = config.definitions.clone();
    let cache_bytes = config.cache_bytes;
    Ok(Section {
        script: include_str!("section.js"),
        figures: Box::new(move || {
            let features: Vec<Value> = definitions.features().iter().map(feature).collect();
            json!({"features": features, "cache_bytes": cache_bytes})
        }),
        pages: Some(look_up::pages(config)?),
        latency: Some("tidemill_freshness_seconds"),
        stages: &["load", "apply", "write"],
    })
}

fn feature(feature: &Feature) -> Value {
    json!({
        "name": feature.name,
        "aggregate": feature.aggregate.name(),
        "field": feature.field,
        "window_ms": feature.window_ms,
    })
}
