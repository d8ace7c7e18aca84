//! The collector's peak memory with records of every awkward kind, against `--memory-mb`.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::ours;
use crate::bench::rates::table;
use crate::harness::{Binaries, Names};
use crate::kafka::create_topics;
use crate::progress;
use crate::stack::Stack;

/// Time limit until the last records arrive.
const ARRIVAL: Duration = Duration::from_secs(120);

/// Records of one kind.
struct Load {
    name: &'static str,
    partitions: i32,
    records: u64,
    /// Bytes of text in a value, which does not compress.
    text: usize,
    /// Bytes of a header.
    header: usize,
    /// Further fields, each an object of two.
    objects: u64,
    flags: &'static [&'static str],
}

/// The shape of most loads.
const USUAL: Load = Load {
    name: "",
    partitions: 8,
    records: 0,
    text: 45,
    header: 0,
    objects: 0,
    flags: &[],
};

const LOADS: [Load; 7] = [
    Load {
        name: "100 bytes",
        records: 3_000_000,
        ..USUAL
    },
    Load {
        name: "100 kB",
        records: 8_000,
        text: 100_000,
        ..USUAL
    },
    Load {
        name: "1 MB",
        records: 800,
        text: 950_000,
        ..USUAL
    },
    Load {
        name: "headers of 60 kB, not kept",
        records: 12_000,
        header: 60_000,
        ..USUAL
    },
    Load {
        name: "headers of 60 kB, kept",
        records: 12_000,
        header: 60_000,
        flags: &["--headers"],
        ..USUAL
    },
    Load {
        name: "80 nested objects",
        records: 150_000,
        objects: 80,
        ..USUAL
    },
    Load {
        name: "1 kB in 1,000 partitions",
        partitions: 1_000,
        records: 800_000,
        text: 950,
        ..USUAL
    },
];

/// Fills a topic with each kind of records, collects it with `memory_mb`, and prints the table.
pub(super) fn measure(binaries: &Binaries, stack: &Stack, memory_mb: u64) -> Result<String> {
    let memory = memory_mb.to_string();
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for load in &LOADS {
        let topic = Names::unique("bench-memory").labeled_events;
        let spinner = progress::spinner(load.name);
        fill(stack, &topic, load)?;
        let more = [&["--memory-mb", &memory][..], load.flags].concat();
        let out = folder.path().join(&topic);
        let run = ours::collect(binaries, stack, &topic, &out, &more)?;
        crate::kafka::delete_topic(stack.brokers(), &topic)?;
        std::fs::remove_dir_all(&out)?;
        spinner.done(load.name);
        let bytes = load.records * (load.text + load.header) as u64;
        rows.push(vec![
            load.name.to_owned(),
            format!("{}", bytes.max(run.file_bytes) >> 20),
            format!("{}", run.peak_bytes >> 20),
            format!("{:.0}", run.measured(load.records).per_second()),
        ]);
    }
    let header = ["records", "MB in all", "peak MB", "records/s"];
    Ok(table(&header, &rows))
}

fn fill(stack: &Stack, topic: &str, load: &Load) -> Result<()> {
    create_topics(stack.brokers(), &[topic], load.partitions)?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", stack.brokers())
        .set("linger.ms", "50")
        .set("compression.type", "lz4")
        .create()?;
    let mut random = StdRng::seed_from_u64(7);
    let header = text(&mut random, load.header);
    for number in 0..load.records {
        let objects = (0..load.objects).map(|field| {
            format!(
                r#","o{field}":{{"a":{number},"b":"{}"}}"#,
                number * field % 1_000
            )
        });
        let value = format!(
            r#"{{"id":"{number}","amount":{number},"text":"{}"{}}}"#,
            text(&mut random, load.text),
            objects.collect::<String>()
        );
        let partition = (number % load.partitions as u64) as i32;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic)
            .partition(partition)
            .payload(value.as_bytes());
        if load.header > 0 {
            record.headers = Some(OwnedHeaders::new().insert(Header {
                key: "h",
                value: Some(&header),
            }));
        }
        while let Err((_, back)) = producer.send(record) {
            record = back;
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(producer.flush(ARRIVAL)?)
}

/// Letters that compress to three quarters, as random text in JSON does.
fn text(random: &mut StdRng, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = (0..bytes).map(|_| char::from(LETTERS[random.random_range(0..64)]));
    letters.collect()
}
