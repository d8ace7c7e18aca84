//! The grammar of JSON, byte by byte; texts eight bytes at a time.

use super::Malformed;

/// A position in a text that is being validated.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A text in quotes that was read.
pub(super) struct Quoted {
    /// The place of its closing quote.
    pub(super) end: usize,
    /// It has escapes.
    pub(super) escaped: bool,
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
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        Self { bytes, at: 0 }
    }

    /// The place in the text.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Passes a byte that was seen.
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        let at = self.at;
        Err(Malformed::Syntax { expected, at })
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.expected("the end of the value")
        }
    }

    /// A key, the colon and the space around them.
    pub(super) fn key(&mut self) -> Result<Quoted, Malformed> {
        if self.peek() != Some(b'"') {
            return self.expected("a key in quotes");
        }
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.expected("a colon");
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    pub(super) fn value(&mut self) -> Result<(), Malformed> {
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
    fn string(&mut self) -> Result<Quoted, Malformed> {
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
                    let end = self.at;
                    self.at += 1;
                    return Ok(Quoted { end, escaped });
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
