//! Images as files, and against registries that lie.

mod credentials;
mod files;
mod hostile;
mod pull;
mod push;
mod signed;
mod support;
