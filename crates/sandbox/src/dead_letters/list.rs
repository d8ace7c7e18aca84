//! The table of rejected records by group and reason, with samples.

use std::collections::{BTreeMap, HashSet};

use super::letter::Letter;

/// The name of a group in a sentence.
pub(super) fn named(group: &str) -> String {
    match group {
        "" => "a group unknown".to_owned(),
        group => format!("group {group}"),
    }
}

/// The table of these letters, one for each record and group; `resent` holds the marks of those that were sent back.
pub(super) fn list<'l>(
    topic: &str,
    letters: impl Iterator<Item = &'l Letter>,
    resent: &HashSet<String>,
    samples: usize,
) -> String {
    let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<&Letter>>> = BTreeMap::new();
    let mut count = 0;
    for letter in letters {
        let reasons = groups.entry(&letter.group).or_default();
        reasons.entry(&letter.reason).or_default().push(letter);
        count += 1;
    }
    let plural = if count == 1 { "" } else { "s" };
    let mut lines = vec![format!("{topic}: {count} dead letter{plural}")];
    for (group, reasons) in groups {
        lines.push(format!("rejected by {}:", named(group)));
        lines.push(format!(
            "  {:<20} {:>8} {:>9}  {:<17}  last",
            "reason", "records", "sent back", "first"
        ));
        for (reason, mut letters) in reasons {
            letters.sort_by_key(|letter| letter.age());
            let back = letters.iter().map(|letter| letter.mark());
            let back = back.filter(|mark| resent.contains(mark)).count();
            let minute = |letter: Option<&&Letter>| {
                letter.map_or_else(String::new, |letter| letter.minute())
            };
            lines.push(format!(
                "  {reason:<20} {:>8} {back:>9}  {:<17}  {}",
                letters.len(),
                minute(letters.first()),
                minute(letters.last())
            ));
            let newest = letters.iter().rev().take(samples);
            lines.extend(newest.map(|letter| format!("      {letter}")));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_each_group_with_the_newest_as_samples() {
        let letter = |place, group, reason| {
            let headers = [
                ("source.topic", "t"),
                ("source.group", group),
                ("reason", reason),
            ];
            Letter::for_test(place, &headers, "{}")
        };
        let letters = [
            letter(3, "b", "wrong_type"),
            letter(2, "a", "wrong_type"),
            letter(1, "a", "wrong_type"),
            letter(4, "", "(none)"),
        ];
        let resent = HashSet::from(["0:1:1".to_owned()]);
        let text = list("t.dead-letter", letters.iter(), &resent, 1);
        let expected = "\
t.dead-letter: 4 dead letters
rejected by a group unknown:
  reason                records sent back  first              last
  (none)                      1         0  1970-01-01T00:00Z  1970-01-01T00:00Z
      LETTER
rejected by group a:
  reason                records sent back  first              last
  wrong_type                  2         1  1970-01-01T00:00Z  1970-01-01T00:00Z
      LETTER
rejected by group b:
  reason                records sent back  first              last
  wrong_type                  1         0  1970-01-01T00:00Z  1970-01-01T00:00Z
      LETTER
";
        let letter = letters[1].to_string();
        assert_eq!(text, expected.replace("LETTER", &letter));
    }
}
