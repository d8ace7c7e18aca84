//! The resources that a process has used, as Linux counts them.

use std::fs;
use std::time::Duration;

/// Clock ticks per second in /proc, which Linux fixes at 100 for all programs.
const TICKS: f64 = 100.0;

/// The peak memory of a process, in bytes; `None` once it has ended.
pub(super) fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// The processor time that a process has used; `None` if it cannot be read.
pub(super) fn used(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything but ends with the last bracket: user time is the 12th field, system time
    // the 13th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let used = (ticks()? + ticks()?) / TICKS;
    (used > 0.0).then(|| Duration::from_secs_f64(used))
}
