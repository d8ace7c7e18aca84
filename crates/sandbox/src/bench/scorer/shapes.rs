//! The cost of partitions: one full topic in several numbers of partitions, scored, and copied by a bare loop.

use anyhow::Result;
use tidemill_core::remark_line;

use super::rates::{LIKE_OURS, score, topic};
use super::{PARTITIONS, bare, payments};
use crate::bench::table;
use crate::harness::{Names, Scene};
use crate::kafka::{create_topics, delete_topic, first_record};
use crate::stack::Stack;

/// Partitions of the input topic and of each output topic.
const SHAPES: [i32; 3] = [PARTITIONS, 64, 256];

/// Measures each shape with `count` payments, and returns the table.
pub(super) fn measure(stack: &Stack, count: u64) -> Result<String> {
    let mut rows = Vec::new();
    for partitions in SHAPES {
        let scene = Scene::on(stack, Names::unique("shapes"), partitions)?;
        payments::fill(&scene, partitions, count)?;
        // Not measured: the broker compiles its code meanwhile. The bare loop writes the records of this run.
        score(&scene, count, "exactly-once", "warm-up")?;
        let sample = first_record(&scene.brokers, &topic(&scene, "warm-up"))?;
        let target = topic(&scene, "copies");
        create_topics(&scene.brokers, &[&target], partitions)?;
        let copied = bare::copy(&scene, &target, partitions, count, LIKE_OURS, &sample)?;
        let scored = score(&scene, count, "exactly-once", "scored")?;
        let (ours, bare) = (scored.found.per_second(), copied.per_second());
        remark_line!("{partitions} partitions: copied {bare:.0}/s");
        rows.push(vec![
            partitions.to_string(),
            format!("{bare:.0}"),
            format!("{ours:.0}"),
            format!("{:.2}", ours / bare),
            format!("{:.0}", scored.batch),
        ]);
        for purpose in ["warm-up", "copies", "scored"] {
            delete_topic(&scene.brokers, &topic(&scene, purpose))?;
        }
        delete_topic(&scene.brokers, &scene.names.transactions)?;
    }
    let header = [
        "partitions",
        "bare copy, records/s",
        "scorer, records/s",
        "ratio",
        "records a transaction",
    ];
    Ok(table(&header, &rows))
}
