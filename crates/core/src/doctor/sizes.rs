//! Judges record sizes: the limits of topics and clients, and the largest record of the sample.

use super::Report;
use super::topics::Settings;

/// A broker's default limit of a record, in bytes.
const USUAL_MAX: i64 = 1_048_588;

/// librdkafka's default limit of a produced record, in bytes.
const USUAL_SENT: i64 = 1_000_000;

/// Limits and sizes of records, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    /// Limit of the input topic.
    pub(super) input: Option<i64>,
    /// Limit of the dead-letter topic.
    pub(super) letters: Option<i64>,
    /// Limit of our own producers (`message.max.bytes`).
    pub(super) sent: Option<i64>,
    /// The largest record of the sample.
    pub(super) largest: usize,
}

/// The limit in a topic's settings.
pub(super) fn max_message(settings: &Settings) -> Option<i64> {
    settings.get("max.message.bytes")?.parse().ok()
}

/// Judges the largest possible record of `topic`, and if its dead letters can be as large.
pub(super) fn sizes(topic: &str, sizes: &Sizes, report: &mut Report) {
    let Some(input) = sizes.input else {
        report.warning(
            "size",
            format!("the brokers do not tell how large records of {topic} may be"),
            "grant DESCRIBE_CONFIGS on the topic",
        );
        return;
    };
    let largest = sizes.largest as i64;
    let before = report.findings.len();
    if input < USUAL_MAX || largest > input / 10 * 8 {
        let close = match largest {
            0 => String::new(),
            largest => format!(" (the largest of the sample has {largest})"),
        };
        report.warning(
            "size",
            format!(
                "message too large: {topic} refuses records of more than {input} bytes to their producers{close}"
            ),
            format!("raise max.message.bytes of {topic} and message.max.bytes or max.request.size of its producers, or send a claim"),
        );
    }
    if let Some(letters) = sizes.letters.filter(|letters| *letters < input) {
        report.warning(
            "size",
            format!(
                "message too large: {topic} takes records of {input} bytes, but its dead letters may have {letters} \
                 only: those of larger records carry length and SHA-256 instead of the value"
            ),
            format!("raise max.message.bytes of the dead-letter topic to {input}"),
        );
    }
    let sent = sizes.sent.unwrap_or(USUAL_SENT);
    // By default brokers accept slightly more than clients send, which is harmless.
    if sizes.letters.is_some() && sent < input && input > USUAL_MAX {
        report.warning(
            "size",
            format!(
                "message too large: {topic} takes records of {input} bytes, but we send dead letters of at most \
                 {sent}: those of larger records carry length and SHA-256 instead of the value"
            ),
            format!("message.max.bytes={input} in the file of --kafka-config"),
        );
    }
    if report.findings.len() == before {
        report.ok(
            "size",
            format!(
                "{topic} takes records of {input} bytes, the largest of the sample has {largest}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn only(judge: impl FnOnce(&mut Report)) -> Vec<Level> {
        let mut report = Report::default();
        judge(&mut report);
        report.findings.iter().map(|one| one.level).collect()
    }

    #[test]
    fn sizes_of_inputs_and_dead_letters() {
        let usual = Sizes {
            input: Some(USUAL_MAX),
            letters: Some(USUAL_MAX),
            sent: None,
            largest: 200,
        };
        let judged = |one: Sizes| only(|report| sizes("t", &one, report));
        assert_eq!(judged(usual), [Level::Ok]);
        let small_letters = Sizes {
            letters: Some(1_000),
            ..usual
        };
        assert_eq!(judged(small_letters), [Level::Warning]);
        let large = Sizes {
            input: Some(10_000_000),
            letters: Some(10_000_000),
            ..usual
        };
        assert_eq!(judged(large), [Level::Warning], "our producer's own limit");
        let sent = Some(10_000_000);
        assert_eq!(judged(Sizes { sent, ..large }), [Level::Ok]);
        let close = Sizes {
            largest: 1_000_000,
            ..usual
        };
        assert_eq!(judged(close), [Level::Warning]);
    }
}
