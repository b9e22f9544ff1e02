//! Instances that work on several requests at a time: which of them a request enters.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use wharf_core::grants::WasiConfig;
use wharf_core::{Door, Entering};

/// An instance that works on requests.
struct Working {
    door: Arc<Door>,
    /// What it was started with.
    granted: WasiConfig,
}

/// The door of an instance while it works; closed when dropped, also by a panic.
pub(crate) struct Opened<'a> {
    of: &'a Together,
    pub(crate) door: Arc<Door>,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.of.lock().retain(|working| !Arc::ptr_eq(&working.door, &self.door));
        self.door.close();
    }
}

/// The instances of a guest that work on requests, the one that has for longest first.
pub(crate) struct Together {
    /// How many requests an instance works on at a time.
    at_once: u32,
    max_busy: usize,
    working: Mutex<Vec<Working>>,
}

impl Together {
    pub(crate) fn new(at_once: u32, max_busy: Option<usize>) -> Self {
        let max_busy = max_busy.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
        Together { at_once, max_busy, working: Mutex::default() }
    }

    /// Whether an instance may work on more than one.
    pub(crate) fn is_meant(&self) -> bool {
        self.at_once > 1
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Working>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The door of an instance that `entering` is the first to enter, and `left - 1` more may. Those that it cannot have
    /// go to `elsewhere`.
    pub(crate) fn open(
        &self,
        entering: Box<Entering>,
        left: u32,
        elsewhere: impl Fn(Box<Entering>) + Send + Sync + 'static,
    ) -> Result<Opened<'_>, Box<Entering>> {
        let granted = entering.config.wasi.clone();
        let door = Door::new(self.at_once, left, elsewhere);
        door.offer(entering)?;
        self.lock().push(Working { door: Arc::clone(&door), granted });
        Ok(Opened { of: self, door })
    }

    /// Hands the request to an instance that works on others. `idle` says whether another would do that has nothing to do.
    ///
    /// One that waits is preferred to any other. One that computes gets it only where as many compute as may.
    ///
    /// # Errors
    /// The request, if it is to have another instance.
    pub(crate) fn offer(
        &self,
        mut entering: Box<Entering>,
        idle: impl FnOnce(&Entering) -> bool,
    ) -> Result<(), Box<Entering>> {
        let working = self.lock();
        let fits = |working: &&Working, entering: &Entering| working.granted.grants_the_same(&entering.config.wasi);
        let (mut waiting, computing): (Vec<_>, Vec<_>) = working.iter().partition(|working| working.door.is_waiting());
        waiting.retain(|working| fits(working, &entering));
        for working in waiting {
            match working.door.offer(entering) {
                Ok(()) => return Ok(()),
                Err(back) => entering = back,
            }
        }
        if computing.len() < self.max_busy || idle(&entering) {
            return Err(entering);
        }
        let mut computing: Vec<_> = computing.into_iter().filter(|working| fits(working, &entering)).collect();
        computing.sort_by_key(|working| working.door.load());
        for working in computing {
            match working.door.offer(entering) {
                Ok(()) => return Ok(()),
                Err(back) => entering = back,
            }
        }
        Err(entering)
    }

    /// How many instances wait while they work on requests.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().iter().filter(|working| working.door.is_waiting()).count()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};
    use wharf_core::GuestConfig;
    use wharf_core::abi::wasi02::http::Reply;

    use super::*;

    fn entering(variable: Option<&str>) -> Box<Entering> {
        let body = Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
        let mut wasi = WasiConfig::new();
        if let Some(variable) = variable {
            wasi = wasi.env(variable, "x").unwrap();
        }
        Box::new(Entering {
            request: http::Request::new(body),
            reply: Reply::channel().0,
            config: GuestConfig { wasi, ..GuestConfig::default() },
            deadline: None,
            left: Default::default(),
            ended: Box::new(drop),
        })
    }

    fn open(together: &Together) -> Opened<'_> {
        together.open(entering(None), 100, drop).unwrap()
    }

    /// Nothing runs the instances here, so that each computes for as long as its door is open.
    #[test]
    fn a_request_gets_another_instance_while_few_compute() {
        let together = Together::new(4, Some(2));
        let first = open(&together);
        assert!(together.offer(entering(None), |_| false).is_err(), "another one may compute");
        let second = open(&together);
        assert!(together.offer(entering(None), |_| true).is_err(), "there is one that does nothing");
        for loads in [(2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4)] {
            assert!(together.offer(entering(None), |_| false).is_ok(), "{loads:?}");
            assert_eq!((first.door.load(), second.door.load()), loads, "the one with fewest gets it");
        }
        assert!(together.offer(entering(None), |_| false).is_err(), "both are full");
        drop(first);
        assert!(together.offer(entering(None), |_| false).is_err(), "one computes");
    }

    #[test]
    fn requests_of_other_grants_do_not_meet() {
        let together = Together::new(4, Some(1));
        let opened = open(&together);
        assert!(together.offer(entering(Some("OTHER")), |_| false).is_err());
        assert!(together.offer(entering(None), |_| false).is_ok());
        assert_eq!((opened.door.load(), together.waiting()), (2, 0));
    }
}
