//! Suggests the word that was meant instead of a misspelt one.

/// The candidate that a misspelt word probably means.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::osa_distance(word, candidate);
    let closest = candidates.min_by_key(distance)?;
    (distance(&closest) <= 1 + word.len() / 6).then_some(closest)
}

/// The fault of a key that a file may not have, as the end of a sentence that begins with the key.
pub fn unknown_key(key: &str, known: &[&str]) -> String {
    match closest(key, known.iter().copied()) {
        Some(meant) => format!("is unknown: did you mean {meant}?"),
        None => format!("is unknown: remove it or write one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_find_their_word_and_other_words_none() {
        let keys = ["threshold", "output", "input", "golden", "ttl_s"];
        for (word, meant) in [
            ("treshold", Some("threshold")),
            ("inptu", Some("input")),
            ("ttls", Some("ttl_s")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(word, keys.into_iter()), meant, "{word}");
        }
        assert_eq!(closest("a", [].into_iter()), None);
        let told = unknown_key("colour", &keys);
        assert!(told.ends_with("one of threshold, output, input, golden, ttl_s"));
    }
}
