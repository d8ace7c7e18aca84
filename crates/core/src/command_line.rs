//! The command line of a binary: its defaults, the flags that each subcommand uses, its version, completions for shells.
//!
//! The flags of a start are global, so that they may stand before and after a subcommand. A subcommand shows those that
//! it uses, and the others are refused there: a flag without effect would be a silent mistake.

use crate::exit::Failure;
use crate::printing::tell;
use crate::settings::Binary;
use crate::spelling::closest;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use std::ffi::OsString;

/// The flags of a start that a subcommand uses, by their long names, in groups.
pub type Uses = &'static [&'static [&'static str]];

/// The flags to reach the brokers.
pub const BROKERS: &[&str] = &["brokers", "kafka-config", "connect-timeout"];

/// The flags to reach Redis.
pub const REDIS: &[&str] = &[
    "redis-url",
    "redis-password-file",
    "redis-ca",
    "redis-cert",
    "redis-key",
    "key-prefix",
];

/// The flags of claims.
pub const CLAIMS: &[&str] = &["claims", "max-claim-mb"];

/// Flags that every subcommand uses.
const EVERYWHERE: [&str; 3] = ["log-format", "help", "version"];

/// The variables that all programs of tidemill read besides `KAFKA_...`, `REDIS_URL`, `MODEL_PATH` and `ADMIN_ADDR`: a variable of one
/// program may be set for another.
pub const VARIABLES: &[&str] = &[
    "TIDEMILL_ADMIN_TOKEN_FILE",
    "TIDEMILL_AS_OF",
    "TIDEMILL_CACHE_MB",
    "TIDEMILL_CHECKPOINT",
    "TIDEMILL_CLAIMS",
    "TIDEMILL_COMMIT_SHARE",
    "TIDEMILL_COMPRESSION",
    "TIDEMILL_CONNECT_TIMEOUT",
    "TIDEMILL_DEAD_LETTER_TOPIC",
    "TIDEMILL_DELAY",
    "TIDEMILL_DELIVERY",
    "TIDEMILL_EVENTS_TOPIC",
    "TIDEMILL_EXACT_EVENTS",
    "TIDEMILL_FEATURES",
    "TIDEMILL_FEATURE_TIMEOUT",
    "TIDEMILL_FROM",
    "TIDEMILL_HEADERS",
    "TIDEMILL_INSTANCE",
    "TIDEMILL_KEY_PREFIX",
    "TIDEMILL_LOG_FORMAT",
    "TIDEMILL_MAX_AGE",
    "TIDEMILL_MAX_CLAIM_MB",
    "TIDEMILL_MEMORY_MB",
    "TIDEMILL_OUT",
    "TIDEMILL_OUTPUT_TOPIC",
    "TIDEMILL_REDIS_CA",
    "TIDEMILL_REDIS_CERT",
    "TIDEMILL_REDIS_KEY",
    "TIDEMILL_REDIS_PASSWORD_FILE",
    "TIDEMILL_ROWS",
    "TIDEMILL_SCHEMA",
    "TIDEMILL_SCHEMA_RECORDS",
    "TIDEMILL_SCHEMA_WAIT",
    "TIDEMILL_START",
    "TIDEMILL_TO",
    "TIDEMILL_TOPIC",
    "TIDEMILL_UNTIL_END",
    "TIDEMILL_WORKERS",
];

/// A command as a binary shows it: with its name, version and defaults, and in each subcommand the flags that it uses.
pub fn described(binary: &Binary, command: Command) -> Command {
    let command = command
        .name(binary.name)
        .version(version(binary.version))
        .mut_arg("group", |arg| arg.default_value(binary.group))
        .mut_arg("topic", |arg| arg.default_value(binary.topic))
        .mut_arg("admin_addr", |arg| {
            let help = arg.get_help().cloned().unwrap_or_default();
            let default = binary.admin_addr;
            arg.help(format!("{help} [default: {default}, or a free port]"))
        });
    let global: Vec<Arg> = command.get_arguments().cloned().collect();
    let global = global.into_iter().filter(Arg::is_global_set);
    let global: Vec<Arg> = global.collect();
    let narrowed = binary.uses.iter().fold(command, |command, (name, uses)| {
        command.mut_subcommand(name, |own| {
            let unused = global.iter().filter(|arg| !is_used(arg, uses));
            unused.fold(own, |own, arg| own.arg(arg.clone().hide(true)))
        })
    });
    narrowed.subcommand(completions())
}

/// Version, commit and its date, and the Kafka client's version.
pub fn version(version: &str) -> String {
    let (_, client) = rdkafka::util::get_rdkafka_version();
    format!("{version} ({}, librdkafka {client})", env!("BUILT_FROM"))
}

fn is_used(arg: &Arg, uses: Uses) -> bool {
    let used = || uses.iter().copied().flatten().chain(&EVERYWHERE);
    arg.get_long()
        .is_none_or(|name| used().any(|used| *used == name))
}

/// Refuses flags on the command line that the subcommand does not use.
pub(crate) fn check_uses(
    binary: &Binary,
    command: &Command,
    matches: &ArgMatches,
) -> anyhow::Result<()> {
    let name = matches.subcommand_name();
    let Some((name, uses)) = binary.uses.iter().find(|(own, _)| Some(*own) == name) else {
        return Ok(());
    };
    let given = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        let known = matches.try_contains_id(id).is_ok();
        known && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let unused = command.get_arguments().filter(|arg| !is_used(arg, uses));
    let unused: Vec<String> = unused
        .filter(given)
        .filter_map(|arg| arg.get_long().map(|name| format!("--{name}")))
        .collect();
    if unused.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{binary} {name} does not use {}: leave it out; {binary} {name} --help lists what it uses",
        unused.join(", "),
        binary = binary.name,
    )))
}

/// The subcommand that prints completions, for any program.
pub fn completions() -> Command {
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .value_parser(value_parser!(Shell))
        .required(true);
    Command::new("completions")
        .about("Print completions for a shell: source <(... completions bash)")
        .arg(shell.help("The shell"))
}

/// Prints completions if they are asked for; true if they are.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn complete(command: &Command, matches: &ArgMatches) -> anyhow::Result<bool> {
    let Some(("completions", own)) = matches.subcommand() else {
        return Ok(false);
    };
    let Some(shell) = own.get_one::<Shell>("shell") else {
        return Ok(false);
    };
    let (mut command, mut text) = (command.clone(), Vec::new());
    let name = command.get_name().to_owned();
    clap_complete::generate(*shell, &mut command, name, &mut text);
    tell(&String::from_utf8_lossy(&text))?;
    Ok(true)
}

/// The faults of variables whose names begin with `TIDEMILL_`: no program reads them.
pub(crate) fn unknown_variables(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let names = variables.filter_map(|(name, _)| name.into_string().ok());
    let ours = names.filter(|name| name.starts_with("TIDEMILL_"));
    let unknown = ours.filter(|name| !VARIABLES.contains(&name.as_str()));
    let told = unknown.map(|name| match closest(&name, VARIABLES.iter().copied()) {
        Some(meant) => format!("{name} has no effect: did you mean {meant}?"),
        None => format!("{name} has no effect: no flag has this variable"),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{SharedFlags, tests::BINARY};
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        shared: SharedFlags,
        #[command(subcommand)]
        command: Option<Own>,
    }

    #[derive(clap::Subcommand)]
    enum Own {
        /// Grind
        Grind {
            #[arg(long)]
            fine: bool,
        },
    }

    const MILL: Binary = Binary {
        uses: &[("grind", &[BROKERS, &["topic"]])],
        ..BINARY
    };

    fn parse(words: &[&str]) -> (Command, Result<ArgMatches, clap::Error>) {
        let command = described(&MILL, Flags::command());
        let words = ["mill"].iter().chain(words);
        let matches = command.clone().try_get_matches_from(words);
        (command, matches)
    }

    #[test]
    fn a_subcommand_shows_what_it_uses_and_refuses_the_rest() {
        let (_, help) = parse(&["grind", "--help"]);
        let help = help.unwrap_err().to_string();
        for shown in ["--fine", "--topic", "--brokers", "--log-format"] {
            assert!(help.contains(shown), "{shown} is not in: {help}");
        }
        for hidden in ["--workers", "--group", "--claims", "--print-config"] {
            assert!(!help.contains(hidden), "{hidden} is in: {help}");
        }
        let outcome = |words: &[&str]| {
            let (command, matches) = parse(words);
            check_uses(&MILL, &command, &matches.unwrap())
        };
        assert!(outcome(&["--topic", "t", "grind", "--brokers", "b:1", "--fine"]).is_ok());
        assert!(outcome(&["--workers", "1", "--group", "g"]).is_ok());
        let refused = [
            (&["grind", "--workers", "1"] as &[&str], "--workers"),
            (&["--workers", "1", "grind"], "--workers"),
            (
                &["--print-config", "grind", "--group", "g"],
                "--print-config, --group",
            ),
        ];
        for (words, unused) in refused {
            let told = outcome(words).unwrap_err().to_string();
            let expected = format!("mill grind does not use {unused}: ");
            assert!(told.starts_with(&expected), "{told}");
        }
    }

    #[test]
    fn values_reach_a_subcommand_from_both_sides() {
        for words in [
            &["--topic", "rye", "grind"] as &[&str],
            &["grind", "--topic", "rye"],
        ] {
            let matches = parse(words).1.unwrap();
            assert_eq!(matches.get_one::<String>("topic").unwrap(), "rye");
        }
        let matches = parse(&["grind"]).1.unwrap();
        assert_eq!(matches.get_one::<String>("topic").unwrap(), "grain");
    }

    #[test]
    fn variables_that_nothing_reads_are_told() {
        let names = [
            "TIDEMILL_WROKERS",
            "TIDEMILL_OUT",
            "PATH",
            "TIDEMILL_COLOUR",
        ];
        let told = unknown_variables(names.into_iter().map(|name| (name.into(), OsString::new())));
        let expected = [
            "TIDEMILL_WROKERS has no effect: did you mean TIDEMILL_WORKERS?",
            "TIDEMILL_COLOUR has no effect: no flag has this variable",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_version_names_its_sources() {
        let text = version("1.2.3");
        assert!(
            text.starts_with("1.2.3 (") && text.contains("librdkafka 2."),
            "{text}"
        );
    }
}
