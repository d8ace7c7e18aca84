//! Judges who can reach the admin address.

use super::Report;
use crate::settings::Shared;

/// Judges the admin address: other machines that reach it see metrics, and the live page where they have the token.
pub(super) fn judge(shared: &Shared, report: &mut Report) {
    let Some(admin) = shared.admin else {
        report.ok(
            "admin",
            "--admin-addr none: no metrics, no health, no live page",
        );
        return;
    };
    let addr = admin.addr;
    match (addr.ip().is_loopback(), &shared.admin_token) {
        (true, None) => report.ok("admin", format!("{addr} is open to this machine only")),
        (_, Some(_)) => report.ok(
            "admin",
            format!("{addr}: the live page opens with the token alone"),
        ),
        (false, None) => report.warning(
            "admin",
            format!(
                "{addr} is open to other machines: whoever reaches it reads metrics and health, and nobody the live page"
            ),
            "use --admin-addr 127.0.0.1:PORT, or close the port to strangers and give --admin-token-file for the page",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::settings::tests::validate;

    #[test]
    fn an_address_that_is_open_to_strangers_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "0123456789abcdef").unwrap();
        let token = token.to_str().unwrap();
        let table = [
            (vec!["--admin-addr", "none"], Level::Ok),
            (vec!["--admin-addr", "127.0.0.1:1"], Level::Ok),
            (vec!["--admin-addr", "[::1]:1"], Level::Ok),
            (vec!["--admin-addr", "0.0.0.0:1"], Level::Warning),
            (vec!["--admin-addr", "10.0.0.7:1"], Level::Warning),
            (
                vec!["--admin-addr", "0.0.0.0:1", "--admin-token-file", token],
                Level::Ok,
            ),
        ];
        for (flags, level) in table {
            let mut report = Report::default();
            judge(&validate(&flags).unwrap(), &mut report);
            let [finding] = report.findings.as_slice() else {
                panic!("{report}");
            };
            assert_eq!(finding.level, level, "{flags:?}");
        }
    }
}
