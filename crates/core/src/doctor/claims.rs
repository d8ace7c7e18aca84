//! Judges claims: does their store answer, and does the newest of the sample match its object.

use super::Report;
use crate::claim::{Claims, Content, Resolver, Unavailable, is_claim};
use crate::location::Location;
use crate::record::Reason;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time limit for the store.
const ANSWER: Duration = Duration::from_secs(10);

/// The claim of an object that never exists: a store that reports it missing answers.
const NOBODYS: &[u8] = br#"{"$claim":{"path":"tidemill-doctor/nobodys","length":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;

/// The remedy if --claims and the producers disagree.
const REMEDY: &str =
    "give the place that producers put the objects into, before they send the claims, in --claims";

#[derive(Debug, Default)]
pub(super) struct Sampled {
    count: u64,
    newest: Option<Vec<u8>>,
}

impl Sampled {
    /// Adds a record's value, a claim or not.
    pub(super) fn take(&mut self, value: Option<&[u8]>) {
        if is_claim(value) {
            self.count += 1;
            self.newest = value.map(<[u8]>::to_vec);
        }
    }

    /// Fetches the object of the newest claim, or else of [`NOBODYS`], and judges the outcome.
    pub(super) async fn judge(
        &self,
        claims: &Claims,
        shutdown: &CancellationToken,
        report: &mut Report,
    ) {
        let Some(location) = &claims.location else {
            if self.count > 0 {
                let count = self.count;
                report.warning(
                    "claims",
                    format!("{count} of the sampled records are claims and will be set aside: there is no --claims"),
                    REMEDY,
                );
            }
            return;
        };
        let resolver = match Resolver::open(claims, shutdown) {
            Ok(resolver) => resolver,
            Err(error) => return report.problem("claims", format!("{error:#}"), REMEDY),
        };
        let asked = self.newest.as_deref().unwrap_or(NOBODYS);
        let fetched = tokio::time::timeout(ANSWER, resolver.fetch(Some(asked))).await;
        let fetched = fetched.unwrap_or_else(|_| {
            Err(Unavailable {
                error: format!("no object within {ANSWER:?}"),
                took: ANSWER,
            })
        });
        self.fetched(location, fetched, report);
    }

    fn fetched(
        &self,
        location: &Location,
        fetched: Result<Content, Unavailable>,
        report: &mut Report,
    ) {
        let count = self.count;
        match fetched {
            Ok(Content::Unusable(_)) if count == 0 => {
                report.ok("claims", format!("{location} answers; no claim among the sampled records"));
            }
            Ok(Content::Unusable(reject)) => {
                let text = format!("the newest of {count} sampled claims is set aside: {reject}");
                match reject.reason {
                    Reason::ClaimMissing => report.problem("claims", text, REMEDY),
                    Reason::ClaimTooLarge => report.warning("claims", text, "raise --max-claim-mb"),
                    _ => report.warning("claims", text, "mend what sends the claims"),
                }
            }
            Ok(Content::Object(bytes)) => {
                let bytes = bytes.len();
                let text = format!("{location}: the newest of {count} sampled claims resolves, {bytes} bytes");
                report.ok("claims", text);
            }
            Ok(Content::Own) => {}
            Err(error) => report.problem(
                "claims",
                format!("{error}; partitions wait for it where a claim is met"),
                "check --claims: the folder is mounted and readable; the AWS_... variables are the bucket's, and allow \
                 s3:GetObject and s3:ListBucket, without which a missing object looks like a refusal",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    async fn judged(location: Option<Location>, values: &[&[u8]]) -> Vec<(Level, String)> {
        let mut sampled = Sampled::default();
        values.iter().for_each(|value| sampled.take(Some(value)));
        let claims = Claims {
            location,
            max_bytes: 1 << 20,
        };
        let mut report = Report::default();
        let shutdown = CancellationToken::new();
        sampled.judge(&claims, &shutdown, &mut report).await;
        let findings = report.findings.into_iter();
        findings.map(|one| (one.level, one.message)).collect()
    }

    #[tokio::test]
    async fn stores_and_claims() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("claims");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("empty"), b"").unwrap();
        let there = || Some(Location::Folder(folder.clone()));
        let nobodys = std::str::from_utf8(NOBODYS).unwrap();
        let good = nobodys.replace("tidemill-doctor/nobodys", "empty");
        let changed = good.replace(":0,", ":7,");
        let large = good.replace(":0,", ":99999999,");

        assert_eq!(judged(None, &[b"{}"]).await, []);
        let found = judged(None, &[b"{}", NOBODYS]).await;
        assert!(found[0].1.contains("1 of the sampled"), "{found:?}");
        for (values, level, says) in [
            (vec![&b"{}"[..]], Level::Ok, "answers"),
            (
                vec![NOBODYS, good.as_bytes()],
                Level::Ok,
                "2 sampled claims resolves",
            ),
            (
                vec![good.as_bytes(), NOBODYS],
                Level::Problem,
                "claim_missing",
            ),
            (vec![changed.as_bytes()], Level::Warning, "claim_tampered"),
            (vec![large.as_bytes()], Level::Warning, "claim_too_large"),
        ] {
            let found = judged(there(), &values).await;
            assert_eq!((found.len(), found[0].0), (1, level), "{found:?}");
            assert!(found[0].1.contains(says), "{found:?}");
        }
        let gone = Some(Location::Folder(place.path().join("gone")));
        assert_eq!(judged(gone, &[]).await[0].0, Level::Problem);
        // As if the folder could not be read, whatever rights the test has.
        let away = Location::Folder(folder.clone());
        let sampled = Sampled::default();
        let mut report = Report::default();
        let error = Unavailable {
            error: "503".into(),
            took: ANSWER,
        };
        sampled.fetched(&away, Err(error), &mut report);
        assert_eq!(report.findings[0].level, Level::Problem);
        assert!(report.findings[0].message.contains("503"));
    }
}
