//! End-to-end tests: the real executables on a real Kafka and Redis, which the first test starts for all.
//!
//! Each test has topics, groups and keys of its own, so that all run side by side. The files:
//!
//! - `tutorial`: records of the documented shapes give exactly the documented outputs
//! - `unusable`: what is malformed ends where it should, while the rest goes on
//! - `starts`: wrong flags and absent servers end a start with a clear error and the documented exit code
//! - `messages`: what is said of records that newcomers send, and of misspelt flags
//! - `outages`: brokers and Redis that stop answering are shown, and do not keep a process from ending
//! - `command_lines`: help, versions, completions, `validate`, and variables that nothing reads
//! - `printing`: closed pipes and full disks
//! - `reports`: what verify, inspect, replay, dead-letters and consume tell people and programs
//! - `dry_runs`: what moves or sends can be asked what it would do; a rebuild can be waited for
//! - `quickstart`: the blocks of README and tutorial, as they are pasted
//! - `english`: how sentences of comments, help and pages begin
//! - `examples`: the blocks of the examples, likewise
//! - `docs`: what the pages list, against the code
//! - `exit_codes`: whose turn it is, by what was asked for and what was there
//! - `redis_start`: a Redis that loads, refuses, is too old or clustered
//! - `collector`, `collector_features`: data sets of bounded runs
//! - `collector_bucket`, `collector_disk`: a bucket that is slow and loses answers, a disk that is full
//! - `collector_live`: topics made anew, retention, members that write elsewhere, records that trickle
//! - `collector_nothing`: offsets without a record, and logs that retention has emptied
//! - `collector_faults`: live collectors under kills, zombies and rebalances
//! - `sandbox_program`: produce, consume and simulate, as the quick start uses them
//! - `featurizer_features`: definitions, decay, erasure, exactness, and whose prefix it is
//! - `featurizer_exact`: users, erasures and copies that must stay exact, whatever is rebuilt or sent again
//! - `featurizer_recovery`: what is built anew after retention, a rebuild, a takeover
//! - `featurizer_faults`: kills, zombies, scaling and a Redis that forgets leave no user wrong
//! - `faults`: processes killed, paused and cut off under live traffic; nothing is lost or doubled
//! - `scorer`: models swapped, features missing, predictions scored again, members coming and going
//! - `claims`: values that stand for larger objects
//! - `secure`: TLS, passwords and certificates, and what is said when they do not fit
//! - `header_names`: names of headers that are no text
//! - `hostile`: what is made to do harm does none
//! - `scorer_faults`: scorers killed, paused, replaced and joined at random
//! - `scorer_redis`: a Redis that refuses, is away, or holds something else under a user's key
//! - `scorer_logs`: topics made anew, positions of another log, groups that write to the wrong place
//! - `doctor`: each mistake is provoked and named
//! - `operations`: metrics tell the truth, settings are shown
//! - `monitoring`, `chart`: dashboard and alerts on a real Prometheus; the Helm chart knows the programs' flags
//! - `page`, `page_sections`, `page_pictures`, `browser`: the live pages in a headless Chromium
//! - `dead_letters`: what was set aside is listed, and goes back once
//! - `kafka_client`: what core's Kafka client promises to its workers
//! - `installed`: the archive of the programs, unpacked where there is no checkout
//! - `stack`: the servers that all this stands on
//!
//! Expectations are written out or computed by [`sandbox::oracle`], which shares no code with the binaries.

// In a test, what is not as expected should end it; remarks go to whoever watches it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod browser;
mod chart;
mod claims;
mod collector;
mod collector_bucket;
mod collector_disk;
mod collector_faults;
mod collector_features;
mod collector_live;
mod collector_nothing;
mod command_lines;
mod dead_letters;
mod docs;
mod doctor;
mod dry_runs;
mod english;
mod examples;
mod exit_codes;
mod faults;
mod featurizer_exact;
mod featurizer_faults;
mod featurizer_features;
mod featurizer_recovery;
mod header_names;
mod hostile;
mod installed;
mod kafka_client;
mod messages;
mod monitoring;
mod operations;
mod outages;
mod page;
mod page_pictures;
mod page_sections;
mod printing;
mod quickstart;
mod redis_start;
mod reports;
mod sandbox_program;
mod scorer;
mod scorer_faults;
mod scorer_logs;
mod scorer_redis;
mod secure;
mod stack;
mod starts;
// The stub of the collector's own tests.
#[path = "../../../collector/src/dataset/store/stub.rs"]
#[allow(dead_code)]
mod stub;
mod tutorial;
mod unusable;

use std::time::Duration;

use anyhow::Result;
use sandbox::harness::Program;

/// Time limit for an output that is certain to come.
const SOON: Duration = Duration::from_secs(60);

/// The program ends by itself with this code and says all of these.
fn assert_ends(mut program: Program, code: i32, says: &[&str]) -> Result<()> {
    let status = program.wait_for_end(SOON)?;
    let output = program.output();
    assert_eq!(status.code(), Some(code), "{output}");
    for part in says {
        assert!(output.contains(part), "{part:?} is not in: {output}");
    }
    Ok(())
}
