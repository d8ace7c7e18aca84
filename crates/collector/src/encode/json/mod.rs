//! A strict splitter of JSON texts: one pass validates the whole and hands out members as slices of the text.
//!
//! Values stay as they were written, so that what fits no column can be kept to the letter, and numbers are
//! converted once, by the column that takes them.

mod scan;

use scan::{Quoted, Scan};
use std::fmt;

/// One member of an object: its key as written between the quotes, and its value as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The key without its quotes, escapes and all.
    pub(crate) key: &'a str,
    /// The key holds a backslash, so that it has to be decoded before it is compared.
    pub(crate) escaped: bool,
    /// The value, without surrounding white space.
    pub(crate) value: &'a str,
}

/// The reason why a text is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It is JSON, but of another type.
    OtherType,
    /// It is not JSON: what was expected, and at which byte.
    Syntax { expected: &'static str, at: usize },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherType => f.write_str("the value is JSON, but not an object"),
            Self::Syntax { expected, at } => write!(f, "expected {expected} at byte {at}"),
        }
    }
}

/// Splits an object into its members, in their order; what `members` held before is dropped.
pub(crate) fn members<'a>(text: &'a str, members: &mut Vec<Member<'a>>) -> Result<(), Malformed> {
    members.clear();
    let mut scan = Scan::new(text);
    scan.space();
    if scan.peek() != Some(b'{') {
        scan.value()?;
        scan.end()?;
        return Err(Malformed::OtherType);
    }
    scan.pass();
    scan.space();
    if scan.peek() == Some(b'}') {
        scan.pass();
        return scan.end();
    }
    loop {
        let start = scan.at() + 1;
        let Quoted { end, escaped } = scan.key()?;
        let key = &text[start..end];
        let start = scan.at();
        scan.value()?;
        let value = &text[start..scan.at()];
        members.push(Member {
            key,
            escaped,
            value,
        });
        scan.space();
        match scan.peek() {
            Some(b',') => scan.pass(),
            Some(b'}') => break,
            _ => return scan.expected("a comma or a closing brace"),
        }
        scan.space();
    }
    scan.pass();
    scan.end()
}

/// Splits an array into its elements; `false` when the text is no array. The text must have been validated.
pub(crate) fn elements<'a>(text: &'a str, mut each: impl FnMut(&'a str) -> bool) -> bool {
    let mut scan = Scan::new(text);
    if scan.peek() != Some(b'[') {
        return false;
    }
    scan.pass();
    scan.space();
    while scan.peek() != Some(b']') {
        let start = scan.at();
        if scan.value().is_err() || !each(&text[start..scan.at()]) {
            return false;
        }
        scan.space();
        if scan.peek() == Some(b',') {
            scan.pass();
            scan.space();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;
    use std::collections::BTreeMap;

    fn split(text: &str) -> Result<Vec<(&str, &str)>, Malformed> {
        let mut found = Vec::new();
        members(text, &mut found)?;
        Ok(found
            .iter()
            .map(|member| (member.key, member.value))
            .collect())
    }

    #[test]
    fn members_are_slices_of_the_text() {
        let text = r#" { "a" : -1.5e3 , "b\n":"x\"}", "c":[1,{"d":[]}], "e":{} } "#;
        let expected = [
            ("a", "-1.5e3"),
            ("b\\n", r#""x\"}""#),
            ("c", r#"[1,{"d":[]}]"#),
            ("e", "{}"),
        ];
        assert_eq!(split(text).unwrap(), expected);
        assert_eq!(split("{}").unwrap(), []);
        assert_eq!(split(" [1]"), Err(Malformed::OtherType));
        assert_eq!(split("7"), Err(Malformed::OtherType));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(split(&deep).unwrap().len(), 1);
    }

    #[test]
    fn elements_are_slices_of_the_text() {
        let mut found = Vec::new();
        assert!(elements("[1, [2,3] ,\"]\"]", |one| {
            found.push(one);
            true
        }));
        assert_eq!(found, ["1", "[2,3]", "\"]\""]);
        assert!(elements("[]", |_| false));
        assert!(!elements("{}", |_| true));
    }

    /// Texts that are JSON objects or nearly so.
    fn texts() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u12",
            "\\ud800",
            "\u{1}",
            "ä",
            " ",
            "\n",
            "-",
            "0",
            "12",
            ".5",
            "e+",
            "E7",
            "true",
            "false",
            "null",
            "nul",
            "\"k\"",
            "\"k\":1",
            "{\"a\":",
            "plain text longer than eight bytes",
            "\"\\n\"",
        ]);
        prop::collection::vec(token, 0..9).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn accepts_what_serde_json_accepts(body in texts(), wrap in any::<bool>()) {
            let text = if wrap { format!("{{\"x\":{body}}}") } else { body };
            let ours = split(&text);
            let valid = serde_json::from_str::<&RawValue>(&text).is_ok();
            match &ours {
                Err(Malformed::Syntax { .. }) => prop_assert!(!valid, "{text}"),
                _ => prop_assert!(valid, "{text}"),
            }
            if let (Ok(ours), Ok(theirs)) = (ours, serde_json::from_str::<BTreeMap<String, &RawValue>>(&text)) {
                let decode = |key: &str| serde_json::from_str::<String>(&format!("\"{key}\"")).unwrap();
                let ours: BTreeMap<String, &str> =
                    ours.into_iter().map(|(key, value)| (decode(key), value)).collect();
                let theirs: BTreeMap<String, &str> =
                    theirs.into_iter().map(|(key, value)| (key, value.get())).collect();
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
