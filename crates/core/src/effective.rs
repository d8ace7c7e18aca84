//! The configuration in effect: every flag with its value and source, and without secrets.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// The text shown in place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// Parts of the names of settings that hold secrets.
const SECRETS: [&str; 6] = ["password", "secret", "token", "jaas", ".pem", "credential"];

/// Properties of the Kafka client that are shown, besides numbers and file names. It is no list of what is hidden,
/// because a password under a misspelt name is still a password.
const SHOWN: [&str; 8] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "ssl.endpoint.identification.algorithm",
    "client.id",
    "client.rack",
    "compression.type",
    "compression.codec",
];

/// One setting in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    /// The flag without its dashes, or a property of the Kafka client.
    name: String,
    /// The value in effect, the default included.
    value: String,
    /// The source of the value.
    source: &'static str,
}

/// All settings, secrets hidden.
pub(crate) struct Settings(Vec<Setting>);

/// The settings of this process.
static IN_EFFECT: OnceLock<Settings> = OnceLock::new();

/// The settings of this process; none where a test is the process.
pub(crate) fn in_effect() -> &'static [Setting] {
    IN_EFFECT.get().map_or(&[], |settings| &settings.0)
}

impl Settings {
    /// The settings of a parsed command line.
    pub(crate) fn new(command: &Command, matches: &ArgMatches) -> Self {
        let mut settings = Vec::new();
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let Some(name) = arg.get_long() else { continue };
            if ["help", "version", "print-config"].contains(&name) {
                continue;
            }
            let given = matches.try_get_raw(id).ok().flatten();
            let given = given.and_then(|mut values| values.next());
            let given = given.map(|value| value.to_string_lossy().into_owned());
            let source = match matches
                .try_contains_id(id)
                .ok()
                .and(matches.value_source(id))
            {
                Some(ValueSource::CommandLine) => "command line",
                Some(ValueSource::EnvVariable) => "environment",
                _ => "default",
            };
            let value = match &given {
                Some(value) if value.is_empty() => "\"\"".to_owned(),
                Some(value) => hidden(name, value),
                None => default_in(&arg.get_help().map(ToString::to_string).unwrap_or_default()),
            };
            settings.push(Setting {
                name: name.to_owned(),
                value,
                source,
            });
            if let Some(path) = given.filter(|_| name == "kafka-config") {
                // Validation reports what cannot be read.
                let (properties, _) = crate::kafka::read_properties(Path::new(&path));
                settings.extend(properties.into_iter().map(|(name, value)| Setting {
                    value: hidden_property(&name, &value),
                    name,
                    source: "kafka-config",
                }));
            }
        }
        Self(settings)
    }

    /// Makes these the settings of the process, for its page.
    pub(crate) fn take_effect(self) {
        IN_EFFECT.get_or_init(|| self);
    }

    /// All settings in one line.
    pub(crate) fn line(&self) -> String {
        let pairs = self.0.iter().map(|Setting { name, value, .. }| {
            if value.contains(char::is_whitespace) {
                format!("{name}={value:?}")
            } else {
                format!("{name}={value}")
            }
        });
        pairs.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Settings {
    /// One line per setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|one| one.name.len()).max();
        let width = width.unwrap_or_default();
        for Setting {
            name,
            value,
            source,
        } in &self.0
        {
            writeln!(f, "{name:width$} = {value}  ({source})")?;
        }
        Ok(())
    }
}

/// The value, unless it is a secret or holds one.
fn hidden(name: &str, value: &str) -> String {
    let name = name.to_lowercase();
    // The name of a file that holds a secret is not secret.
    let is_file = ["file", "location"].iter().any(|end| name.ends_with(end));
    if !is_file && SECRETS.iter().any(|secret| name.contains(secret)) {
        return HIDDEN.to_owned();
    }
    if !value.contains('@') {
        return value.to_owned();
    }
    // The part before an @ may be a password, even in a malformed URL.
    let url = url::Url::parse(value).ok();
    let Some(mut url) = url.filter(|url| url.has_host()) else {
        return HIDDEN.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
        return HIDDEN.to_owned();
    }
    url.to_string()
}

/// The value of one of the Kafka client's properties, unless it may be a secret.
pub(crate) fn hidden_property(name: &str, value: &str) -> String {
    let login = ["sasl", "ssl", "oauth"]
        .iter()
        .any(|part| name.contains(part));
    let setting = value.parse::<f64>().is_ok() || ["true", "false"].contains(&value);
    let shown = SHOWN.contains(&name) || name.ends_with(".location") || (setting && !login);
    if shown {
        hidden(name, value)
    } else {
        HIDDEN.to_owned()
    }
}

/// The text of a flag's help in `[default: ...]`.
fn default_in(help: &str) -> String {
    let after = help.split_once("[default: ").map(|(_, after)| after);
    let text = after.and_then(|after| after.rsplit_once(']'));
    text.map_or("none", |(text, _)| text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    #[test]
    fn values_sources_and_defaults() {
        let command = Command::new("mill")
            .arg(Arg::new("grain").long("grain").default_value("rye"))
            .arg(
                Arg::new("wind")
                    .long("wind")
                    .help("Wind [default: as it blows]"),
            )
            .arg(Arg::new("fine").long("fine").action(ArgAction::SetTrue));
        let matches = command.clone().get_matches_from(["mill", "--fine"]);
        let settings = Settings::new(&command, &matches);
        assert_eq!(settings.line(), "grain=rye wind=\"as it blows\" fine=true");
        let shown = settings.to_string();
        assert!(shown.contains("fine  = true  (command line)"), "{shown}");
    }

    #[test]
    fn secrets_are_hidden() {
        for (name, value) in [
            ("redis-url", "redis://user:hunter2@host:6379/1"),
            ("redis-url", "redis://:hunter2@host:6379"),
            ("redis-url", "redis://bad host:hunter2@"),
            ("redis-url", "redis//:hunter2@host"),
            ("redis-url", "user:hunter2@host"),
            ("sasl.password", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("sasl.jaas.config", "x password=hunter2"),
            ("redis-password", "hunter2"),
        ] {
            let shown = hidden(name, value);
            assert!(!shown.contains("hunter2"), "{name}: {shown}");
        }
        for (name, value) in [
            ("sasl.pasword", "hunter2"),
            ("sasl.pasword", "12345"),
            ("pasword", "hunter2"),
            ("ssl.key.pem", "hunter2"),
        ] {
            assert_eq!(hidden_property(name, value), HIDDEN, "{name}");
        }
        assert_eq!(hidden_property("linger.ms", "5"), "5");
        assert_eq!(hidden_property("ssl.ca.location", "/run/ca"), "/run/ca");
        let url = "redis://host:6379";
        assert_eq!(hidden("redis-url", url), url);
        assert_eq!(hidden("redis-password-file", "/run/it"), "/run/it");
        assert_eq!(hidden("ssl.key.location", "/run/key"), "/run/key");
    }
}
