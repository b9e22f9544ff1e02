//! Runs futures within the tasks of the component model, on the one thread that a guest has.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Context;

use wasip3::wit_bindgen;

thread_local! {
    /// What belongs to the request that is being answered: an instance may answer several at a time.
    static CURRENT: RefCell<Tasks> = RefCell::default();
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What [`spawn`] was given. A task is borrowed while it is polled.
#[derive(Clone, Default)]
pub(super) struct Tasks(Rc<Inner>);

#[derive(Default)]
struct Inner {
    tasks: RefCell<Vec<Rc<RefCell<Task>>>>,
    /// Whether all are to be polled again: there are new ones, or they wait on behalf of a task that has ended.
    again: Cell<bool>,
}

/// Runs a future to its end, and what was [spawned](spawn) beside it.
///
/// It may be called from within a future, as a body that is read with `Read` does. Spawned futures go on meanwhile; those
/// it was called from do not.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let tasks = CURRENT.with_borrow(Tasks::clone);
    let output = wit_bindgen::block_on(tasks.drive(future));
    tasks.0.again.set(true);
    output
}

/// Runs a future beside whatever [`block_on`] runs. In a handler, it ends with the response at the latest.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    CURRENT.with_borrow(|tasks| {
        tasks.0.tasks.borrow_mut().push(Rc::new(RefCell::new(Box::pin(future))));
        tasks.0.again.set(true);
    });
}

impl Tasks {
    /// Runs a future, and these beside it.
    pub(super) async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let outer = CURRENT.replace(self.clone());
            let polled = loop {
                self.0.again.set(false);
                let polled = future.as_mut().poll(cx);
                if polled.is_ready() {
                    break polled;
                }
                self.poll(cx);
                if !self.0.again.get() {
                    break polled;
                }
            };
            CURRENT.set(outer);
            polled
        })
        .await
    }

    /// Polls each of them once, but for those that this is called from.
    fn poll(&self, cx: &mut Context<'_>) {
        let tasks = self.0.tasks.borrow().clone();
        for task in tasks {
            let Ok(mut polled) = task.try_borrow_mut() else { continue };
            if polled.as_mut().poll(cx).is_ready() {
                self.0.tasks.borrow_mut().retain(|other| !Rc::ptr_eq(other, &task));
            }
        }
    }
}
