//! Where simulated events go: to Kafka, or as lines of JSON to a file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use super::event::Event;
use super::plan::Topics;
use crate::kafka::Producer;

/// Takes events one after another.
pub enum Sink {
    /// Three topics of a cluster.
    Kafka {
        /// The way there.
        producer: Producer,
        /// Which topics.
        topics: Topics,
        /// Leave the payments out: nobody is to judge them any more.
        settled: bool,
    },
    /// Labeled events only, one JSON object a line: what a model is trained on.
    File(BufWriter<File>),
}

impl Sink {
    /// Writes to the topics of a cluster.
    pub fn kafka(brokers: &str, topics: Topics) -> Result<Sink> {
        Ok(Sink::Kafka {
            producer: Producer::open(brokers)?,
            topics,
            settled: false,
        })
    }

    /// Writes only what is known of payments long made: purchases and labels.
    pub fn settled(brokers: &str, topics: Topics) -> Result<Sink> {
        let producer = Producer::open(brokers)?;
        let settled = true;
        Ok(Sink::Kafka {
            producer,
            topics,
            settled,
        })
    }

    /// Writes labeled events to a new file.
    pub fn file(path: &Path) -> Result<Sink> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Sink::File(BufWriter::new(file)))
    }

    /// Writes one event. `record_ms` is its record's timestamp; without one the record gets the time of its sending.
    pub(crate) fn write(
        &mut self,
        event: &Event,
        record_ms: Option<i64>,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        buffer.clear();
        match self {
            Sink::Kafka {
                producer,
                topics,
                settled,
            } => {
                if *settled && matches!(event, Event::Transaction(_)) {
                    return Ok(());
                }
                event.write_json(buffer)?;
                let topic = match event {
                    Event::User(_) => &topics.user_events,
                    Event::Transaction(_) => &topics.transactions,
                    Event::Label(_) => &topics.labeled_events,
                };
                producer.send(topic, Some(event.key().as_bytes()), Some(buffer), record_ms)
            }
            Sink::File(file) => {
                if matches!(event, Event::Label(_)) {
                    event.write_json(buffer)?;
                    buffer.push(b'\n');
                    file.write_all(buffer)
                        .context("cannot write a labeled event")?;
                }
                Ok(())
            }
        }
    }

    /// Waits until everything has arrived.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match self {
            Sink::Kafka { producer, .. } => producer.flush(),
            Sink::File(file) => file.flush().context("cannot write the last labeled events"),
        }
    }
}
