//! What a case gets: the backend under test, and short ways to put it to work.

use std::sync::Arc;

use wharf_core::Backend;

use crate::runner::Subject;

/// What a case works with. Each run of a case has its own.
pub struct Context {
    subject: Subject,
}

impl Context {
    /// A context for one run of one case.
    pub fn new(subject: Subject) -> Self {
        Context { subject }
    }

    /// The backend under test.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        self.subject.backend()
    }

    /// The backend under test, under its column's name.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}
