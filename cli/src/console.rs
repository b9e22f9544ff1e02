//! What may be shown to whoever watches.

use std::io::{IsTerminal, stderr};

use crate::args::{GlobalArgs, LogFormat};

/// Whether somebody watches standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    progress: bool,
}

impl Console {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let wanted = global.quiet == 0 && global.log_format == LogFormat::Text;
        Console { progress: wanted && stderr().is_terminal() }
    }

    /// Whether progress is shown: on a terminal only, and neither with --quiet nor between lines of JSON.
    pub(crate) fn shows_progress(self) -> bool {
        self.progress
    }
}
