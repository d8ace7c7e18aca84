//! The definitions: features and plan in one, as all other modules use them.

use super::conditions;
use super::definition::Feature;
use super::entry;
use super::parse;
use super::plan::{ACTION_FIELD, AMOUNT_FIELD, FILTERS, Plan, Source, USER_FIELD};
use crate::record::Fields;
use sha2::{Digest, Sha256};

/// The features that are computed from each user's events.
#[derive(Clone, Debug)]
pub struct Definitions {
    features: Vec<Feature>,
    timestamp: String,
    ttl_ms: i64,
    fingerprint: String,
    pub(super) plan: Plan,
}

impl Definitions {
    /// The four features over the purchases of the last 24 hours.
    ///
    /// # Panics
    ///
    /// Never: a test parses the file that is compiled in.
    pub fn standard() -> Self {
        Self::parse(include_str!("standard.toml")).expect("the standard definitions are valid")
    }

    /// Reads `features.toml`; the error lists every problem, each naming feature, field and remedy.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let parse::File {
            timestamp,
            ttl_s,
            features,
        } = parse::parse(text)?;
        let plan = Plan::new(&timestamp, &features);
        let mut problems = Vec::new();
        if [USER_FIELD, ACTION_FIELD, AMOUNT_FIELD].contains(&timestamp.as_str()) {
            problems.push(format!(
                "timestamp = {timestamp:?}: this field is no time, name another"
            ));
        }
        if plan.filters.len() > FILTERS {
            let count = plan.filters.len();
            problems.push(format!(
                "{count} different where: at most {FILTERS}, use fewer"
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut canonical = format!("time = {timestamp}\n");
        for feature in &features {
            canonical.push_str(&feature.to_string());
            canonical.push('\n');
        }
        let digest = Sha256::digest(canonical.as_bytes());
        let fingerprint = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let ttl_ms = ttl_s * 1000;
        Ok(Self {
            features,
            timestamp,
            ttl_ms,
            fingerprint,
            plan,
        })
    }

    /// The features, in the file's order.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Conditions of features that are probably a mistake, one sentence each.
    pub fn doubts(&self) -> Vec<String> {
        self.features
            .iter()
            .flat_map(conditions::doubtful)
            .collect()
    }

    /// The event's field that holds its time.
    pub fn timestamp(&self) -> &str {
        &self.timestamp
    }

    /// Time that a hash lives after its user's last record, in milliseconds.
    pub fn ttl_ms(&self) -> i64 {
        self.ttl_ms
    }

    /// The longest window in milliseconds; 0 if no feature has one.
    pub fn longest_ms(&self) -> i64 {
        self.plan.longest_ms
    }

    /// 16 hexadecimal digits that change with everything that affects a value or the layout of a window: everything but
    /// the hashes' TTL.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The features in which a new entry counts at a time (epoch ms): its event matches their conditions, and lies in
    /// their window.
    pub fn counts_in(&self, entry: &[u8], at: i64) -> impl Iterator<Item = &Feature> {
        let (time, (mask, _)) = (entry::time(entry), entry::new_parts(entry));
        let plan = &self.plan;
        let filter = |source: &Source| match source {
            Source::Series(index) => plan.cells[plan.series[*index].cell].filter,
            Source::Carry(index) => plan.carries[*index].filter,
        };
        let filters = plan.sources.iter().map(filter);
        let counts = move |(feature, filter): &(&Feature, usize)| {
            let lasts = feature.window_ms.is_none_or(|window| time > at - window);
            mask & (1 << filter) != 0 && time <= at && lasts
        };
        let features = self.features.iter().zip(filters);
        features.filter(counts).map(|(feature, _)| feature)
    }

    /// The fields that are read from an event: user_id, time, action, amount, then those that only features name.
    pub fn fields(&self) -> &Fields {
        &self.plan.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::user_event;

    #[test]
    fn the_fingerprint_follows_what_the_values_depend_on() {
        let text = include_str!("standard.toml");
        let fingerprint = |text: &str| Definitions::parse(text).unwrap().fingerprint().to_owned();
        let own = fingerprint(text);
        assert_eq!(own.len(), 16);
        assert_eq!(own, fingerprint(&text.replace("172800", "86400")));
        for (from, to) in [
            ("24h\"", "23h\""),
            ("total", "sum"),
            ("purchase\" }", "buy\" }"),
        ] {
            assert_ne!(own, fingerprint(&text.replace(from, to)), "{from}");
        }
    }

    #[test]
    fn texts_that_look_like_something_else_are_doubted() {
        let doubts = |value: &str| {
            let feature = "[[feature]]\nname = 'a'\naggregate = 'count'\nwindow = '1m'\nwhere = ";
            let file = format!("{feature}{{ band = {value} }}");
            Definitions::parse(&file).unwrap().doubts()
        };
        for doubtful in [
            "\">100\"", "\"<= 5\"", "\"!=x\"", "\"==x\"", "\" x\"", "\"x \"",
        ] {
            assert_eq!(doubts(doubtful).len(), 1, "{doubtful}");
        }
        for plain in ["\"x\"", "\"100\"", "5", "true", "\"a > b\""] {
            assert_eq!(doubts(plain), Vec::<String>::new(), "{plain}");
        }
    }

    #[test]
    fn a_time_field_that_is_something_else_is_refused() {
        let text = include_str!("standard.toml").replace("= \"timestamp\"", "= \"amount\"");
        assert!(Definitions::parse(&text).unwrap_err()[0].contains("name another"));
    }

    #[test]
    fn an_event_counts_where_conditions_and_window_agree() {
        let definitions = Definitions::parse(
            "[[feature]]\nname = \"h\"\naggregate = \"count\"\nwindow = \"1h\"\nwhere = { action = \"purchase\" }\n\
             [[feature]]\nname = \"d\"\naggregate = \"count\"\nwindow = \"24h\"\nwhere = { action = \"login\" }\n\
             [[feature]]\nname = \"last\"\naggregate = \"last_time\"\nwhere = { action = \"login\" }\n",
        )
        .unwrap();
        let names = |action: &str, at: i64| {
            let mut entry = Vec::new();
            let value =
                format!("{{\"user_id\":\"u\",\"action\":\"{action}\",\"timestamp\":1000000}}");
            let value = Some(value.as_bytes());
            user_event::decode(&definitions, None, value, Some(1_000_000_000), &mut entry).unwrap();
            let names = definitions.counts_in(&entry, at);
            names
                .map(|feature| feature.name.clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let (event, hour) = (1_000_000_000, 3_600_000);
        assert_eq!(names("purchase", event), "h");
        assert_eq!(
            names("purchase", event + hour),
            "",
            "the window excludes its beginning"
        );
        assert_eq!(names("login", event + hour), "d last");
        assert_eq!(names("login", event + 25 * hour), "last");
        assert_eq!(names("login", event - 1), "", "later than the time");
        assert_eq!(names("view", event), "");
    }
}
