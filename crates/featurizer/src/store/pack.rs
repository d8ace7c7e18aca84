//! Commands in Redis' own format, packed without an allocation for each.

/// Packed commands, and how many they are.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) bytes: Vec<u8>,
    pub(super) commands: usize,
    scratch: Vec<u8>,
}

impl Pack {
    /// Begins a command of so many words, its name included.
    pub(super) fn command(&mut self, words: usize) {
        self.commands += 1;
        self.header(b'*', words);
    }

    /// A word.
    pub(super) fn word(&mut self, word: impl AsRef<[u8]>) {
        let word = word.as_ref();
        self.header(b'$', word.len());
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// One word made of two parts.
    pub(super) fn joined(&mut self, one: &[u8], other: &[u8]) {
        self.header(b'$', one.len() + other.len());
        self.bytes.extend_from_slice(one);
        self.bytes.extend_from_slice(other);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A whole number as a word.
    pub(super) fn number(&mut self, number: i64) {
        self.word(itoa::Buffer::new().format(number));
    }

    /// A word that `write` appends.
    pub(super) fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // The length stands before the word, and Redis takes no leading zeros to be filled in later.
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        write(&mut scratch);
        self.word(&scratch);
        self.scratch = scratch;
    }

    /// A whole command.
    pub(super) fn all<Word: AsRef<[u8]>>(&mut self, words: &[Word]) {
        self.command(words.len());
        words.iter().for_each(|word| self.word(word));
    }

    /// Appends another pack.
    pub(super) fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.commands += other.commands;
    }

    /// Makes room for the next.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.commands = 0;
    }

    fn header(&mut self, kind: u8, count: usize) {
        self.bytes.push(kind);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_look_as_redis_wants_them() {
        let mut pack = Pack::default();
        pack.command(4);
        pack.word("SET");
        pack.joined(b"window:", b"u1");
        pack.written(|out| out.extend_from_slice(b"twelve bytes"));
        pack.number(-7);
        let expected = "*4\r\n$3\r\nSET\r\n$9\r\nwindow:u1\r\n$12\r\ntwelve bytes\r\n$2\r\n-7\r\n";
        assert_eq!(pack.bytes, expected.as_bytes());
        assert_eq!(pack.commands, 1);
    }
}
