//! Fraud in campaigns of several payments that belong together.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1};

use super::population::{Population, log_normal};

/// The kinds of fraud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A robot tries a stolen card with many tiny payments. Each looks harmless; only the card's recent history shows
    /// it.
    CardTesting,
    /// Somebody else uses a customer's account: few payments, large, often from abroad, at risky shops, at any hour.
    AccountTakeover,
    /// Cards seen by a cracked shop are used elsewhere, one payment each.
    CompromisedMerchant,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [
        Kind::CardTesting,
        Kind::AccountTakeover,
        Kind::CompromisedMerchant,
    ];

    /// The name for people, such as `card testing`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::CardTesting => "card testing",
            Kind::AccountTakeover => "account takeover",
            Kind::CompromisedMerchant => "compromised merchant",
        }
    }
}

/// One fraudulent payment of a campaign.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub(crate) time_ms: i64,
    pub(crate) kind: Kind,
    pub(crate) customer: usize,
    pub(crate) merchant: usize,
    pub(crate) amount: f64,
    pub(crate) abroad: bool,
}

/// Mean number of strikes of a campaign, over the kinds as [`plan`] mixes them; converts a share of payments into a
/// rate of campaigns.
pub(crate) const MEAN_STRIKES: f64 = 0.3 * 14.5 + 0.45 * 4.0 + 0.25 * 16.0;

/// Plans a campaign that begins at `start_ms`.
pub(crate) fn plan(start_ms: i64, population: &Population, rng: &mut ChaCha12Rng) -> Vec<Strike> {
    match rng.random::<f64>() {
        kind if kind < 0.3 => card_testing(start_ms, population, rng),
        kind if kind < 0.75 => account_takeover(start_ms, population, rng),
        _ => compromised_merchant(start_ms, population, rng),
    }
}

fn card_testing(start_ms: i64, population: &Population, rng: &mut ChaCha12Rng) -> Vec<Strike> {
    let customer = rng.random_range(0..population.customers.len());
    let abroad = rng.random_bool(0.5);
    let mut time_ms = start_ms;
    let count = rng.random_range(8..=21);
    let strike = |_| {
        time_ms += pause(1_500.0, rng);
        Strike {
            time_ms,
            kind: Kind::CardTesting,
            customer,
            merchant: population.risky_shop(0.5, rng),
            amount: rng.random_range(0.5..5.0),
            abroad,
        }
    };
    (0..count).map(strike).collect()
}

fn account_takeover(start_ms: i64, population: &Population, rng: &mut ChaCha12Rng) -> Vec<Strike> {
    let customer = rng.random_range(0..population.customers.len());
    let usual = population.customers[customer].usual_amount;
    let abroad = rng.random_bool(0.75);
    let mut time_ms = start_ms;
    let count = rng.random_range(2..=6);
    let strike = |_| {
        time_ms += pause(10_000.0, rng);
        Strike {
            time_ms,
            kind: Kind::AccountTakeover,
            customer,
            merchant: population.risky_shop(0.15, rng),
            amount: (usual * log_normal(2.2, 0.5, rng)).min(9_500.0),
            abroad,
        }
    };
    (0..count).map(strike).collect()
}

fn compromised_merchant(
    start_ms: i64,
    population: &Population,
    rng: &mut ChaCha12Rng,
) -> Vec<Strike> {
    let spent_at = population.risky_shop(0.12, rng);
    let mut time_ms = start_ms;
    let count = rng.random_range(8..=24);
    let strike = |_| {
        time_ms += pause(3_000.0, rng);
        let merchant = if rng.random_bool(0.6) {
            spent_at
        } else {
            population.risky_shop(0.15, rng)
        };
        Strike {
            time_ms,
            kind: Kind::CompromisedMerchant,
            customer: rng.random_range(0..population.customers.len()),
            merchant,
            amount: log_normal(5.3, 0.6, rng),
            abroad: rng.random_bool(0.6),
        }
    };
    (0..count).map(strike).collect()
}

/// A random pause of at least one millisecond.
fn pause(mean_ms: f64, rng: &mut ChaCha12Rng) -> i64 {
    let unit: f64 = Exp1.sample(rng);
    (unit * mean_ms) as i64 + 1
}
