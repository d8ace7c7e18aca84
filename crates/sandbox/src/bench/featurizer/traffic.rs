//! Events for the measurement: all users equally active, the hardest case for a program that batches by user, or as Zipf
//! has it.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Zipf};

use super::super::topic::Draft;
use crate::simulate::now_ms;

const DAY_MS: i64 = 86_400_000;
const CATEGORIES: [&str; 4] = ["electronics", "groceries", "fashion", "travel"];

/// Generates events, always the same ones but for their times.
pub(super) struct Traffic {
    users: u32,
    zipf: Option<Zipf<f64>>,
    random: ChaCha8Rng,
    made: u64,
}

impl Traffic {
    /// Traffic of so many users, equally active unless there is a Zipf exponent.
    pub(super) fn new(users: u32, zipf: Option<f64>) -> Result<Traffic> {
        let zipf = zipf.map(|exponent| Zipf::new(f64::from(users), exponent));
        Ok(Traffic {
            users,
            zipf: zipf.transpose().context("--zipf")?,
            random: ChaCha8Rng::seed_from_u64(4),
            made: 0,
        })
    }

    /// The next event: of now, or the next of `spread_over` events that are spread over the last 24 hours.
    pub(super) fn event(&mut self, draft: &mut Draft, spread_over: Option<u64>) -> Result<()> {
        let ago_ms = match spread_over {
            Some(all) => DAY_MS - DAY_MS * (self.made as i64) / (all.max(1) as i64),
            None => 0,
        };
        self.made += 1;
        let time = Timestamp::from_millisecond(now_ms() - ago_ms)?;
        let user = match &self.zipf {
            Some(zipf) => zipf.sample(&mut self.random) as u32 - 1,
            None => self.random.random_range(0..self.users),
        };
        let cents = self.random.random_range(100..20_000u32);
        let category = CATEGORIES[(cents % 4) as usize];
        write!(draft.key, "u_{user:05}")?;
        write!(
            draft.value,
            "{{\"user_id\":\"u_{user:05}\",\"action\":\"purchase\",\"amount\":{}.{:02},\
             \"timestamp\":\"{time:.3}\",\"item_category\":\"{category}\"}}",
            cents / 100,
            cents % 100
        )?;
        Ok(())
    }
}
