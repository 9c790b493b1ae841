//! Answers that are remembered for a short while, for a program that asks the same again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base::Bytes;
use domain::base::Rtype;

use crate::{Answer, Trouble};

/// No answer is remembered longer, whatever its records say.
const LONGEST: Duration = Duration::from_mins(1);
/// How long it is remembered that there is nothing.
const NOTHING: Duration = Duration::from_secs(10);
/// The most answers that are remembered.
const ENTRIES: usize = 1000;

type Entries = HashMap<(Bytes, Rtype), (Result<Answer, Trouble>, Instant)>;

/// What is known, and until when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    entries: Arc<Mutex<Entries>>,
}

impl Memory {
    /// The answer that is remembered, or else that of `ask`. Temporary trouble is forgotten at once.
    ///
    /// Shape   `name` is the text of a name, in any case.
    pub(crate) fn recall(
        &self,
        name: &[u8],
        kind: Rtype,
        ask: impl FnOnce() -> Result<Answer, Trouble>,
    ) -> Result<Answer, Trouble> {
        let key = (base::bytes::lower(name), kind);
        if let Some(known) = self.known(&key) {
            return known;
        }
        let found = ask();
        if let Some(life) = life(&found) {
            self.learn(key, found.clone(), Instant::now() + life);
        }
        found
    }

    fn known(&self, key: &(Bytes, Rtype)) -> Option<Result<Answer, Trouble>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, until) = entries.get(key)?;
        (Instant::now() < *until).then(|| found.clone())
    }

    fn learn(&self, key: (Bytes, Rtype), found: Result<Answer, Trouble>, until: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            let now = Instant::now();
            entries.retain(|_, (_, until)| now < *until);
        }
        // All of them are fresh: whoever fills the memory gains nothing by it.
        if entries.len() >= ENTRIES {
            entries.clear();
        }
        entries.insert(key, (found, until));
    }
}

/// How long to remember it; `None`: not at all.
fn life(found: &Result<Answer, Trouble>) -> Option<Duration> {
    match found {
        Ok(answer) => Some(answer.life().unwrap_or(NOTHING).min(LONGEST)),
        Err(Trouble::NoName | Trouble::NoData) => Some(NOTHING),
        Err(Trouble::Temporary(_)) => None,
    }
    .filter(|life| !life.is_zero())
}
