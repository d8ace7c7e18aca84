//! The text of `/metrics`, read back into samples.

use std::borrow::Cow;

/// One line of the text: the value of a metric for some labels.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'t> {
    pub(super) name: &'t str,
    pub(super) labels: Vec<(&'t str, Cow<'t, str>)>,
    pub(super) value: f64,
}

impl Sample<'_> {
    /// The value of a label; empty where the sample does not have it.
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(own, _)| *own == name);
        found.map_or("", |(_, value)| value)
    }
}

/// All samples of a text.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = text(quoted)?;
            labels.push((label, value));
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.trim().parse().ok()?;
    Some(Sample {
        name,
        labels,
        value,
    })
}

/// The text up to the closing quote, and what follows that.
fn text(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (value, after) = (&quoted[..end], &quoted[end + 1..]);
    if !value.contains('\\') {
        return Some((value.into(), after));
    }
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next()? {
                'n' => plain.push('\n'),
                other => plain.push(other),
            },
            other => plain.push(other),
        }
    }
    Some((plain.into(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_values() {
        let page = "# HELP a b\n# TYPE a counter\na 3\n\nb{c=\"d\",e=\"f\"} 1.5\nh_bucket{le=\"+Inf\"} 7\n";
        let read: Vec<_> = samples(page).collect();
        let named: Vec<_> = read.iter().map(|one| (one.name, one.value)).collect();
        assert_eq!(named, [("a", 3.0), ("b", 1.5), ("h_bucket", 7.0)]);
        assert_eq!((read[1].label("c"), read[1].label("e")), ("d", "f"));
        assert_eq!((read[2].label("le"), read[2].label("c")), ("+Inf", ""));
    }

    #[test]
    fn labels_may_hold_what_separates_them() {
        let page = r#"a{b="x\"},c=\"\\",d="\n"} 2"#;
        let read = samples(page).next().unwrap();
        assert_eq!((read.label("b"), read.label("d")), (r#"x"},c="\"#, "\n"));
        assert_eq!(read.value, 2.0);
        for broken in ["", "a", "a{b=\"c} 1", "a{b} 1", "a x"] {
            assert_eq!(samples(broken).count(), 0, "{broken}");
        }
    }
}
