//! Images as files, and against registries that lie.

mod credentials;
mod files;
mod hostile;
mod pull;
mod signed;
mod support;
