//! The change of a group's lag between two measurements.

use super::Group;
use crate::doctor::Report;
use crate::kafka::lag::Lag;
use std::time::Duration;

/// Records may be this old in normal operation before the lag is a finding.
const GRACE: Duration = Duration::from_secs(5);

impl Group<'_> {
    /// Judges the change of the lag, at `now` in epoch milliseconds.
    pub(in crate::doctor) fn judge_lag(&self, now: i64, report: &mut Report) {
        // A group that has never started is not behind.
        if self.after.iter().all(|lag| lag.committed.is_none()) && self.members.is_empty() {
            return;
        }
        let records = |lags: &[Lag]| lags.iter().map(Lag::records).sum::<i64>();
        let (before, behind) = (records(self.before), records(self.after));
        let seconds = self
            .after
            .iter()
            .map(|lag| lag.seconds(now))
            .fold(0.0, f64::max);
        let late = seconds > (self.patience + GRACE).as_secs_f64();
        if behind > before && late {
            self.grows(behind, seconds, report);
        } else if late && behind == before {
            report.warning(
                "lag",
                format!("{behind} records wait, the oldest for {seconds:.0} s, and none was read meanwhile"),
                match self.members {
                    [] => "start it",
                    _ => "see /readyz and the log for what holds it up",
                },
            );
        } else {
            report.ok(
                "lag",
                format!("{behind} records, the oldest {seconds:.0} s old"),
            );
        }
    }

    fn grows(&self, behind: i64, seconds: f64, report: &mut Report) {
        let sum = |lags: &[Lag], of: fn(&Lag) -> i64| lags.iter().map(of).sum::<i64>() as f64;
        let rate = |of| {
            (sum(self.after, of) - sum(self.before, of)) / self.between.as_secs_f64().max(0.001)
        };
        let (come, done) = (
            rate(|lag| lag.log.end),
            rate(|lag| lag.committed.unwrap_or_default()),
        );
        let (workers, partitions) = (self.members.len(), self.after.len());
        let remedy = match workers {
            0 => "nobody reads: start it".to_owned(),
            _ if done < 1.0 => {
                "see /readyz and the log for what keeps its workers from writing".to_owned()
            }
            _ if workers < partitions => {
                format!(
                    "more --workers or processes: {workers} of at most {partitions} are at work"
                )
            }
            _ => "more partitions and workers; tidemill_stage_seconds tells what takes the time"
                .to_owned(),
        };
        report.problem(
            "lag",
            format!(
                "lag grows: {come:.0} records a second come in, {done:.0} are done; {behind} wait, the oldest for {seconds:.0} s"
            ),
            remedy,
        );
    }
}
