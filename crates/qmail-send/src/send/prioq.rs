//! Priority queues: which message is due first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use queue::names::MessageId;

/// When due, how many came before, which message, when it came.
type Item = Reverse<(i64, u64, MessageId, i64)>;

/// Messages by the time when they are due; those of the same time in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Prioq {
    heap: BinaryHeap<Item>,
    count: u64,
}

impl Prioq {
    /// Puts `id` in, due at `when` (Unix seconds).
    pub(crate) fn insert(&mut self, id: MessageId, when: i64) {
        self.insert_born(id, when, i64::MAX);
    }

    /// The same, with the time when the message came.
    pub(crate) fn insert_born(&mut self, id: MessageId, when: i64, birth: i64) {
        self.count += 1;
        self.heap.push(Reverse((when, self.count, id, birth)));
    }

    /// When the first one is due.
    pub(crate) fn first_due(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((when, ..))| *when)
    }

    /// Takes the first one out if it is due at `now`.
    pub(crate) fn take_due(&mut self, now: i64) -> Option<MessageId> {
        if self.first_due()? > now {
            return None;
        }
        self.take().map(|(id, _)| id)
    }

    /// Takes the first one out.
    pub(crate) fn take(&mut self) -> Option<(MessageId, i64)> {
        self.heap.pop().map(|Reverse((when, _, id, _))| (id, when))
    }

    /// Takes out those that came before `time`.
    pub(crate) fn take_born_before(&mut self, time: i64) -> Vec<MessageId> {
        let mut taken = Vec::new();
        self.heap.retain(|Reverse((_, _, id, birth))| {
            let stays = *birth >= time;
            if !stays {
                taken.push(*id);
            }
            stays
        });
        taken
    }

    /// Makes everything due at `now`.
    pub(crate) fn make_due(&mut self, now: i64) {
        let all = std::mem::take(&mut self.heap).into_sorted_vec();
        for (place, Reverse((_, _, id, birth))) in (0u64..).zip(all.into_iter().rev()) {
            self.heap.push(Reverse((now, place, id, birth)));
        }
        self.count = self.heap.len() as u64;
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> MessageId {
        MessageId::new(n).unwrap()
    }

    #[test]
    fn first_due_first_served_then_first_come() {
        let mut queue = Prioq::default();
        for (n, when) in [(5, 30), (9, 10), (1, 10), (7, 20)] {
            queue.insert(id(n), when);
        }
        assert_eq!(queue.first_due(), Some(10));
        assert_eq!(queue.take_due(9), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.take_due(99)).collect();
        assert_eq!(order, [9, 1, 7, 5].map(id));
        assert!(queue.is_empty());
    }

    #[test]
    fn all_can_be_made_due_in_their_order() {
        let mut queue = Prioq::default();
        for (n, when) in [(5, 300), (9, 100), (1, 200)] {
            queue.insert(id(n), when);
        }
        queue.make_due(50);
        queue.insert(id(4), 50);
        let order: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(
            order,
            [(9, 50), (1, 50), (5, 50), (4, 50)].map(|(n, w)| (id(n), w))
        );
    }

    #[test]
    fn old_ones_can_be_taken_out() {
        let mut queue = Prioq::default();
        queue.insert_born(id(1), 10, 100);
        queue.insert_born(id(2), 10, 200);
        queue.insert(id(3), 10);
        assert_eq!(queue.take_born_before(200), [id(1)]);
        assert_eq!(queue.take_due(10), Some(id(2)));
        assert_eq!(queue.take_due(10), Some(id(3)));
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Item>() <= 40);
    }
}
