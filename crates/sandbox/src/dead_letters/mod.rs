//! `sandbox dead-letters`: what was set aside and why, and back with it to its topic once the cause is mended.

mod letter;
mod resend;

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context, Result, ensure};

use self::letter::Letter;
use crate::kafka::{self, Isolation};

/// Which dead letters, and what to do with them.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Topic of dead letters, or the topic that they came from
    topic: String,
    /// Only those set aside for this reason, such as missing_field
    #[arg(long)]
    reason: Option<String>,
    /// Show this many of the newest for each reason
    #[arg(long, value_name = "N", default_value_t = 2)]
    samples: usize,
    /// Send them back to the topic that they came from, as they were; each is sent once, however often this is repeated
    #[arg(long)]
    resend: bool,
    /// Do not ask
    #[arg(long, requires = "resend")]
    yes: bool,
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092")]
    brokers: String,
}

/// Lists dead letters by reason and, where the flags say so, sends them back.
pub fn command(flags: &Flags) -> Result<()> {
    let topic = letters_of(&flags.brokers, &flags.topic)?;
    // Before anything is read: whoever was sending back is stopped, so that what is read stays true.
    let sender = match flags.resend {
        true => Some(resend::Sender::open(&flags.brokers, &topic)?),
        false => None,
    };
    let mut letters = Vec::new();
    kafka::read_each(
        &flags.brokers,
        &topic,
        Isolation::ReadCommitted,
        |message| {
            letters.push(Letter::of(message));
        },
    )?;
    letters.sort_by_key(|letter| (letter.timestamp_ms, letter.partition, letter.offset));
    letters.retain(|letter| {
        flags
            .reason
            .as_ref()
            .is_none_or(|reason| letter.reason == *reason)
    });
    let resent = resend::resent(&flags.brokers, &topic)?;
    list(&topic, &letters, &resent, flags.samples);
    let Some(sender) = sender else { return Ok(()) };
    letters.retain(|letter| !resent.contains(&letter.mark()));
    let (whole, cut): (Vec<Letter>, Vec<Letter>) =
        letters.into_iter().partition(Letter::can_be_resent);
    if !cut.is_empty() {
        println!(
            "{} cannot be sent back: their value was too large to be kept, or they name no source",
            cut.len()
        );
    }
    if whole.is_empty() {
        println!("nothing to send back");
        return Ok(());
    }
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in &whole {
        *by_source.entry(&letter.source).or_default() += 1;
    }
    let places: Vec<String> = by_source
        .iter()
        .map(|(topic, count)| format!("{count} to {topic}"))
        .collect();
    let places = places.join(", ");
    if !flags.yes && !agreed(&places)? {
        return Ok(());
    }
    sender.send(&whole)?;
    println!("sent back {places}");
    Ok(())
}

/// The topic itself, or that of its dead letters.
fn letters_of(brokers: &str, topic: &str) -> Result<String> {
    let own = format!("{topic}.dead-letter");
    let names = kafka::topics(brokers)?;
    if names.contains(&own) {
        return Ok(own);
    }
    ensure!(
        topic.ends_with(".dead-letter"),
        "there are no dead letters of {topic}: no topic {own}; give the topic of dead letters where it has another name"
    );
    ensure!(
        names.iter().any(|name| name == topic),
        "there is no topic {topic}"
    );
    Ok(topic.to_owned())
}

fn list(topic: &str, letters: &[Letter], resent: &HashSet<String>, samples: usize) {
    let mut by_reason: BTreeMap<&str, Vec<&Letter>> = BTreeMap::new();
    for letter in letters {
        by_reason.entry(&letter.reason).or_default().push(letter);
    }
    println!("{topic}: {} dead letters", letters.len());
    if letters.is_empty() {
        return;
    }
    println!(
        "{:<20} {:>8} {:>10}  {:<20}  {:<20}",
        "reason", "count", "sent back", "first", "last"
    );
    for (reason, letters) in &by_reason {
        let back = letters
            .iter()
            .filter(|letter| resent.contains(&letter.mark()))
            .count();
        let time =
            |letter: Option<&&Letter>| letter.map(|letter| letter.time()).unwrap_or_default();
        println!(
            "{reason:<20} {:>8} {back:>10}  {:<20}  {:<20}",
            letters.len(),
            time(letters.first()),
            time(letters.last())
        );
        for letter in letters.iter().rev().take(samples) {
            println!("    {letter}");
        }
    }
}

fn agreed(places: &str) -> Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is nobody to ask whether to send {places}: add --yes to agree beforehand"
    );
    print!("send back {places}? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
