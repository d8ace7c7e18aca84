//! The stream of simulated events, in event time: a pure function of its settings, without clock or I/O.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1};

use super::agenda::Agenda;
use super::campaign::{self, Kind, Strike};
use super::event::{Event, LabeledEvent, Time, Transaction, UserEvent};
use super::population::{Population, hour, log_normal};

/// Campaigns begin before the world does, so that its first minutes have fraud too. Hardly one lasts longer.
const LONGEST_CAMPAIGN_MS: f64 = 120_000.0;

/// The kind of world, and its size.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The same seed and settings give the same events, byte for byte.
    pub seed: u64,
    /// Time at which the world begins (epoch ms).
    pub start_ms: i64,
    /// Payments per second of event time, above zero.
    pub rate: f64,
    /// Number of payments.
    pub count: u64,
    /// Number of card holders.
    pub customers: usize,
    /// Share of payments that are fraud, 0..1.
    pub fraud_share: f64,
    /// Mean time until the truth about a payment is known, in milliseconds.
    pub label_delay_ms: f64,
    /// Views, logins and the like per payment.
    pub browsing: f64,
}

/// An event and, for payments, the planted truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// The event to write.
    pub event: Event,
    /// The kind of fraud a payment is, if it is one.
    pub fraud: Option<Kind>,
}

/// Iterates over all events, by time; events of one time come in a fixed order.
///
/// Each payment is followed by its customer's purchase event and, later, by its label. After the last payment the
/// outstanding labels follow, so that every payment has exactly one.
pub struct Traffic {
    settings: Settings,
    rng: ChaCha12Rng,
    population: Population,
    agenda: Agenda<Task>,
    /// Time of the latest honest payment, with fractions of a millisecond so that high rates hold.
    buying_ms: f64,
    /// Time at which the latest campaign begins.
    campaign_ms: f64,
    payments: u64,
}

impl Traffic {
    /// The world of these settings, before its first event.
    pub fn new(settings: Settings) -> Traffic {
        let mut rng = ChaCha12Rng::seed_from_u64(settings.seed);
        let population = Population::new(settings.customers, &mut rng);
        let start = settings.start_ms as f64;
        let mut traffic = Traffic {
            settings,
            rng,
            population,
            agenda: Agenda::new(),
            buying_ms: start,
            campaign_ms: start - LONGEST_CAMPAIGN_MS,
            payments: 0,
        };
        traffic.plan_purchase();
        traffic.plan_campaign();
        traffic
    }

    fn plan_purchase(&mut self) {
        let per_second = self.settings.rate * (1.0 - self.settings.fraud_share);
        self.buying_ms += self.exponential(1_000.0 / per_second);
        self.agenda.plan(self.buying_ms as i64, Task::Buy);
    }

    fn plan_campaign(&mut self) {
        if self.settings.fraud_share > 0.0 {
            let per_second =
                self.settings.rate * self.settings.fraud_share / campaign::MEAN_STRIKES;
            self.campaign_ms += self.exponential(1_000.0 / per_second);
            self.agenda.plan(self.campaign_ms as i64, Task::Campaign);
        }
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        let unit: f64 = Exp1.sample(&mut self.rng);
        unit * mean
    }

    fn honest_payment(&mut self, time_ms: i64) -> Happening {
        let rng = &mut self.rng;
        let customer = self.population.buyer(time_ms, rng);
        let merchant = self.population.shop(rng);
        let person = &self.population.customers[customer];
        let ordinary = person.usual_amount
            * self.population.merchants[merchant].price_level
            * log_normal(0.0, 0.5, rng);
        // Occasionally a large purchase: a sofa, a holiday.
        let amount = if rng.random_bool(0.015) {
            ordinary * 6.0
        } else {
            ordinary
        };
        let abroad = rng.random_bool(person.abroad);
        self.payment(time_ms, customer, merchant, amount, abroad, None)
    }

    fn fraud(&mut self, time_ms: i64, strike: &Strike) -> Happening {
        let Strike {
            kind,
            customer,
            merchant,
            amount,
            abroad,
            ..
        } = *strike;
        self.payment(time_ms, customer, merchant, amount, abroad, Some(kind))
    }

    fn payment(
        &mut self,
        time_ms: i64,
        customer: usize,
        merchant: usize,
        amount: f64,
        abroad: bool,
        fraud: Option<Kind>,
    ) -> Happening {
        let person = &self.population.customers[customer];
        let shop = &self.population.merchants[merchant];
        let transaction = Transaction {
            transaction_id: format!("t_{:x}_{}", self.settings.seed, self.payments),
            user_id: person.id.clone(),
            amount: (amount.max(0.2) * 100.0).round() / 100.0,
            hour_of_day: hour(time_ms, person.utc_offset),
            is_international: u8::from(abroad),
            merchant_risk_score: shop.risk,
            timestamp: Time(time_ms),
        };
        let category = shop.category;
        self.payments += 1;
        self.plan_user_events(&transaction, category, fraud);
        self.plan_label(&transaction, fraud);
        Happening {
            event: Event::Transaction(transaction),
            fraud,
        }
    }

    /// Plans the purchase event at the same moment, and the customer's browsing afterwards.
    fn plan_user_events(
        &mut self,
        transaction: &Transaction,
        category: &'static str,
        fraud: Option<Kind>,
    ) {
        let time_ms = transaction.timestamp.0;
        let user_id = &transaction.user_id;
        let action = |action, amount, timestamp, item_category| {
            Event::User(UserEvent {
                user_id: user_id.clone(),
                action,
                amount,
                timestamp: Time(timestamp),
                item_category,
            })
        };
        let purchase = action(
            "purchase",
            Some(transaction.amount),
            time_ms,
            Some(category),
        );
        self.agenda.plan(
            time_ms,
            Task::Tell(Happening {
                event: purchase,
                fraud: None,
            }),
        );
        let mut browsing = if fraud.is_none() {
            self.settings.browsing
        } else {
            0.0
        };
        while browsing > 0.0 && self.rng.random_bool(browsing.min(1.0)) {
            browsing -= 1.0;
            let later_ms = time_ms + self.exponential(3_000.0) as i64;
            let event = match self.rng.random_range(0..10) {
                0..6 => action("view", None, later_ms, Some(category)),
                6..8 => action("add_to_cart", None, later_ms, Some(category)),
                _ => action("login", None, later_ms, None),
            };
            self.agenda
                .plan(later_ms, Task::Tell(Happening { event, fraud: None }));
        }
    }

    fn plan_label(&mut self, transaction: &Transaction, fraud: Option<Kind>) {
        let score = rule_score(transaction);
        let label_ms =
            transaction.timestamp.0 + self.exponential(self.settings.label_delay_ms) as i64;
        let label = LabeledEvent {
            transaction: transaction.clone(),
            fraud_score: (score * 10_000.0).round() / 10_000.0,
            is_fraud: score > 0.85,
            label: u8::from(fraud.is_some()),
            label_timestamp: Time(label_ms),
        };
        self.agenda.plan(
            label_ms,
            Task::Tell(Happening {
                event: Event::Label(label),
                fraud: None,
            }),
        );
    }
}

impl Iterator for Traffic {
    type Item = Happening;

    fn next(&mut self) -> Option<Happening> {
        loop {
            let (time_ms, task) = self.agenda.next()?;
            let full = self.payments >= self.settings.count;
            match task {
                Task::Tell(happening) => return Some(happening),
                _ if full => {}
                Task::Strike(_) if time_ms < self.settings.start_ms => {}
                Task::Strike(strike) => return Some(self.fraud(time_ms, &strike)),
                Task::Campaign => {
                    for strike in campaign::plan(time_ms, &self.population, &mut self.rng) {
                        self.agenda.plan(strike.time_ms, Task::Strike(strike));
                    }
                    self.plan_campaign();
                }
                Task::Buy => {
                    self.plan_purchase();
                    return Some(self.honest_payment(time_ms));
                }
            }
        }
    }
}

/// The score, 0..1, of hand-written rules that a model is to replace: they know the obvious cases.
fn rule_score(transaction: &Transaction) -> f64 {
    let amount = (transaction.amount / 100.0).max(0.01).ln();
    let abroad = f64::from(transaction.is_international);
    let night = f64::from(u8::from(transaction.hour_of_day < 6));
    let sum =
        -4.5 + 0.9 * amount + 1.8 * abroad + 5.0 * transaction.merchant_risk_score + 0.8 * night;
    1.0 / (1.0 + (-sum).exp())
}

/// A planned step of the simulation.
enum Task {
    /// The next honest payment.
    Buy,
    /// The next campaign begins.
    Campaign,
    /// A fraudulent payment.
    Strike(Strike),
    /// An event decided earlier is written.
    Tell(Happening),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn settings(seed: u64) -> Settings {
        Settings {
            seed,
            start_ms: 1_771_151_400_000,
            rate: 50.0,
            count: 20_000,
            customers: 500,
            fraud_share: 0.03,
            label_delay_ms: 60_000.0,
            browsing: 0.5,
        }
    }

    #[test]
    fn one_seed_one_world() {
        let first: Vec<Happening> = Traffic::new(settings(7)).collect();
        let again: Vec<Happening> = Traffic::new(settings(7)).collect();
        let other: Vec<Happening> = Traffic::new(settings(8)).collect();
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    #[test]
    fn everything_in_order_and_every_payment_with_purchase_and_label() {
        let mut transactions = HashSet::new();
        let mut labels = HashSet::new();
        let (mut purchases, mut others, mut frauds, mut labeled_frauds) = (0, 0, 0, 0);
        let mut last_ms = i64::MIN;
        for happening in Traffic::new(settings(1)) {
            assert!(happening.event.time_ms() >= last_ms);
            last_ms = happening.event.time_ms();
            match happening.event {
                Event::Transaction(transaction) => {
                    assert!(transactions.insert(transaction.transaction_id));
                    frauds += u64::from(happening.fraud.is_some());
                }
                Event::User(event) if event.action == "purchase" => purchases += 1,
                Event::User(_) => others += 1,
                Event::Label(labeled) => {
                    labeled_frauds += u64::from(labeled.label);
                    assert!(labeled.label_timestamp >= labeled.transaction.timestamp);
                    assert!(labels.insert(labeled.transaction.transaction_id));
                }
            }
        }
        assert_eq!(transactions.len(), 20_000);
        assert_eq!(transactions, labels);
        assert_eq!(purchases, 20_000);
        assert!((8_000..12_000).contains(&others), "{others}");
        assert!((400..800).contains(&frauds), "{frauds}");
        assert_eq!(frauds, labeled_frauds);
    }

    #[test]
    fn the_pace_is_the_rate() {
        let times: Vec<i64> = Traffic::new(settings(3))
            .filter(|happening| matches!(happening.event, Event::Transaction(_)))
            .map(|happening| happening.event.time_ms())
            .collect();
        let seconds = (times[times.len() - 1] - times[0]) as f64 / 1_000.0;
        let rate = times.len() as f64 / seconds;
        assert!((48.0..52.0).contains(&rate), "{rate}");
    }
}
