//! What the operator is told of what a guest was denied.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.fetch_add(usize::from(*event.metadata().level() == Level::WARN), Ordering::SeqCst);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn each_denial_is_told_once_and_no_guest_fills_a_log() {
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        let mut guest = with(Network::new());
        let (fd, address) = (guest.socket(INET4, STREAM), guest.loopback());
        for told in [1, 1] {
            guest.refuses("sock_connect", &[fd, address, 1], Errno::Acces);
            assert_eq!(warnings.0.load(Ordering::SeqCst), told);
        }
        for port in 1..100 {
            guest.refuses("sock_connect", &[fd, address, port], Errno::Acces);
        }
        assert_eq!(warnings.0.load(Ordering::SeqCst), 64);
    });
}
