//! Destinations of simulated events: Kafka, or a file of JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use super::event::Event;
use super::plan::Topics;
use crate::kafka::Producer;

/// A destination of events.
pub enum Sink {
    /// Three topics of a cluster.
    Kafka {
        /// The producer for all three topics.
        producer: Producer,
        /// The names of the topics.
        topics: Topics,
        /// True to leave out payments, which are too old to be judged.
        settled: bool,
    },
    /// Labeled events only, one JSON object per line, for training a model.
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

    /// Writes only purchases and labels of long past payments.
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

    /// Writes one event. `record_ms` is its record's timestamp; with `None` the record gets the time of its sending.
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

    /// Waits until everything was written.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match self {
            Sink::Kafka { producer, .. } => producer.flush(),
            Sink::File(file) => file.flush().context("cannot write the last labeled events"),
        }
    }
}
