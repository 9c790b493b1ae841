//! What is known of the recipients of one delivery number.

use base::Bytes;

/// Some recipients of a job that go together.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) number: u32,
    /// which of the job's recipients, counted from 0
    pub(super) places: Vec<usize>,
}

/// One command at work.
#[derive(Debug)]
pub(super) struct Job {
    /// for each recipient, once it is known
    texts: Vec<Option<Bytes>>,
}

impl Job {
    pub(super) fn new(recipients: usize) -> Job {
        Job {
            texts: vec![None; recipients],
        }
    }

    /// Notes one text for each of `places`. A spawner that gave too few repeats its first.
    pub(super) fn note(&mut self, places: &[usize], texts: &[Bytes]) {
        let crashed = b"ZInternal error: no report. (#4.3.5)\n".to_vec();
        let first = texts.first().unwrap_or(&crashed);
        let whole = texts.len() == places.len();
        for (n, &place) in places.iter().enumerate() {
            let text = if whole { texts.get(n) } else { None }.unwrap_or(first);
            if let Some(known) = self.texts.get_mut(place) {
                *known = Some(text.clone());
            }
        }
    }

    /// All texts, once all are known.
    pub(super) fn finished(&mut self) -> Option<Vec<Bytes>> {
        if self.texts.iter().any(Option::is_none) {
            return None;
        }
        Some(self.texts.drain(..).flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_over_when_every_recipient_has_a_text() {
        let mut job = Job::new(3);
        job.note(&[1], &[b"Kone".to_vec()]);
        assert_eq!(job.finished(), None);
        job.note(&[0, 2], &[b"Zall".to_vec()]);
        let texts: Vec<Bytes> = vec![b"Zall".to_vec(), b"Kone".to_vec(), b"Zall".to_vec()];
        assert_eq!(job.finished(), Some(texts));
        let mut job = Job::new(2);
        job.note(&[0, 1], &[]);
        assert!(job.finished().unwrap().iter().all(|t| t.starts_with(b"Z")));
        let mut job = Job::new(2);
        job.note(&[1, 0], &[b"Ka".to_vec(), b"Db".to_vec()]);
        assert_eq!(job.finished().unwrap(), [b"Db", b"Ka"]);
    }
}
