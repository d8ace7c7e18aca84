//! The people of the simulated world: customers with their habits, and the merchants they buy from.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha12Rng;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Beta, Distribution, LogNormal};

/// A card holder.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) id: String,
    /// Offset of the customer's own clock from UTC, in hours.
    pub(crate) utc_offset: i64,
    /// Relative number of purchases.
    pub(crate) activity: f64,
    /// Median price of an ordinary purchase.
    pub(crate) usual_amount: f64,
    /// Share of purchases abroad.
    pub(crate) abroad: f64,
}

/// A shop.
#[derive(Clone, Debug)]
pub(crate) struct Merchant {
    pub(crate) category: &'static str,
    /// Factor on a customer's usual amount.
    pub(crate) price_level: f64,
    /// The acquirer's rating of it, 0..1, two decimals.
    pub(crate) risk: f64,
}

/// Category, median price level, and the two parameters of the Beta distribution of its merchants' risk.
const CATEGORIES: [(&str, f64, f64, f64); 8] = [
    ("groceries", 0.8, 1.2, 14.0),
    ("restaurants", 0.5, 1.5, 12.0),
    ("fashion", 1.4, 2.0, 9.0),
    ("electronics", 3.0, 2.2, 6.0),
    ("travel", 5.0, 2.0, 6.0),
    ("games", 0.3, 2.5, 5.0),
    ("downloads", 0.12, 2.5, 4.0),
    ("gift_cards", 1.0, 3.0, 3.5),
];

/// Relative number of purchases at each hour of a customer's own day.
const HOURS: [f64; 24] = [
    0.12, 0.07, 0.05, 0.04, 0.05, 0.09, 0.22, 0.45, 0.70, 0.85, 0.95, 1.05, 1.20, 1.10, 0.95, 0.95,
    1.05, 1.25, 1.40, 1.45, 1.30, 1.00, 0.60, 0.28,
];

/// Time zones of the customers, as UTC offset and share: somebody buys at every hour of UTC.
const ZONES: [(i64, f64); 8] = [
    (-8, 0.12),
    (-5, 0.2),
    (-3, 0.1),
    (0, 0.15),
    (1, 0.2),
    (3, 0.06),
    (5, 0.07),
    (8, 0.1),
];

/// All customers and merchants, and the weights with which they are drawn.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) customers: Vec<Customer>,
    pub(crate) merchants: Vec<Merchant>,
    /// Merchants by falling risk, for drawing those where fraud gathers.
    by_risk: Vec<usize>,
    /// For each hour of UTC, customers weighted by activity and their own hour.
    buyers: Vec<WeightedAliasIndex<f64>>,
    /// Merchants weighted by their popularity with honest customers.
    shops: WeightedAliasIndex<f64>,
}

impl Population {
    /// Generates `customers` people (at least one) and a fitting number of shops.
    pub(crate) fn new(customers: usize, rng: &mut ChaCha12Rng) -> Population {
        let customers: Vec<Customer> = (0..customers.max(1))
            .map(|number| customer(number, rng))
            .collect();
        let merchants: Vec<Merchant> = (0..(customers.len() / 10).clamp(40, 5_000))
            .map(|number| merchant(number, rng))
            .collect();
        let mut by_risk: Vec<usize> = (0..merchants.len()).collect();
        by_risk.sort_by(|&a, &b| merchants[b].risk.total_cmp(&merchants[a].risk));
        let buyers = (0..24)
            .map(|utc_hour| buyers_at(utc_hour, &customers))
            .collect();
        let liking = merchants
            .iter()
            .map(|merchant| (1.0 - merchant.risk).powi(2))
            .collect();
        let shops = WeightedAliasIndex::new(liking).expect("there are merchants, none of risk 1");
        Population {
            customers,
            merchants,
            by_risk,
            buyers,
            shops,
        }
    }

    /// Draws the customer of the next purchase at `time_ms`.
    pub(crate) fn buyer(&self, time_ms: i64, rng: &mut ChaCha12Rng) -> usize {
        self.buyers[hour(time_ms, 0) as usize].sample(rng)
    }

    /// Draws the shop of an honest customer: any, but rarely a risky one.
    pub(crate) fn shop(&self, rng: &mut ChaCha12Rng) -> usize {
        self.shops.sample(rng)
    }

    /// Draws a shop among the riskiest `share` of all.
    pub(crate) fn risky_shop(&self, share: f64, rng: &mut ChaCha12Rng) -> usize {
        let count = ((self.by_risk.len() as f64 * share) as usize).max(1);
        self.by_risk[rng.random_range(0..count)]
    }
}

/// The hour 0..24 of a time at a UTC offset.
pub(crate) fn hour(time_ms: i64, utc_offset: i64) -> u8 {
    (time_ms.div_euclid(3_600_000) + utc_offset).rem_euclid(24) as u8
}

fn customer(number: usize, rng: &mut ChaCha12Rng) -> Customer {
    let zones = ZONES
        .choose_weighted(rng, |zone| zone.1)
        .map_or(0, |zone| zone.0);
    let traveller = rng.random_bool(0.12);
    Customer {
        id: format!("u_{number:05}"),
        utc_offset: zones,
        activity: log_normal(0.0, 0.8, rng),
        usual_amount: log_normal(3.5, 0.5, rng),
        abroad: if traveller { 0.35 } else { 0.02 },
    }
}

fn merchant(number: usize, rng: &mut ChaCha12Rng) -> Merchant {
    let (category, price_level, alpha, beta) = CATEGORIES[number % CATEGORIES.len()];
    // The parameters are constants above zero, so the distribution exists.
    let risk = Beta::new(alpha, beta).map_or(0.1, |beta| beta.sample(rng));
    Merchant {
        category,
        price_level: price_level * log_normal(0.0, 0.3, rng),
        risk: (risk * 100.0).round().min(99.0) / 100.0,
    }
}

fn buyers_at(utc_hour: i64, customers: &[Customer]) -> WeightedAliasIndex<f64> {
    let weights: Vec<f64> = customers
        .iter()
        .map(|customer| {
            customer.activity * HOURS[(utc_hour + customer.utc_offset).rem_euclid(24) as usize]
        })
        .collect();
    WeightedAliasIndex::new(weights)
        .expect("there is at least one customer and every weight is above zero")
}

/// A sample of exp(N(mu, sigma)).
pub(crate) fn log_normal(mu: f64, sigma: f64, rng: &mut ChaCha12Rng) -> f64 {
    LogNormal::new(mu, sigma).map_or(mu.exp(), |distribution| distribution.sample(rng))
}
