//! A strict splitter of JSON texts: one pass validates the whole and hands out members as slices of the text.
//!
//! Values stay as they were written, so that what fits no column can be kept to the letter, and numbers are
//! converted once, by the column that takes them.

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

/// Why a text is not what was asked for.
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
    scan.at += 1;
    scan.space();
    if scan.peek() == Some(b'}') {
        scan.at += 1;
        return scan.end();
    }
    loop {
        let start = scan.at + 1;
        let escaped = scan.key()?;
        let key = &text[start..scan.key_end];
        let start = scan.at;
        scan.value()?;
        let value = &text[start..scan.at];
        members.push(Member {
            key,
            escaped,
            value,
        });
        scan.space();
        match scan.peek() {
            Some(b',') => scan.at += 1,
            Some(b'}') => break,
            _ => return scan.expected("a comma or a closing brace"),
        }
        scan.space();
    }
    scan.at += 1;
    scan.end()
}

/// Splits an array into its elements; `false` when the text is no array. The text must have been validated.
pub(crate) fn elements<'a>(text: &'a str, mut each: impl FnMut(&'a str) -> bool) -> bool {
    let mut scan = Scan::new(text);
    if scan.peek() != Some(b'[') {
        return false;
    }
    scan.at += 1;
    scan.space();
    while scan.peek() != Some(b']') {
        let start = scan.at;
        if scan.value().is_err() || !each(&text[start..scan.at]) {
            return false;
        }
        scan.space();
        if scan.peek() == Some(b',') {
            scan.at += 1;
            scan.space();
        }
    }
    true
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the last key ended, before its closing quote.
    key_end: usize,
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Marks, by its high bit, the first byte of `word` that ends a run of plain characters: a quote, a backslash or a
/// control character. Marks above the first may be wrong.
fn stops(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        Self {
            bytes,
            at: 0,
            key_end: 0,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        let at = self.at;
        Err(Malformed::Syntax { expected, at })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.expected("the end of the value")
        }
    }

    /// A key, the colon and the space around them; tells whether the key has escapes.
    fn key(&mut self) -> Result<bool, Malformed> {
        if self.peek() != Some(b'"') {
            return self.expected("a key in quotes");
        }
        let escaped = self.string()?;
        self.key_end = self.at - 1;
        self.space();
        if self.peek() != Some(b':') {
            return self.expected("a colon");
        }
        self.at += 1;
        self.space();
        Ok(escaped)
    }

    fn value(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{' | b'[') => self.nested(),
            _ => self.scalar(),
        }
    }

    /// An object or an array; open ones are kept on the heap, so that no depth can overflow the stack.
    fn nested(&mut self) -> Result<(), Malformed> {
        let mut closers = Vec::new();
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    let closer = if open == b'{' { b'}' } else { b']' };
                    self.at += 1;
                    self.space();
                    if self.peek() == Some(closer) {
                        self.at += 1;
                    } else {
                        closers.push(closer);
                        if closer == b'}' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended: close what ends with it, then go on to the next one.
            loop {
                let Some(closer) = closers.last().copied() else {
                    return Ok(());
                };
                self.space();
                match self.peek() {
                    Some(byte) if byte == closer => {
                        closers.pop();
                        self.at += 1;
                    }
                    Some(b',') => {
                        self.at += 1;
                        self.space();
                        if closer == b'}' {
                            self.key()?;
                        }
                        break;
                    }
                    _ => return self.expected("a comma or a closing bracket"),
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.expected("a value"),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.expected(word);
        }
        self.at += word.len();
        Ok(())
    }

    /// A text in quotes; tells whether it has escapes.
    fn string(&mut self) -> Result<bool, Malformed> {
        self.at += 1;
        let mut escaped = false;
        loop {
            while let Some(Ok(eight)) = self
                .bytes
                .get(self.at..self.at + 8)
                .map(<[u8; 8]>::try_from)
            {
                let stops = stops(u64::from_le_bytes(eight));
                if stops != 0 {
                    self.at += stops.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                None => return self.expected("a closing quote"),
                Some(0..0x20) => return self.expected("no control character in a text"),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.expected("four hexadecimal digits");
                }
                self.at += 5;
            }
            _ => return self.expected("an escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return self.expected("a digit");
        }
        Ok(())
    }
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
