//! `--reset`: moves an inactive group to `--start`, after showing from where to where.

use std::collections::BTreeSet;
use std::io::{IsTerminal, stdin};
use std::time::Duration;

use anyhow::Context;
use tidemill_core::exit::Failure;
use tidemill_core::kafka::{Cluster, Consumer, places};
use tidemill_core::printing::tell;

use crate::input::start::{find, of_topic};
use crate::settings::{Config, Reset};

/// Time limit for positions in an open transaction. A killed process may have left one: brokers end it once it is 10 s
/// old, and check for such every 10 s.
const OPEN_TRANSACTION: Duration = Duration::from_secs(30);

/// The answer of the person who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The group may be moved.
    Yes,
    /// It stays where it is.
    No,
}

/// Moves the group's positions in all `count` partitions, if `how` says so or the answer is yes; returns the answer.
///
/// # Errors
///
/// The group has members, there is nobody to ask, or the brokers refuse.
pub fn reset(
    config: &Config,
    cluster: &Cluster,
    count: usize,
    how: Reset,
) -> anyhow::Result<Answer> {
    let shared = &config.shared;
    let (kafka, group, topic) = (&shared.kafka, &shared.group, &shared.topic);
    let members = cluster.members(group)?;
    if !members.is_empty() {
        let hosts: BTreeSet<&str> = members.iter().map(|one| one.host.as_str()).collect();
        let hosts = hosts.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!(
            "--reset: group {group} cannot be moved while it has members ({} now, at {hosts}): stop them first; one that \
             was killed counts for 6 s more",
            members.len()
        )));
    }
    let consumer = Consumer::outside_for(kafka, group, topic, &config.writes_to())?;
    let partitions: Vec<i32> = (0..count as i32).collect();
    let from = consumer.committed(&partitions, OPEN_TRANSACTION)?;
    let to = find(&consumer, &partitions, config.start)?;
    let mut text = format!("group {group} on topic {topic}:\n");
    for ((partition, from), (_, to)) in from.iter().zip(&to) {
        text += &match from {
            Some(from) => format!(
                "  partition {partition}: {from} -> {to} ({:+})\n",
                to - from
            ),
            None => format!("  partition {partition}: none -> {to}\n"),
        };
    }
    tell(&text)?;
    let answer = match how {
        Reset::Agreed => Answer::Yes,
        Reset::Ask => ask()?,
        Reset::DryRun => {
            tell("nothing was moved: --dry-run\n")?;
            Answer::No
        }
    };
    if answer == Answer::No {
        return Ok(answer);
    }
    // The brokers take positions from a client outside the group only while it has no members.
    let positions = of_topic(consumer.topic_id()?, &to);
    consumer.commit(&positions).with_context(|| {
        format!("group {group} cannot be moved while it has members; stop them first")
    })?;
    tracing::info!(group, positions = places(&to), "group moved");
    Ok(Answer::Yes)
}

fn ask() -> anyhow::Result<Answer> {
    if !stdin().is_terminal() {
        return Err(Failure::usage(
            "--reset has nobody to ask: add --yes to agree beforehand",
        ));
    }
    tell("move the group? [y/N] ")?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(match answer.trim() {
        "y" | "Y" | "yes" => Answer::Yes,
        _ => Answer::No,
    })
}
