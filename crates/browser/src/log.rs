//! The console, by verbosity.

use web_sys::console;

/// What to say on the console: 0 nothing but warnings, 1 lifecycle, 2 every request too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log {
    verbosity: u8,
}

impl Log {
    /// A log that says what `verbosity` allows.
    pub fn new(verbosity: u8) -> Self {
        Log { verbosity }
    }

    /// Something began, ended or changed.
    pub fn lifecycle(self, message: impl FnOnce() -> String) {
        if self.verbosity >= 1 {
            console::info_1(&format!("statik: {}", message()).into());
        }
    }

    /// One request.
    pub fn request(self, message: impl FnOnce() -> String) {
        if self.verbosity >= 2 {
            console::debug_1(&format!("statik: {}", message()).into());
        }
    }

    /// A failure that no caller is there to hear of.
    pub fn warn(self, message: &str) {
        console::warn_1(&format!("statik: {message}").into());
    }
}
