//! The partition of a key: Java's clients use murmur2, librdkafka's by default CRC-32.

/// The partition to which Java clients, and ours, send a key (`toPositive(murmur2(key)) % count`).
pub(super) fn murmur2(key: &[u8], count: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |word: u32| {
        let word = word.wrapping_mul(M);
        (word ^ (word >> 24)).wrapping_mul(M)
    };
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let tail = rest
            .iter()
            .rev()
            .fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    ((hash & 0x7fff_ffff) % count) as i32
}

/// The partition to which librdkafka sends a key by default, and with it the clients for Python, Go, C# and others that
/// are built on it.
pub(super) fn crc32(key: &[u8], count: u32) -> i32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let crc = key.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    });
    (!crc % count) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of Kafka's own test of its murmur2.
    #[test]
    fn as_the_clients_do() {
        const LARGE: u32 = 0x7fff_ffff;
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            let positive = (hash & 0x7fff_ffff) as u32 % LARGE;
            assert_eq!(murmur2(key.as_bytes(), LARGE), positive as i32, "{key}");
        }
        // The check value of CRC-32 is 0xcbf43926.
        assert_eq!(crc32(b"123456789", 1000), (0xcbf4_3926_u32 % 1000) as i32);
    }
}
