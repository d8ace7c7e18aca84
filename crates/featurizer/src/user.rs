//! What is stored of a user: the window, and what was written of it.

use tidemill_core::features::{Definitions, Window};

const VERSION: u8 = 1;
/// Bytes before the window: version, marks, partition, epoch, expires_at, scheduled.
const HEAD: usize = 1 + 1 + 4 + 4 + 8 + 8;

/// Fields that the hash may hold and that must go when they no longer apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// `_exact`
    pub inexact: bool,
    /// `_complete_from`
    pub incomplete: bool,
}

/// The state of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The partition whose records made it.
    pub partition: i32,
    /// The partition's epoch when they did.
    pub epoch: u32,
    /// When the hash ends (epoch ms), unless another record renews it.
    pub expires_at: i64,
    /// The score in the partition's sorted set of expiries; `None` where the user is not in it.
    pub scheduled: Option<i64>,
    /// What the hash holds beside the features.
    pub marks: Marks,
    /// The events.
    pub window: Window,
}

impl User {
    /// A user of whom nothing is known yet.
    pub fn new(partition: i32, epoch: u32) -> Self {
        Self {
            partition,
            epoch,
            expires_at: 0,
            scheduled: None,
            marks: Marks::default(),
            window: Window::default(),
        }
    }

    /// Appends the bytes that are stored.
    pub fn encode(&self, definitions: &Definitions, out: &mut Vec<u8>) {
        let marks = u8::from(self.marks.inexact) | u8::from(self.marks.incomplete) << 1;
        out.extend_from_slice(&[VERSION, marks]);
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.expires_at.to_le_bytes());
        out.extend_from_slice(&self.scheduled.unwrap_or(i64::MIN).to_le_bytes());
        self.window.encode(definitions, out);
    }

    /// Reads what [`User::encode`] wrote with the same definitions; `None` when it is something else.
    pub fn decode(definitions: &Definitions, bytes: &[u8]) -> Option<Self> {
        let (head, window) = bytes.split_at_checked(HEAD)?;
        let [VERSION, marks, rest @ ..] = head else {
            return None;
        };
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let scheduled = i64::from_le_bytes(rest.try_into().ok()?);
        Some(Self {
            partition: i32::from_le_bytes(*partition),
            epoch: u32::from_le_bytes(*epoch),
            expires_at: i64::from_le_bytes(*expires_at),
            scheduled: (scheduled != i64::MIN).then_some(scheduled),
            marks: Marks {
                inexact: marks & 1 != 0,
                incomplete: marks & 2 != 0,
            },
            window: Window::decode(definitions, window)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_read_back_and_their_prefixes_do_not() {
        let definitions = Definitions::standard();
        let mut user = User::new(3, 0xdead_beef);
        user.expires_at = 17;
        user.scheduled = Some(-2);
        user.marks.incomplete = true;
        let mut bytes = Vec::new();
        user.encode(&definitions, &mut bytes);
        assert_eq!(User::decode(&definitions, &bytes), Some(user));
        for end in 0..bytes.len() {
            assert_eq!(User::decode(&definitions, &bytes[..end]), None);
        }
    }
}
