//! The topic that a data set is of.

use std::sync::Arc;
use tidemill_core::kafka::TopicId;

/// A topic as it was when the run began.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its id, which another topic of the same name does not have; `None` where the brokers have none.
    pub(crate) id: Option<TopicId>,
}

impl From<&str> for Topic {
    /// A topic whose id is not known.
    fn from(name: &str) -> Self {
        Self {
            name: name.into(),
            id: None,
        }
    }
}
