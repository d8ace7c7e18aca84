//! The flags of claims.

use crate::location::Location;
use crate::settings::Problems;

/// The flags about claims, as the user wrote them.
#[derive(clap::Args, Clone, Debug)]
pub struct ClaimFlags {
    /// Place of the objects that claims name: a folder, or s3://bucket/prefix
    #[arg(
        long,
        env = "TIDEMILL_CLAIMS",
        value_name = "DIR|URL",
        global = true,
        hide_short_help = true
    )]
    pub claims: Option<String>,

    /// Limit of a claimed object; a record with a larger one is rejected
    #[arg(
        long,
        env = "TIDEMILL_MAX_CLAIM_MB",
        default_value = "64",
        value_name = "MB",
        global = true,
        hide_short_help = true
    )]
    pub max_claim_mb: String,
}

/// The store of claimed objects.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The place of the objects; `None` if claims cannot be resolved.
    pub location: Option<Location>,
    /// Limit of an object's size, in bytes.
    pub max_bytes: u64,
}

impl ClaimFlags {
    /// Validates the flags, adding to `problems`.
    pub fn validate(&self, problems: &mut Problems) -> Option<Claims> {
        let location = match &self.claims {
            Some(text) => problems.take("--claims", text, existing).map(Some),
            None => Some(None),
        };
        let megabytes = problems.take("--max-claim-mb", &self.max_claim_mb, |text| {
            let count = text.parse().ok().filter(|count| (1..=1024).contains(count));
            count.ok_or_else(|| "use megabytes, from 1 to 1024".to_owned())
        });
        let megabytes: u64 = megabytes?;
        Some(Claims {
            location: location?,
            max_bytes: megabytes << 20,
        })
    }
}

/// A bucket, or a folder that exists: a missing folder is a mistake now, and would be an outage later.
fn existing(text: &str) -> Result<Location, String> {
    match Location::parse(text)? {
        Location::Folder(folder) if !folder.is_dir() => {
            Err("there is no such folder; make it, or give another".into())
        }
        location => Ok(location),
    }
}
