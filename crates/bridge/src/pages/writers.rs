//! Who may write to which file, and who waits for it: first come, first served.
//!
//! Invariants:
//! - A file has one writer at most, and nobody queues for a file that has none.
//! - Who gives up the lock passes it to who queues longest, whether or not that one looks.

use std::collections::{HashMap, VecDeque};

/// The write locks of files, by number, and the queues for them. `U` names a user.
#[derive(Default)]
pub struct Writers<U> {
    files: HashMap<u32, Queue<U>>,
}

struct Queue<U> {
    writer: U,
    waiting: VecDeque<U>,
}

impl<U: Copy + Eq> Writers<U> {
    /// Nobody writes yet.
    pub fn new() -> Self {
        Writers { files: HashMap::new() }
    }

    /// Who has the lock of `file`.
    pub fn writer(&self, file: u32) -> Option<U> {
        self.files.get(&file).map(|queue| queue.writer)
    }

    /// Whether somebody waits for the lock of `file`.
    pub fn queued(&self, file: u32) -> bool {
        self.files.get(&file).is_some_and(|queue| !queue.waiting.is_empty())
    }

    /// Whether nobody has any lock.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Lets nobody have the lock of `file`, or queue for it.
    pub fn forget(&mut self, file: u32) {
        self.files.remove(&file);
    }

    /// Takes the lock if nobody has it. Whether it is `user`'s now.
    pub fn lock(&mut self, file: u32, user: U) -> bool {
        self.files.entry(file).or_insert_with(|| Queue { writer: user, waiting: VecDeque::new() }).writer == user
    }

    /// Takes the lock if nobody has it, else a place at the end of the queue, unless `user` has one. Whether the lock
    /// is `user`'s now.
    pub fn wait(&mut self, file: u32, user: U) -> bool {
        if self.lock(file, user) {
            return true;
        }
        let waiting = &mut self.files.get_mut(&file).expect("a file whose lock is taken").waiting;
        if !waiting.contains(&user) {
            waiting.push_back(user);
        }
        false
    }

    /// Gives up the lock; who has it now.
    pub fn unlock(&mut self, file: u32, user: U) -> Option<U> {
        let queue = self.files.get_mut(&file)?;
        if queue.writer == user {
            match queue.waiting.pop_front() {
                Some(next) => queue.writer = next,
                None => {
                    self.files.remove(&file);
                    return None;
                }
            }
        }
        Some(queue.writer)
    }

    /// Gives up the lock and the place in the queue; who has the lock now.
    pub fn leave(&mut self, file: u32, user: U) -> Option<U> {
        self.files.get_mut(&file)?.waiting.retain(|waiting| *waiting != user);
        self.unlock(file, user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served() {
        let mut writers = Writers::new();
        assert!(writers.lock(7, 'a') && writers.lock(7, 'a') && writers.lock(8, 'b'));
        assert!(!writers.lock(7, 'b') && !writers.queued(7), "who only tries does not queue");
        assert!(!writers.wait(7, 'b') && !writers.wait(7, 'c') && !writers.wait(7, 'b') && !writers.wait(7, 'd'));
        assert!(writers.queued(7) && !writers.queued(8));
        assert_eq!(writers.leave(7, 'c'), Some('a'));
        assert_eq!(writers.unlock(7, 'd'), Some('a'), "it is not its to give up");
        assert_eq!(writers.unlock(7, 'a'), Some('b'));
        assert!(!writers.lock(7, 'a') && writers.wait(7, 'b'));
        assert_eq!(writers.leave(7, 'b'), Some('d'));
        assert_eq!((writers.unlock(7, 'd'), writers.writer(7)), (None, None));
        assert!(writers.wait(7, 'a') && !writers.wait(7, 'b'));
        writers.forget(8);
        writers.forget(7);
        assert!(writers.is_empty() && writers.lock(7, 'b'));
    }
}
