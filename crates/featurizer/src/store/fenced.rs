//! Steps that are written only while nobody else has written.

use super::connection::{Lost, Redis, texts};
use super::keys::Keys;
use super::pack::Pack;
use super::step::Step;
use redis::Value;
use std::collections::BTreeMap;

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is written. Redis refused single commands in it where `errors` is not 0, as it does when another
    /// program keeps something else under the same key.
    Applied {
        /// How many commands were refused.
        errors: usize,
        /// The first error.
        error: Option<String>,
    },
    /// Nothing is written: another has written, or Redis lost what was.
    Refused,
}

/// The watched keys as they are: nobody can change them unnoticed until the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Whose prefix it is.
    pub owner: Option<String>,
    /// The positions, in the order they were asked for.
    pub positions: Vec<Option<String>>,
}

/// The connection of a worker, and what it holds.
pub struct Fenced {
    /// The connection, for reads outside of steps.
    pub redis: Redis,
    pub(super) keys: Keys,
    owner: String,
    /// The positions of claimed partitions as they were written last.
    held: BTreeMap<i32, String>,
    /// What the watch behind the last step showed.
    watched: Option<Watched>,
    under_way: Option<UnderWay>,
    pub(super) pack: Pack,
}

/// A step that was sent and not answered yet.
struct UnderWay {
    commands: usize,
    positions: Vec<(i32, String)>,
}

impl Fenced {
    /// Nothing is held yet. `owner` is what stands in the prefix's owner key while it is ours.
    pub fn new(redis: Redis, keys: Keys, owner: String) -> Self {
        let (held, pack) = (BTreeMap::new(), Pack::default());
        Self {
            redis,
            keys,
            owner,
            held,
            watched: None,
            under_way: None,
            pack,
        }
    }

    /// The text in the owner key while the prefix is ours.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Connects anew; whatever was held has to be claimed again.
    pub fn connect(&mut self) -> Result<(), Lost> {
        self.drop_all();
        self.redis.connect()
    }

    /// Forgets what was held.
    pub fn drop_all(&mut self) {
        self.held.clear();
        self.watched = None;
        self.under_way = None;
    }

    /// Forgets these partitions.
    pub fn release(&mut self, partitions: &[i32]) {
        self.held
            .retain(|partition, _| !partitions.contains(partition));
        self.watched = None;
    }

    /// Watches and reads the owner and the positions of these partitions.
    pub fn look(&mut self, partitions: &[i32]) -> Result<Watched, Lost> {
        self.watched = None;
        self.pack.clear();
        self.pack.all(&["UNWATCH"]);
        self.watch_and_read(partitions.iter().copied());
        let mut answers = self.redis.ask(&self.pack)?;
        Ok(watched(answers.pop()))
    }

    /// Watches and reads the positions of further partitions, on top of those held.
    pub fn look_also(&mut self, partitions: &[i32]) -> Result<Vec<Option<String>>, Lost> {
        self.pack.clear();
        self.watch_and_read(partitions.iter().copied());
        let mut answers = self.redis.ask(&self.pack)?;
        Ok(watched(answers.pop()).positions)
    }

    fn watch_and_read(&mut self, partitions: impl Iterator<Item = i32>) {
        let mut names = vec![self.keys.owner()];
        names.extend(partitions.map(|partition| self.keys.position(partition)));
        for command in ["WATCH", "MGET"] {
            self.pack.command(1 + names.len());
            self.pack.word(command);
            names.iter().for_each(|name| self.pack.word(name));
        }
    }

    /// Writes a step right after [`Fenced::look`], whatever it has shown; the positions written are held from then
    /// on. `ownerless` has the owner written too.
    pub fn claim(&mut self, step: &mut Step, ownerless: bool) -> Result<Outcome, Lost> {
        if ownerless {
            step.pack.all(&["SET", &self.keys.owner(), &self.owner]);
        }
        self.transmit(step)?;
        self.outcome()
    }

    /// Sends a step and returns true, unless what is stored is not what was written last; [`Fenced::outcome`] waits
    /// for the answer.
    pub fn send(&mut self, step: &mut Step) -> Result<bool, Lost> {
        debug_assert!(self.under_way.is_none(), "one step at a time");
        let ours = self.is_ours()?;
        if ours {
            self.transmit(step)?;
        }
        Ok(ours)
    }

    /// Looks anew whether what is stored is what was written last.
    pub fn verify(&mut self) -> Result<bool, Lost> {
        self.watched = None;
        self.is_ours()
    }

    /// Compares what the watch shows with what was written last, and watches where nothing is.
    fn is_ours(&mut self) -> Result<bool, Lost> {
        self.watch_held()?;
        let held = self.held.values().map(|text| Some(text.as_str()));
        Ok(self.watched.as_ref().is_some_and(|watched| {
            watched.owner.as_deref() == Some(&self.owner)
                && held.eq(watched.positions.iter().map(Option::as_deref))
        }))
    }

    /// Begins the watch on owner and held positions where there is none.
    pub(super) fn watch_held(&mut self) -> Result<(), Lost> {
        if self.watched.is_none() {
            let partitions: Vec<i32> = self.held.keys().copied().collect();
            self.watched = Some(self.look(&partitions)?);
        }
        Ok(())
    }

    fn transmit(&mut self, step: &mut Step) -> Result<(), Lost> {
        step.complete();
        self.pack.clear();
        self.pack.all(&["MULTI"]);
        self.pack.append(&step.pack);
        self.pack.all(&["EXEC"]);
        let positions: Vec<(i32, String)> = step
            .positions
            .iter()
            .map(|(partition, position)| (*partition, position.to_string()))
            .collect();
        let commands = step.pack.commands;
        self.watched = None;
        let mut held: Vec<i32> = self.held.keys().copied().collect();
        held.extend(positions.iter().map(|(partition, _)| *partition));
        held.sort_unstable();
        held.dedup();
        self.watch_and_read(held.into_iter());
        self.under_way = Some(UnderWay {
            commands,
            positions,
        });
        self.redis.send(&self.pack.bytes)
    }

    /// Whether a step was sent and its outcome not asked for yet.
    pub fn under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits for the outcome of the step under way.
    pub fn outcome(&mut self) -> Result<Outcome, Lost> {
        let Some(UnderWay {
            commands,
            positions,
        }) = self.under_way.take()
        else {
            return Ok(Outcome::Applied {
                errors: 0,
                error: None,
            });
        };
        for _ in 0..=commands {
            // OK and QUEUED; what could not be queued fails the EXEC.
            self.redis.receive()?;
        }
        let executed = self.redis.receive()?;
        self.redis.receive()?;
        let seen = self.redis.receive()?;
        match executed {
            Value::Nil => Ok(Outcome::Refused),
            Value::Array(answers) => {
                self.held.extend(positions);
                self.watched = Some(watched(Some(seen)));
                let mut errors = answers.iter().filter_map(|answer| match answer {
                    Value::ServerError(error) => Some(error.to_string()),
                    _ => None,
                });
                let error = errors.next();
                Ok(Outcome::Applied {
                    errors: usize::from(error.is_some()) + errors.count(),
                    error,
                })
            }
            Value::ServerError(error) => Err(self.redis.lost(error.into())),
            other => Err(Lost(format!("unexpected answer {other:?}"))),
        }
    }
}

fn watched(answer: Option<Value>) -> Watched {
    let text =
        |bytes: Option<Vec<u8>>| bytes.map(|text| String::from_utf8_lossy(&text).into_owned());
    let mut values = answer.map(texts).unwrap_or_default().into_iter().map(text);
    Watched {
        owner: values.next().flatten(),
        positions: values.collect(),
    }
}
