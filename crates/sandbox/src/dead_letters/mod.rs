//! `sandbox dead-letters`: lists rejected records with group and reason, and sends copies back to their topic once the
//! cause is fixed.

mod headers;
mod letter;
mod list;
mod rejected;
mod resend;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anyhow::{Context, Result, ensure};

use self::letter::Letter;
use self::rejected::{Rejected, by_record};
use tidemill_core::printing::tell;
use tidemill_core::tell_line;

use crate::kafka::{self, Isolation};

/// The dead letters to take, and their treatment.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Topic of dead letters, or the topic that they came from
    topic: String,
    /// Only records that were rejected for this reason, such as missing_field
    #[arg(long)]
    reason: Option<String>,
    /// Only records that this consumer group has rejected
    #[arg(long)]
    group: Option<String>,
    /// Show this many of the newest for each reason
    #[arg(long, value_name = "N", default_value_t = 2)]
    samples: usize,
    /// Print each of them as a line of JSON: topic, partition, offset, timestamp_ms, key, value and headers of the letter,
    /// source (topic, partition, offset, timestamp_ms), group, reason, error, binary, version, sent_back; what is no text
    /// is in base64, as key_base64 or value_base64
    #[arg(long, conflicts_with_all = ["resend", "samples"])]
    json: bool,
    /// Send a copy of each record to the partition that it came from; it goes once, however many letters are about it
    /// and however often this is repeated. A copy names its original, so that a featurizer that counts the original
    /// skips the copy
    #[arg(long)]
    resend: bool,
    /// Send what was sent back before too, such as copies that were rejected in turn: a featurizer still counts each
    /// record once, a scorer scores every copy
    #[arg(long, requires = "resend")]
    again: bool,
    /// Do not ask
    #[arg(long, requires = "resend")]
    yes: bool,
    /// Say what would be sent, and send nothing
    #[arg(long, requires = "resend", conflicts_with = "yes")]
    dry_run: bool,
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    brokers: String,
}

impl Flags {
    /// The newest letter of each group that the flags select.
    fn wanted<'r>(&self, rejected: &'r Rejected) -> impl Iterator<Item = &'r Letter> {
        let by_group = rejected.by_group().into_values();
        by_group.filter(|letter| {
            let is_group = |group: &String| letter.group == *group;
            let is_reason = |reason: &String| letter.reason == *reason;
            self.group.as_ref().is_none_or(is_group) && self.reason.as_ref().is_none_or(is_reason)
        })
    }
}

/// Lists rejected records by group and reason; with `--resend`, sends copies of them.
pub fn command(flags: &Flags) -> Result<()> {
    let topic = letters_of(&flags.brokers, &flags.topic)?;
    // Opened before anything is read: it fences off other senders, so that the marks read below stay complete.
    let sender = match flags.resend && !flags.dry_run {
        true => Some(resend::Sender::open(&flags.brokers, &topic)?),
        false => None,
    };
    let mut letters = Vec::new();
    kafka::read_each(
        &flags.brokers,
        &topic,
        Isolation::ReadCommitted,
        |message| letters.push(Letter::of(message)),
    )?;
    let resent = resend::resent(&flags.brokers, &topic)?;
    let mut records = by_record(letters);
    records.retain(|rejected| flags.wanted(rejected).next().is_some());
    let wanted = records.iter().flat_map(|rejected| flags.wanted(rejected));
    if flags.json {
        let line = |letter: &Letter| {
            let sent_back = resent.contains(&letter.mark());
            format!("{}\n", letter.to_json(&topic, sent_back))
        };
        return tell(&wanted.map(line).collect::<String>());
    }
    tell(&list::list(&topic, wanted, &resent, flags.samples).to_string())?;
    if !flags.resend {
        return Ok(());
    }
    let is_open = |letter: &Letter| flags.again || !resent.contains(&letter.mark());
    let wanted = records.len();
    records.retain(|rejected| flags.wanted(rejected).any(is_open));
    let before = wanted - records.len();
    let records = sendable(&flags.brokers, records)?;
    if records.is_empty() {
        match before {
            0 => tell_line!("nothing to send back")?,
            _ => tell_line!(
                "nothing to send back: {before} went back before; --again sends them once more"
            )?,
        }
        return Ok(());
    }
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for rejected in &records {
        *places.entry(&rejected.first.source).or_default() += 1;
        for letter in flags.wanted(rejected).filter(|letter| is_open(letter)) {
            *groups.entry(&letter.group).or_default() += 1;
        }
    }
    for (group, count) in groups {
        tell_line!("to send back: {count} that {} rejected", list::named(group))?;
    }
    tell_line!(
        "every group reads a copy: a featurizer counts it where its state rejected the original, a scorer scores it"
    )?;
    let places: Vec<String> = places
        .iter()
        .map(|(topic, count)| format!("{count} to {topic}"))
        .collect();
    let places = places.join(", ");
    let Some(sender) = sender else {
        return tell_line!("nothing was sent: --dry-run");
    };
    if !flags.yes && !agreed(&places)? {
        return Ok(());
    }
    sender.send(&records)?;
    tell_line!("sent back {places}")?;
    Ok(())
}

/// The records that can be sent back; prints the number of the others, with the reason.
fn sendable(brokers: &str, records: Vec<Rejected>) -> Result<Vec<Rejected>> {
    let (whole, cut): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|rejected| rejected.first.is_whole());
    let names = kafka::topics(brokers)?;
    let reader = kafka::reader(brokers, Isolation::ReadCommitted)?;
    let mut partitions = BTreeMap::new();
    for rejected in &whole {
        let topic = rejected.first.source.clone();
        if names.contains(&topic) && !partitions.contains_key(&topic) {
            let count = kafka::partitions(&reader, &topic)?;
            partitions.insert(topic, count);
        }
    }
    let (there, gone): (Vec<_>, Vec<_>) = whole.into_iter().partition(|rejected| {
        let letter = &rejected.first;
        let place = letter.original().map_or(0, |(partition, _)| partition);
        let count = partitions.get(&letter.source);
        count.is_some_and(|count| (0..*count).contains(&place))
    });
    for (records, why) in [
        (
            cut,
            "their value was too large to be kept, or they name no source",
        ),
        (
            gone,
            "the topic or partition that they came from is not there",
        ),
    ] {
        if !records.is_empty() {
            tell_line!("{} cannot be sent back: {why}", records.len())?;
        }
    }
    Ok(there)
}

/// The dead-letter topic: the topic itself, or the one that belongs to it.
fn letters_of(brokers: &str, topic: &str) -> Result<String> {
    let own = format!("{topic}.dead-letter");
    let names = kafka::topics(brokers)?;
    if names.contains(&own) {
        return Ok(own);
    }
    ensure!(
        topic.ends_with(".dead-letter"),
        "there are no dead letters of {topic}: no topic {own}; give the topic of dead letters where it has another name. A \
         collector writes none: what it sets aside lies in _rejected/ of its data set"
    );
    ensure!(
        names.iter().any(|name| name == topic),
        "there is no topic {topic}"
    );
    Ok(topic.to_owned())
}

fn agreed(places: &str) -> Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is nobody to ask whether to send {places}: add --yes to agree beforehand"
    );
    tell(&format!("send back {places}? [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
