//! Calls from one component of a guest to another of which at least one side is asynchronous.
//!
//! The adapter between them prepares such a call and starts it. The host has the adapter pass the parameters on when the
//! callee takes them, and the result when that returns it, which may be long after. What runs in between are the tasks of
//! [`concurrent`](crate::abi::concurrent): the callee's first part on the stack of its caller, the rest in turns.
//!
//! A callee that is lifted synchronously, or waits within a call, keeps its caller waiting, since no stack is switched.

use std::sync::Arc;

use wharf_plan::{ASYNC_WITH_RESULT, ASYNC_WITHOUT_RESULT, Builtin, CONTEXT, Calls, PREPARING, Passing};

use super::handles::Destroyed;
use super::plan::Composed;
use super::{Handles, broken};
use crate::abi::concurrent::{self, Called, Code, Contexts, Parked, Returning, Subtask, Task, Turn, Waited};
use crate::abi::wasi02::canon::{Outcome, limit, rule};
use crate::abi::wasi02::options::Encoding;
use crate::abi::wasi02::table::Resource;
use crate::abi::wasi02::{Host, State};
use crate::error::{Error, Kind};
use crate::stop::Stop;
use crate::types::{Caller, TrapCode};

/// How many tasks may be on the stack: as many components may wait for each other. Engines' stacks hold some more.
const MAX_DEPTH: usize = 40;

/// The lowest flag of a call that is started: the callee is lifted asynchronously.
const LIFTED_ASYNC: u32 = 1;

/// A call that is prepared.
pub(crate) struct Call {
    caller: u32,
    pub(crate) callee_instance: u32,
    /// Whether the callee's type is that of a function that may wait.
    pub(crate) asynchronous: bool,
    /// Whether the caller waits.
    synchronous: bool,
    /// Passes parameters on, and a result.
    start: Arc<str>,
    finish: Arc<str>,
    params: Vec<u64>,
    /// Where the result goes, if it lies in memory.
    place: Option<u64>,
    returning: Returning,
    /// By index of the table, once it is started; and so are the callee and what belongs to it.
    pub(crate) subtask: u32,
    callee: Arc<str>,
    lifted_async: bool,
    callback: Option<Arc<str>>,
    post_return: Option<Arc<str>>,
}

/// To whom the result of a task goes.
pub(crate) struct Answer {
    finish: Arc<str>,
    place: Option<u64>,
    /// The call, by index of the table.
    pub(crate) subtask: u32,
    /// What was lent for it, by the number of the call.
    pub(crate) scope: usize,
}

/// What starting a call says of the callee.
pub(super) struct Callee<'a> {
    pub(super) callback: Option<&'a str>,
    pub(super) post_return: Option<&'a str>,
}

fn broken_rule<T>(what: &str) -> Result<T, Stop> {
    Err(broken(what))
}

impl Host {
    /// Does something with the guest's state in a call between components.
    fn in_call<T>(&self, action: impl FnOnce(&mut State) -> Outcome<T>) -> Result<T, Stop> {
        self.locked_or(action, broken)
    }

    fn calls(&self) -> Result<(&Composed, &Calls), Stop> {
        let composed = self.composed().and_then(|composed| Some((&**composed, composed.plan.calls.as_ref()?)));
        composed.ok_or_else(|| broken("none of its components calls another one asynchronously"))
    }

    /// The export that an adapter means by a number.
    fn passed(&self, number: u32) -> Result<Arc<str>, Stop> {
        let name = self.calls()?.1.functions.get(number as usize);
        name.map(|name| name.as_str().into()).ok_or_else(|| broken(format!("function {number} does not exist")))
    }

    /// Prepares a call.
    pub(super) fn prepare(&self, memory: Option<&str>, caller: &mut dyn Caller, slots: &[u64]) -> Result<(), Stop> {
        let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
        let (calling, callee_instance, count) = (slot(2), slot(3), slot(7));
        self.may_leave(calling, caller)?;
        let (composed, calls) = self.calls()?;
        if callee_instance as usize >= composed.plan.instances.len() {
            return broken_rule("a component instance is called that does not exist");
        }
        let result = calls.results.iter().find(|(number, _)| *number == slot(4)).and_then(|(_, result)| *result);
        let mut params = slots.get(PREPARING..).unwrap_or_default().to_vec();
        let synchronous = !matches!(count, ASYNC_WITH_RESULT | ASYNC_WITHOUT_RESULT);
        let place = match count {
            ASYNC_WITHOUT_RESULT | 0 | 1 => None,
            ASYNC_WITH_RESULT => params.pop(),
            _ => params.last().copied(),
        };
        let start = self.passed(slot(0))?;
        if let Some(ty) = composed.function(&start) {
            params.truncate(ty.params.len());
        }
        let encoding = match slot(6) {
            0 => Encoding::Utf8,
            1 => Encoding::Utf16,
            _ => Encoding::CompactUtf16,
        };
        let call = Call {
            caller: calling,
            callee_instance,
            asynchronous: slot(5) != 0,
            synchronous,
            start,
            finish: self.passed(slot(1))?,
            params,
            place,
            returning: Returning { result, memory: memory.map(Arc::from), encoding, asynchronous: true },
            subtask: 0,
            callee: "".into(),
            lifted_async: false,
            callback: None,
            post_return: None,
        };
        if call.synchronous && call.asynchronous && !self.may_block(caller) {
            return broken_rule("it called a function that may wait from one that may not");
        }
        self.in_call(|state| match state.concurrent.prepared.replace(call) {
            None => Ok(()),
            Some(_) => rule("a call was prepared while another is"),
        })
    }

    /// Starts the call that is prepared, as its caller's adapter asks for it; gives its subtask, by index of the table.
    fn begin_prepared(&self, callee: &Callee<'_>, caller: &mut dyn Caller, slots: &[u64]) -> Result<(u32, u32), Stop> {
        let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
        let name = self.passed(slot(0))?;
        let (begun, subtask, calling) = self.in_call(|state| {
            let Some(mut call) = state.concurrent.prepared.take() else { return rule("no call is prepared") };
            call.subtask = state.table.push(Subtask::of_component(), None)?;
            call.callee = name;
            call.lifted_async = call.synchronous || slot(3) & LIFTED_ASYNC != 0;
            call.returning.asynchronous = call.lifted_async;
            call.callback = callee.callback.map(Arc::from);
            call.post_return = callee.post_return.map(Arc::from);
            let (subtask, calling) = (call.subtask, call.caller);
            Ok((state.concurrent.admit(call), subtask, calling))
        })?;
        if let Some(call) = begun {
            self.begin_call(call, caller)?;
        }
        Ok((subtask, calling))
    }

    /// Starts a call and answers with its state.
    pub(super) fn start_call(
        &self,
        callee: &Callee<'_>,
        caller: &mut dyn Caller,
        slots: &mut [u64],
    ) -> Result<(), Stop> {
        let (index, calling) = self.begin_prepared(callee, caller, slots)?;
        let told = self.in_call(|state| {
            let subtask = state.table.get::<Subtask>(index)?;
            if subtask.is_resolved() {
                let told = subtask.told(0);
                concurrent::delivered(state, index)?;
                state.table.take::<Subtask>(index)?;
                return Ok(told);
            }
            let handle = match &mut state.handles {
                Some(handles) => handles.give(calling, Subtask::of(), index)?,
                None => index,
            };
            Ok(state.table.get::<Subtask>(index)?.told(handle))
        })?;
        if let Some(slot) = slots.first_mut() {
            *slot = told.into();
        }
        Ok(())
    }

    /// Starts a call and waits until it has returned.
    pub(super) fn start_and_wait(
        &self,
        callee: &Callee<'_>,
        caller: &mut dyn Caller,
        slots: &mut [u64],
    ) -> Result<(), Stop> {
        let (index, _) = self.begin_prepared(callee, caller, slots)?;
        let over = |state: &mut State| Ok(state.table.get::<Subtask>(index)?.is_resolved());
        while self.in_call(|state| concurrent::wait(state, caller, over))? == Waited::Turn {
            self.turn(caller)?;
        }
        let value = self.in_call(|state| {
            concurrent::delivered(state, index)?;
            Ok(state.table.take::<Subtask>(index)?.value)
        })?;
        if let (Some(slot), Some(value)) = (slots.first_mut(), value) {
            *slot = value;
        }
        Ok(())
    }

    /// Runs the first part of a call, which may be all of it.
    fn begin_call(&self, call: Call, caller: &mut dyn Caller) -> Result<(), Stop> {
        let scope = self.handles(Handles::enter)?;
        let Call { callee_instance, asynchronous, start, finish, params, place, returning, subtask, .. } = call;
        let answer = Answer { finish, place, subtask, scope };
        let task = Task::called(answer, returning, callee_instance, asynchronous);
        let (packed, task, context) = self.within(task, Contexts::default(), caller, |caller| {
            let params = self.run(&start, params, caller)?;
            self.in_call(|state| {
                let subtask = state.table.get::<Subtask>(subtask)?;
                subtask.state = Called::Started;
                subtask.scope = Some(scope);
                Ok(())
            })?;
            self.handles(Handles::leave)?;
            let results = self.run(&call.callee, params, caller)?;
            if call.lifted_async {
                return Ok(Some(results.first().copied().unwrap_or_default() as u32));
            }
            let answer = self.in_call(|state| {
                let kind = state.concurrent.task.as_mut().and_then(|task| task.kind.take());
                match (kind, &mut state.handles) {
                    (Some(concurrent::TaskKind::Caller(answer)), Some(handles)) => {
                        handles.returns(answer.scope).map(|()| answer)
                    }
                    _ => rule("the task has returned already"),
                }
            })?;
            self.answer(&answer, &results, caller)?;
            if let Some(post_return) = &call.post_return {
                self.set_may_leave(callee_instance, false, caller);
                self.run(post_return, results, caller)?;
                self.set_may_leave(callee_instance, true, caller);
            }
            Ok(None)
        })?;
        match (packed, call.callback) {
            (Some(packed), Some(callback)) => self.park(task, callback, context, packed),
            (Some(_), None) => broken_rule("a function that is lifted asynchronously has no callback"),
            (None, _) => Ok(()),
        }
    }

    /// Lets the guest's task that can go on first go on, if one can.
    pub(crate) fn turn(&self, caller: &mut dyn Caller) -> Result<(), Stop> {
        let run = self.lock().run.clone();
        if let Some(stop) = run.over() {
            return Err(stop);
        }
        run.yielded();
        match self.in_task(Builtin::WaitableSetWait, concurrent::next_turn)? {
            None => Ok(()),
            Some(Turn::Begin(call)) => self.begin_call(call, caller),
            Some(Turn::CallBack(parked, event)) => {
                let Parked { task, callback, context, .. } = *parked;
                let (packed, task, context) = self.within(task, context, caller, |caller| {
                    let results = self.run(&callback, event.to_vec(), caller)?;
                    Ok(results.first().copied().unwrap_or_default() as u32)
                })?;
                self.park(task, callback, context, packed)
            }
        }
    }

    /// Keeps a task for what it waits for, or ends it.
    fn park(&self, task: Task, callback: Arc<str>, context: Contexts, packed: u32) -> Result<(), Stop> {
        let Some(code) = Code::of(packed) else { return Err(self.wrong_code(packed)) };
        let builtin = if code == Code::Exit { Builtin::TaskReturn { result: None } } else { Builtin::WaitableSetWait };
        self.in_task(builtin, |state| {
            let set = match code {
                Code::Exit if task.kind.is_some() => return rule("the task has ended without returning a result"),
                Code::Exit => return Ok(()),
                Code::Yield => None,
                Code::Wait(set) => Some(concurrent::set(state, task.instance, set)?),
            };
            let charge = state.budget.charge(std::mem::size_of::<Parked>() as u64)?;
            state.concurrent.park(Parked { task, callback, context, set, _charge: charge })
        })
    }

    /// Gives the result of a task to the component that has called it.
    pub(crate) fn answer(&self, answer: &Answer, results: &[u64], caller: &mut dyn Caller) -> Result<(), Stop> {
        let mut results = results.to_vec();
        results.extend(answer.place);
        let value = self.run(&answer.finish, results, caller)?.first().copied();
        self.in_call(|state| {
            let subtask = state.table.get::<Subtask>(answer.subtask)?;
            subtask.state = Called::Returned;
            subtask.value = value;
            Ok(())
        })
    }

    /// Runs part of a task in the place of the one that runs; gives the task and its context back.
    fn within<T>(
        &self,
        task: Task,
        context: Contexts,
        caller: &mut dyn Caller,
        action: impl FnOnce(&mut dyn Caller) -> Result<T, Stop>,
    ) -> Result<(T, Task, Contexts), Stop> {
        let (instance, waits) = (task.instance, task.waits);
        let outer = self.in_call(|state| {
            state.concurrent.depth += 1;
            if state.concurrent.depth > MAX_DEPTH {
                return limit(format!("{MAX_DEPTH} components of the guest wait for each other, the most that may"));
            }
            if waits && !state.concurrent.take_instance(instance) {
                return rule("a component is entered in which another task waits");
            }
            Ok(state.concurrent.task.replace(task))
        })?;
        let outer_context = switch(caller, context);
        let may_block = self.set_may_block(caller, waits);
        let given = action(caller)?;
        let task = self.in_call(|state| {
            state.concurrent.depth -= 1;
            if waits {
                state.concurrent.leave_instance(instance);
            }
            let task = std::mem::replace(&mut state.concurrent.task, outer);
            task.map_or_else(|| rule("there is no task"), Ok)
        })?;
        let context = switch(caller, outer_context);
        if let Some(may_block) = may_block {
            self.set_may_block(caller, may_block);
        }
        Ok((given, task, context))
    }

    fn may_block_global(&self) -> Option<&str> {
        self.composed()?.plan.calls.as_ref()?.may_block.as_deref()
    }

    /// Whether the task that runs may wait.
    fn may_block(&self, caller: &mut dyn Caller) -> bool {
        self.may_block_global().and_then(|global| caller.global(global)).is_none_or(|value| value != 0)
    }

    /// Says whether the task that runs may wait; gives what was said before.
    pub(crate) fn set_may_block(&self, caller: &mut dyn Caller, value: bool) -> Option<bool> {
        let global = self.may_block_global()?;
        let before = caller.global(global)?;
        caller.set_global(global, value.into());
        Some(before != 0)
    }

    /// Begins a synchronous call, which has a context of its own and is no task.
    pub(super) fn enter_sync(&self, caller: &mut dyn Caller) -> Result<(), Stop> {
        self.handles(Handles::enter)?;
        if self.calls().is_ok() {
            let context = switch(caller, Contexts::default());
            self.in_call(|state| {
                let task = state.concurrent.task.take();
                state.concurrent.outer.push((task, context));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn exit_sync(&self, caller: &mut dyn Caller) -> Result<(), Stop> {
        self.handles(Handles::exit)?;
        let outer = self.in_call(|state| {
            let outer = state.concurrent.outer.pop();
            Ok(outer.map(|(task, context)| {
                state.concurrent.task = task;
                context
            }))
        })?;
        if let Some(context) = outer {
            switch(caller, context);
        }
        Ok(())
    }

    /// Runs the destructor of a resource. That of another component's is a call of its own, which may not wait.
    pub(super) fn destroy(&self, destroyed: &Destroyed, caller: &mut dyn Caller) -> Result<(), Stop> {
        let Destroyed { destructor, representation, of_another } = destroyed;
        let mut may_block = None;
        if *of_another {
            self.enter_sync(caller)?;
            may_block = self.set_may_block(caller, false);
        }
        caller.call(destructor, &mut [(*representation).into()]).map_err(|trap| {
            let message = format!("the guest trapped in the destructor `{destructor}`");
            Stop::from(Error::new(Kind::Trap, message).with_source(trap))
        })?;
        if *of_another {
            self.exit_sync(caller)?;
        }
        if let Some(may_block) = may_block {
            self.set_may_block(caller, may_block);
        }
        Ok(())
    }

    /// Moves the readable end of a stream or future between component instances.
    pub(super) fn transfer(&self, of: Passing, handle: u32, from: u32, to: u32) -> Result<u32, Stop> {
        let (composed, calls) = self.calls()?;
        let numbers = match of {
            Passing::Stream => &calls.streams,
            Passing::Future => &calls.futures,
        };
        let owner = |number: u32| composed.owner(of, *numbers.get(number as usize)?);
        let (Some(from), Some(to)) = (owner(from), owner(to)) else {
            return broken_rule("it passed a stream or future of a type that does not exist");
        };
        self.in_call(|state| concurrent::transfer(state, handle, of, from, to))
    }

    /// Calls an export that the plan names for calls, with as many values as it takes; gives what it returns.
    fn run(&self, export: &str, mut slots: Vec<u64>, caller: &mut dyn Caller) -> Result<Vec<u64>, Stop> {
        let ty = self.calls()?.0.function(export);
        let ty = ty.filter(|ty| ty.params.len() == slots.len());
        let ty =
            ty.ok_or_else(|| broken(format!("`{export}` is called with another number of values than it takes")))?;
        slots.resize(ty.params.len().max(ty.results.len()), 0);
        caller.call(export, &mut slots).map_err(|trap| {
            let over = (trap.code == TrapCode::Interrupted).then(|| self.lock().run.over()).flatten();
            over.unwrap_or_else(|| {
                let message = "the guest trapped in a call from one of its components to another";
                Error::new(Kind::Trap, message).with_source(trap).into()
            })
        })?;
        slots.truncate(ty.results.len());
        Ok(slots)
    }
}

/// Sets a task's context; gives what it was.
fn switch(caller: &mut dyn Caller, context: Contexts) -> Contexts {
    let mut before = Contexts::default();
    for (slot, (value, before)) in context.into_iter().zip(&mut before).enumerate() {
        let global = format!("{CONTEXT}{slot}");
        if let Some(was) = caller.global(&global) {
            *before = was;
            caller.set_global(&global, value);
        }
    }
    before
}
