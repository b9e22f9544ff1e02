//! Images in registries
//! ([the specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md)).

mod authorization;
mod body;
mod client;
mod guest;
mod names;
mod place;
mod sending;
mod session;
mod upload;

pub use self::client::{Client, ClientOptions, Pulled, Store};
