//! Fingerprints of records, by which a log is known again.

/// A fingerprint of a record, which tells if a log still holds the record that it held. It must never change.
pub fn fingerprint(timestamp: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = 0u64;
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    mix(timestamp.unwrap_or(-1) as u64);
    for bytes in [key, value] {
        let bytes = bytes.unwrap_or_default();
        mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(last));
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_differ_with_every_part() {
        let own = fingerprint(Some(1), Some(b"key"), Some(b"a value of some length"));
        assert_eq!(
            own,
            fingerprint(Some(1), Some(b"key"), Some(b"a value of some length"))
        );
        for other in [
            fingerprint(Some(2), Some(b"key"), Some(b"a value of some length")),
            fingerprint(Some(1), Some(b"kez"), Some(b"a value of some length")),
            fingerprint(Some(1), Some(b"key"), Some(b"a value of some lengti")),
            fingerprint(Some(1), Some(b"ke"), Some(b"ya value of some length")),
            fingerprint(None, None, None),
        ] {
            assert_ne!(own, other);
        }
    }
}
