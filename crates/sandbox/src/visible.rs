//! Bytes of a record as a line of text in which nothing is invisible.

use std::fmt::Write as _;

/// The text of the bytes. Control characters, characters without a glyph and invalid UTF-8 are escaped; everything else
/// stays.
pub(crate) fn visible(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || has_no_glyph(letter) {
                line.extend(letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string never fails.
            write!(line, "\\x{byte:02x}").ok();
        }
    }
    line
}

/// True for blanks that look like others or like nothing, joiners, direction marks and the byte order mark.
fn has_no_glyph(letter: char) -> bool {
    matches!(
        letter,
        '\u{a0}'
            | '\u{ad}'
            | '\u{180e}'
            | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{205f}'..='\u{206f}'
            | '\u{3000}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_invisible_is_escaped_and_nothing_else() {
        let table: [(&[u8], &str); 7] = [
            (br#"{"user_id":"u \"1\""}"#, r#"{"user_id":"u \"1\""}"#),
            ("größer 😀 日本".as_bytes(), "größer 😀 日本"),
            (b"\xef\xbb\xbf{}", r"\u{feff}{}"),
            (b"\0\0\0\0\x07{}", r"\u{0}\u{0}\u{0}\u{0}\u{7}{}"),
            (b"a\r\n\tb", r"a\r\n\tb"),
            (b"\x1f\x8b\x08", r"\u{1f}\x8b\u{8}"),
            ("u\u{200b}1\u{a0}".as_bytes(), r"u\u{200b}1\u{a0}"),
        ];
        for (bytes, expected) in table {
            assert_eq!(visible(bytes), expected);
        }
    }
}
