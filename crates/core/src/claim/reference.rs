//! Reads a claim as far as possible without its object.

use crate::record::{Reason, Reject};
use object_store::path::Path;
use serde::Deserialize;

/// Limit of a path: with a prefix before it, a longer one would exceed the stores' limits.
const PATH_BYTES: usize = 512;

/// A valid claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) path: Path,
    /// The object's length in bytes.
    pub(super) length: u64,
    pub(super) sha256: [u8; 32],
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(rename = "$claim", borrow)]
    claim: Written<'a>,
}

/// The fields of a claim; others are ignored.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    length: u64,
    sha256: String,
}

/// True if a value is a claim: an object whose first field is `$claim`. Two comparisons for nearly all others.
#[inline]
pub fn is_claim(value: Option<&[u8]>) -> bool {
    let value = value.unwrap_or_default();
    let Some(inner) = value.trim_ascii_start().strip_prefix(b"{") else {
        return false;
    };
    inner.trim_ascii_start().starts_with(b"\"$claim\"")
}

/// The object length that a value claims, to make room for it; 0 for an invalid claim, `None` for an ordinary value.
pub fn length(value: &[u8]) -> Option<u64> {
    if !is_claim(Some(value)) {
        return None;
    }
    let wrapped: Result<Wrapped<'_>, _> = serde_json::from_slice(value);
    Some(wrapped.map_or(0, |wrapped| wrapped.claim.length))
}

impl Reference {
    /// Reads a value for which [`is_claim`] holds.
    pub(super) fn read(value: &[u8]) -> Result<Self, Reject> {
        let invalid = |error: String| Reject::new(Reason::ClaimInvalid, error);
        let wrapped: Wrapped<'_> = serde_json::from_slice(value)
            .map_err(|error| invalid(format!("no claim of path, length and sha256: {error}")))?;
        let Written {
            path,
            length,
            sha256,
        } = wrapped.claim;
        check(&path).map_err(|why| invalid(format!("the claim's path {why}: {path:?}")))?;
        let path = Path::parse(&path).map_err(|error| invalid(error.to_string()))?;
        let sha256 = digest(&sha256)
            .ok_or_else(|| invalid("the claim's sha256 is not 64 hexadecimal digits".into()))?;
        Ok(Self {
            path,
            length,
            sha256,
        })
    }
}

/// Checks that a path stays below any place that it is joined to; the error says why not.
fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES {
        return Err("has no bytes, or more than 512");
    }
    if path.contains("://") {
        return Err("has a scheme");
    }
    if path.contains(|c: char| c.is_control() || c == '\\') {
        return Err("has a control character or a backslash");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("is not relative, or has an empty part, . or ..");
    }
    Ok(())
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(*high)? * 16 + digit(*low)?) as u8;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHA: &str = "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn claim(path: &str, length: &str, sha256: &str) -> String {
        format!(r#"{{"$claim":{{"path":{path:?},"length":{length},"sha256":"{sha256}"}}}}"#)
    }

    #[test]
    fn claims_are_told_by_their_first_field() {
        for value in ["{\"$claim\":1}", " {\n\"$claim\" : {} }", "{\"$claim\""] {
            assert!(is_claim(Some(value.as_bytes())), "{value}");
        }
        for value in [
            "",
            "{",
            "{}",
            "[\"$claim\"]",
            "{\"$claims\":1}",
            "{\"a\":1,\"$claim\":{}}",
        ] {
            assert!(!is_claim(Some(value.as_bytes())), "{value}");
            assert_eq!(length(value.as_bytes()), None);
        }
    }

    #[test]
    fn a_whole_claim_is_read() {
        let read = Reference::read(claim("a/b c.json", "17", SHA).as_bytes()).unwrap();
        assert_eq!((read.path.as_ref(), read.length), ("a/b c.json", 17));
        assert_eq!((read.sha256[0], read.sha256[31]), (0xe3, 0x55));
        let more = r#"{"$claim":{"path":"p","length":0,"type":"x","sha256":""#.to_owned() + SHA;
        assert!(Reference::read((more + "\"},\"b\":1}").as_bytes()).is_ok());
    }

    #[test]
    fn what_leads_elsewhere_or_says_too_little_is_invalid() {
        let long = "x".repeat(513);
        let paths = [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "s3://b/x",
            "file:///x",
            "a\\b",
            "a\nb",
            "a\u{0}b",
            &long,
        ];
        for path in paths {
            let path = serde_json::to_string(path).unwrap();
            let value = format!(r#"{{"$claim":{{"path":{path},"length":1,"sha256":"{SHA}"}}}}"#);
            let reject = Reference::read(value.as_bytes()).unwrap_err();
            assert_eq!(reject.reason, Reason::ClaimInvalid, "{path}");
        }
        for value in [
            claim("p", "-1", SHA),
            claim("p", "1.5", SHA),
            claim("p", "18446744073709551616", SHA),
            claim("p", "1", "abc"),
            claim("p", "1", &SHA.replace('b', "g")),
            r#"{"$claim":"p"}"#.to_owned(),
            r#"{"$claim":{}}"#.to_owned(),
            r#"{"$claim":"#.to_owned(),
        ] {
            assert!(Reference::read(value.as_bytes()).is_err(), "{value}");
        }
        assert_eq!(length(claim("p", "-1", SHA).as_bytes()), Some(0));
        assert_eq!(length(claim("..", "9", SHA).as_bytes()), Some(9));
    }

    proptest! {
        #[test]
        fn no_bytes_lead_out_of_the_place_or_end_the_process(
            path in prop::collection::vec(prop::sample::select(vec!["..", ".", "/", "a", "%2e", "\\", ":", "\u{0}", "ü"]), 0..8),
            cut in 0..200_usize,
            at in 0..200_usize,
            byte in any::<u8>(),
        ) {
            let path = serde_json::to_string(&path.concat()).unwrap();
            let mut value = format!(r#"{{"$claim":{{"path":{path},"length":1,"sha256":"{SHA}"}}}}"#).into_bytes();
            if let Ok(read) = Reference::read(&value) {
                let folder = std::path::Path::new("/place");
                let joined = folder.join(read.path.as_ref());
                let below = joined.components().all(|part| {
                    !matches!(part, std::path::Component::ParentDir)
                });
                prop_assert!(below && joined.starts_with(folder), "{joined:?}");
            }
            if let Some(place) = value.get_mut(at) {
                *place = byte;
            }
            value.truncate(cut);
            let _any = (Reference::read(&value), length(&value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let claim = [b"{\"$claim\"".as_slice(), &value].concat();
            let _any = (Reference::read(&claim), length(&claim), length(&value));
        }
    }
}
