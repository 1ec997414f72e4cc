//! Which paths clients have open as files, so that none of them is attached meanwhile.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How often each path is open. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Openings {
    paths: Rc<RefCell<BTreeMap<String, usize>>>,
}

/// One opening, which ends when this is dropped.
pub(crate) struct Opened {
    openings: Openings,
    path: String,
}

impl Openings {
    pub(crate) fn open(&self, path: &str) -> Opened {
        *self.paths.borrow_mut().entry(path.to_owned()).or_default() += 1;
        Opened { openings: self.clone(), path: path.to_owned() }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.borrow().contains_key(path)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut paths = self.openings.paths.borrow_mut();
        let count = paths.get_mut(&self.path).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            paths.remove(&self.path);
        }
    }
}
