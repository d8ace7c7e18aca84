//! Commands in Redis's own format (RESP), packed without an allocation each, and counted as they are written.

/// Packed commands, and their number.
#[derive(Debug, Default)]
pub struct Pack {
    bytes: Vec<u8>,
    commands: usize,
    scratch: Vec<u8>,
}

impl Pack {
    /// Begins a command with its name. The guard writes the number of words when it is dropped, so that it cannot
    /// differ from the words.
    pub fn command(&mut self, name: impl AsRef<[u8]>) -> Command<'_> {
        let begin = self.bytes.len();
        self.commands += 1;
        // Room for one digit; a longer number moves the words.
        self.bytes.extend_from_slice(b"*0\r\n");
        let mut command = Command {
            pack: self,
            begin,
            words: 0,
        };
        command.word(name);
        command
    }

    /// Packs a whole command, its name first.
    pub fn all<Word: AsRef<[u8]>>(&mut self, words: &[Word]) {
        if let Some((name, rest)) = words.split_first() {
            let mut command = self.command(name);
            rest.iter().for_each(|word| command.word(word));
        }
    }

    /// Appends another pack.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.commands += other.commands;
    }

    /// The number of commands.
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// The packed commands.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties the pack, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.commands = 0;
    }
}

/// A command that is being packed.
pub struct Command<'a> {
    pack: &'a mut Pack,
    begin: usize,
    words: usize,
}

impl Command<'_> {
    /// Appends a word.
    pub fn word(&mut self, word: impl AsRef<[u8]>) {
        self.words += 1;
        word_into(&mut self.pack.bytes, &[word.as_ref()]);
    }

    /// Appends one word made of two parts.
    pub fn joined(&mut self, one: &[u8], other: &[u8]) {
        self.words += 1;
        word_into(&mut self.pack.bytes, &[one, other]);
    }

    /// Appends a whole number as a word.
    pub fn number(&mut self, number: i64) {
        self.word(itoa::Buffer::new().format(number));
    }

    /// Appends a word that `write` produces.
    pub fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // RESP puts the length before the word, and Redis accepts no leading zeros to be overwritten later.
        let mut scratch = std::mem::take(&mut self.pack.scratch);
        scratch.clear();
        write(&mut scratch);
        self.word(&scratch);
        self.pack.scratch = scratch;
    }

    /// Appends words that were packed before.
    pub fn words(&mut self, words: &Words) {
        self.words += words.count;
        self.pack.bytes.extend_from_slice(&words.bytes);
    }
}

impl Drop for Command<'_> {
    fn drop(&mut self) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(self.words).as_bytes();
        let at = self.begin + 1;
        match digits {
            [digit] => self.pack.bytes[at] = *digit,
            _ => drop(self.pack.bytes.splice(at..=at, digits.iter().copied())),
        }
    }
}

/// Words of a command that is packed later, and their number.
#[derive(Debug, Default)]
pub struct Words {
    bytes: Vec<u8>,
    count: usize,
}

impl Words {
    /// Appends a word.
    pub fn word(&mut self, word: impl AsRef<[u8]>) {
        self.count += 1;
        word_into(&mut self.bytes, &[word.as_ref()]);
    }

    /// Appends a whole number as a word.
    pub fn number(&mut self, number: i64) {
        self.word(itoa::Buffer::new().format(number));
    }

    /// True if there is no word.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn word_into(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    bytes.push(b'$');
    bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    bytes.extend_from_slice(b"\r\n");
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.extend_from_slice(b"\r\n");
}

/// The words of the first command in `bytes`, and the bytes after it; `None` if there is no whole command.
pub(super) fn read(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (words, mut rest) = length(bytes, b'*')?;
    let mut command = Vec::new();
    for _ in 0..words {
        let (bytes, behind) = length(rest, b'$')?;
        let (word, behind) = behind.split_at_checked(bytes)?;
        command.push(word);
        rest = behind.strip_prefix(b"\r\n")?;
    }
    Some((command, rest))
}

fn length(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let bytes = bytes.strip_prefix(&[kind])?;
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    let number = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    Some((number, bytes[end..].strip_prefix(b"\r\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_look_as_redis_wants_them() {
        let mut pack = Pack::default();
        let mut command = pack.command("SET");
        command.joined(b"window:", b"u1");
        command.written(|out| out.extend_from_slice(b"twelve bytes"));
        command.number(-7);
        drop(command);
        let expected = "*4\r\n$3\r\nSET\r\n$9\r\nwindow:u1\r\n$12\r\ntwelve bytes\r\n$2\r\n-7\r\n";
        assert_eq!(pack.bytes(), expected.as_bytes());
        assert_eq!(pack.commands(), 1);
    }

    #[test]
    fn every_count_is_that_of_the_words_written() {
        for count in [0, 1, 8, 9, 10, 98, 99, 100, 1000] {
            let (mut pack, mut words) = (Pack::default(), Words::default());
            pack.all(&["FIRST", "1"]);
            let mut command = pack.command("MANY");
            for number in 0..count {
                command.number(number);
                words.number(number);
            }
            command.words(&words);
            drop(command);
            pack.all(&["LAST"]);
            assert_eq!((pack.commands(), words.is_empty()), (3, count == 0));
            let (first, rest) = read(pack.bytes()).unwrap();
            let (many, rest) = read(rest).unwrap();
            let (last, rest) = read(rest).unwrap();
            assert_eq!(
                (first, last),
                (vec![&b"FIRST"[..], b"1"], vec![&b"LAST"[..]])
            );
            assert_eq!((many.len() as i64, rest.len()), (1 + 2 * count, 0));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_command() {
        let mut pack = Pack::default();
        pack.all(&["SET", "key", "a\r\nvalue"]);
        assert!(read(pack.bytes()).is_some());
        for end in 0..pack.bytes().len() {
            assert_eq!(read(&pack.bytes()[..end]), None);
        }
    }
}
