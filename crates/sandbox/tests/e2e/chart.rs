//! The Helm chart agrees with the programs that it starts; `just check-chart` renders it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::Binaries;
use serde_json::Value;

/// Flags that other values of the chart set, that belong to bounded runs, which it does not start, or that a pod's own
/// `env` sets.
const OTHERS: [&str; 21] = [
    "admin-token-file",
    "brokers",
    "kafka-config",
    "admin-addr",
    "workers",
    "redis-url",
    "redis-password-file",
    "redis-ca",
    "redis-cert",
    "redis-key",
    "features",
    "model",
    "instance",
    "out",
    "schema",
    "until-end",
    "from",
    "to",
    "events-topic",
    "as-of",
    "delay",
];

/// The flags of a program that have a variable, with it.
fn flags(program: &str) -> Result<BTreeMap<String, String>> {
    let mut command = Command::new(Binaries::build()?.path(program));
    let help = String::from_utf8(command.arg("--help").output()?.stdout)?;
    let mut flags = BTreeMap::new();
    // Each flag begins a paragraph, in which descriptions, too, may name flags.
    for paragraph in help.split("\n      --").skip(1) {
        let mut words = paragraph.split_whitespace();
        let name = words.next().context("a flag without a name")?;
        if words.any(|word| word == "[env:") {
            let variable = words.next().context("no variable")?;
            let variable = variable.trim_end_matches([']', '=']);
            flags.insert(name.to_owned(), variable.to_owned());
        }
    }
    Ok(flags)
}

#[test]
fn it_starts_the_image_of_this_version() -> Result<()> {
    let chart = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../ops/helm/tidemill/Chart.yaml"
    );
    let version = concat!("appVersion: ", env!("CARGO_PKG_VERSION"));
    assert!(
        fs::read_to_string(chart)?
            .lines()
            .any(|line| line == version)
    );
    Ok(())
}

#[test]
fn its_settings_are_the_flags_of_the_programs() -> Result<()> {
    let schema = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../ops/helm/tidemill/values.schema.json"
    );
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema)?)?;
    for program in ["featurizer", "scorer", "collector"] {
        let settings = &schema["properties"][program]["properties"]["settings"]["properties"];
        let settings = settings.as_object().context("no settings")?;
        let mut flags = flags(program)?;
        for name in settings.keys() {
            let variable = flags
                .remove(name)
                .with_context(|| format!("{program} has no --{name}"))?;
            // As templates/_environment.tpl names them.
            let own = format!("TIDEMILL_{}", name.to_uppercase().replace('-', "_"));
            let expected = if name == "group" { "KAFKA_GROUP" } else { &own };
            assert_eq!(variable, expected, "{program} --{name}");
        }
        flags.retain(|name, _| !OTHERS.contains(&name.as_str()));
        assert!(flags.is_empty(), "the chart lacks {flags:?} of {program}");
    }
    Ok(())
}
