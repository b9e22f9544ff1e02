//! The handles of each component instance of a composed guest.
//!
//! What a handle of the host's resources stands for is an index of the host's own table, which no component sees;
//! what one of a component's own stands for is a number that only that component understands.

use std::any::TypeId;
use std::sync::Arc;

use wharf_plan::Resource;

use super::plan::Composed;
use crate::abi::wasi02::canon::{Outcome, Resources, limit, rule};
use crate::budget::{Budget, Charge};

/// How many handles all instances together may have open.
const MAX_HANDLES: usize = 1 << 15;

/// How deep calls between components may nest.
const MAX_CALLS: usize = 1 << 12;

/// How often handles may be lent by the calls under way.
const MAX_LENT: usize = 1 << 16;

/// Whose resource a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The host's, by its name.
    Host(&'static str),
    /// The embedder's, by the Rust type that stands for it.
    Offered(TypeId),
    /// A component's, by its number in the plan.
    Guest(u32),
}

#[derive(Debug, Clone, Copy)]
enum Held {
    /// The holder's own.
    Own,
    /// Lent to the holder by the call of this number.
    Borrow { call: usize },
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    of: Of,
    representation: u32,
    held: Held,
    /// How often calls in progress have lent it: one that was lent to the holder may be lent on.
    lent: u32,
}

#[derive(Default)]
struct Slab {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

/// A call from one component to another: what it lent, and how much of that is still held.
#[derive(Default)]
struct Call {
    borrows: u32,
    lent: Vec<(u32, u32)>,
}

/// What came of dropping a handle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It was owned: the resource ends, which has this representation.
    Own(u32),
    /// It was borrowed: the resource stays.
    Borrow,
}

/// A resource that ends and has a destructor.
pub(crate) struct Destroyed {
    pub(super) destructor: String,
    pub(super) representation: u32,
    /// Whether another component than the one that has dropped it defines it.
    pub(super) of_another: bool,
}

/// The handles of all component instances.
pub(crate) struct Handles {
    composed: Arc<Composed>,
    /// Those of the embedder.
    offered: Arc<Resources>,
    instances: Vec<Slab>,
    /// Those under way; `None` for numbers that are free.
    calls: Vec<Option<Call>>,
    free_calls: Vec<usize>,
    /// Those that the running code is in, the innermost last.
    stack: Vec<usize>,
    open: usize,
    lent: usize,
    /// What the entries take. They stay when handles are dropped, to be used again.
    charge: Charge,
}

/// What an entry takes, with its place among the free ones, and what the vectors have room for beyond it.
const COST: u64 = 2 * (std::mem::size_of::<Option<Entry>>() + std::mem::size_of::<u32>()) as u64;

impl Handles {
    /// No handles of the parts of `composed`; what will be open is charged to `budget`.
    pub(crate) fn new(composed: Arc<Composed>, offered: Arc<Resources>, budget: &Budget) -> Self {
        let instances = composed.plan.instances.iter().map(|_| Slab::default()).collect();
        Handles {
            composed,
            offered,
            instances,
            calls: Vec::new(),
            free_calls: Vec::new(),
            stack: Vec::new(),
            open: 0,
            lent: 0,
            charge: budget.nothing(),
        }
    }

    /// How the guest's components belong together.
    pub(crate) fn composed(&self) -> &Arc<Composed> {
        &self.composed
    }

    /// The global that says whether this instance may call out.
    pub(crate) fn may_leave(&self, instance: u32) -> Option<&str> {
        self.composed.may_leave(instance)
    }

    /// The global that says whether the task that runs may wait.
    pub(crate) fn may_block(&self) -> Option<&str> {
        self.composed.plan.calls.as_ref()?.may_block.as_deref()
    }

    fn slab(&mut self, instance: u32) -> Outcome<&mut Slab> {
        match self.instances.get_mut(instance as usize) {
            Some(slab) => Ok(slab),
            None => rule(format!("component instance {instance} does not exist")),
        }
    }

    fn push(&mut self, instance: u32, entry: Entry) -> Outcome<u32> {
        if self.open >= MAX_HANDLES {
            return limit(format!("the guest's components have {MAX_HANDLES} handles open, the most they may have"));
        }
        self.slab(instance)?;
        let Handles { instances, charge, .. } = self;
        let slab = &mut instances[instance as usize];
        let at = match slab.free.pop() {
            Some(at) => {
                slab.entries[at as usize] = Some(entry);
                at
            }
            None => {
                charge.grow(COST)?;
                // 0 is never a handle.
                if slab.entries.is_empty() {
                    slab.entries.push(None);
                }
                slab.entries.push(Some(entry));
                (slab.entries.len() - 1) as u32
            }
        };
        self.open += 1;
        Ok(at)
    }

    fn get(&mut self, instance: u32, handle: u32) -> Outcome<&mut Entry> {
        match self.slab(instance)?.entries.get_mut(handle as usize) {
            Some(Some(entry)) => Ok(entry),
            _ => rule(format!("{handle} is not an open handle of component instance {instance}")),
        }
    }

    fn remove(&mut self, instance: u32, handle: u32) -> Outcome<Entry> {
        let entry = *self.get(instance, handle)?;
        if entry.lent > 0 {
            return rule(format!("handle {handle} is lent to a call that is still in progress"));
        }
        let slab = self.slab(instance)?;
        slab.entries[handle as usize] = None;
        slab.free.push(handle);
        self.open -= 1;
        if let Held::Borrow { call } = entry.held
            && let Some(Some(call)) = self.calls.get_mut(call)
        {
            call.borrows = call.borrows.saturating_sub(1);
        }
        Ok(entry)
    }

    /// Opens a handle of a resource of the host's or of the embedder's.
    pub(crate) fn give(&mut self, instance: u32, of: Of, representation: u32) -> Outcome<u32> {
        self.push(instance, Entry { of, representation, held: Held::Own, lent: 0 })
    }

    /// Opens a handle of the host's resource `name` for the component that answers requests.
    pub(crate) fn give_to_handler(&mut self, name: &'static str, representation: u32) -> Outcome<u32> {
        let handler = self.composed.handler();
        self.give(handler, Of::Host(name), representation)
    }

    /// Whether a handle is one that was lent.
    pub(crate) fn is_borrow(&mut self, instance: u32, handle: u32) -> bool {
        self.get(instance, handle).is_ok_and(|entry| matches!(entry.held, Held::Borrow { .. }))
    }

    /// What a handle of the host's stands for.
    pub(crate) fn look(&mut self, instance: u32, handle: u32) -> Outcome<u32> {
        let entry = *self.get(instance, handle)?;
        match entry.of {
            Of::Host(_) | Of::Offered(_) => Ok(entry.representation),
            Of::Guest(_) => rule(format!("handle {handle} refers to a resource that the guest itself defines")),
        }
    }

    /// Takes a handle of the host's that the guest gives away.
    pub(crate) fn take(&mut self, instance: u32, handle: u32) -> Outcome<u32> {
        match self.drop(instance, handle)? {
            Dropped::Own(representation) => Ok(representation),
            Dropped::Borrow => rule(format!("handle {handle} is borrowed, so its ownership cannot be transferred")),
        }
    }

    /// Closes a handle of the host's.
    pub(crate) fn drop(&mut self, instance: u32, handle: u32) -> Outcome<Dropped> {
        self.look(instance, handle)?;
        let entry = self.remove(instance, handle)?;
        Ok(match entry.held {
            Held::Own => Dropped::Own(entry.representation),
            Held::Borrow { .. } => Dropped::Borrow,
        })
    }

    /// Forgets the handles of a resource that the host has closed.
    pub(crate) fn forget(&mut self, name: &str, representation: u32) {
        for slab in &mut self.instances {
            for (at, entry) in (0..).zip(&mut slab.entries) {
                let of = entry.map(|entry| (entry.of, entry.representation));
                if let Some((Of::Host(of), held)) = of
                    && (of, held) == (name, representation)
                {
                    *entry = None;
                    slab.free.push(at);
                    self.open -= 1;
                }
            }
        }
    }

    /// The instance and the resource of a table that intrinsics name.
    fn table(&self, table: u32) -> Outcome<(u32, u32)> {
        match self.composed.plan.handle_tables.get(table as usize).map(|table| (table.instance, table.resource)) {
            Some((instance, Some(resource))) => Ok((instance, resource)),
            _ => rule(format!("handle table {table} does not exist")),
        }
    }

    /// Refuses a handle that is not of the resource of its table.
    fn check(&self, entry: Entry, handle: u32, resource: u32) -> Outcome {
        let fits = match (entry.of, self.composed.plan.resources.get(resource as usize)) {
            (Of::Host(name), Some(Resource::Imported { interface, name: wanted })) => {
                name == wanted && interface.starts_with("wasi:")
            }
            (Of::Offered(id), Some(Resource::Imported { interface, name })) => {
                self.offered.stands_for(id, interface, name)
            }
            (Of::Guest(number), Some(Resource::Defined { .. })) => number == resource,
            _ => false,
        };
        if fits { Ok(()) } else { rule(format!("handle {handle} refers to a resource of another type")) }
    }

    pub(super) fn new_resource(&mut self, table: u32, representation: u32) -> Outcome<u32> {
        let (instance, resource) = self.table(table)?;
        self.push(instance, Entry { of: Of::Guest(resource), representation, held: Held::Own, lent: 0 })
    }

    pub(super) fn representation(&mut self, table: u32, handle: u32) -> Outcome<u32> {
        let (instance, resource) = self.table(table)?;
        let entry = *self.get(instance, handle)?;
        self.check(entry, handle, resource)?;
        Ok(entry.representation)
    }

    /// Drops a handle; gives what is to be destroyed, if the resource ends and has a destructor.
    pub(super) fn drop_resource(&mut self, table: u32, handle: u32) -> Outcome<Option<Destroyed>> {
        let (instance, resource) = self.table(table)?;
        let entry = *self.get(instance, handle)?;
        self.check(entry, handle, resource)?;
        self.remove(instance, handle)?;
        Ok(match (entry.held, self.composed.plan.resources.get(resource as usize)) {
            (Held::Own, Some(Resource::Defined { destructor: Some(destructor), instance: definer })) => {
                Some(Destroyed {
                    destructor: destructor.clone(),
                    representation: entry.representation,
                    of_another: *definer != instance,
                })
            }
            _ => None,
        })
    }

    /// Moves a handle from one instance to another.
    pub(crate) fn transfer_own(&mut self, handle: u32, from: u32, to: u32) -> Outcome<u32> {
        let ((source, resource), (target, _)) = (self.table(from)?, self.table(to)?);
        let entry = *self.get(source, handle)?;
        self.check(entry, handle, resource)?;
        if let Held::Borrow { .. } = entry.held {
            return rule(format!("handle {handle} is borrowed, so its ownership cannot be transferred"));
        }
        self.remove(source, handle)?;
        self.push(target, entry)
    }

    /// Lends a handle for the call that has begun. Who defines a resource gets its representation.
    pub(super) fn transfer_borrow(&mut self, handle: u32, from: u32, to: u32) -> Outcome<u32> {
        let ((source, resource), (target, _)) = (self.table(from)?, self.table(to)?);
        let entry = *self.get(source, handle)?;
        self.check(entry, handle, resource)?;
        let Some(call) = self.stack.last().copied() else {
            return rule("a handle can only be lent during a call");
        };
        if self.lent >= MAX_LENT {
            return limit(format!("the guest's components have {MAX_LENT} handles lent, the most they may have"));
        }
        self.get(source, handle)?.lent += 1;
        self.call(call)?.lent.push((source, handle));
        self.lent += 1;
        if let Some(Resource::Defined { instance, .. }) = self.composed.plan.resources.get(resource as usize)
            && *instance == target
        {
            return Ok(entry.representation);
        }
        self.call(call)?.borrows += 1;
        self.push(target, Entry { held: Held::Borrow { call }, lent: 0, ..entry })
    }

    fn call(&mut self, call: usize) -> Outcome<&mut Call> {
        match self.calls.get_mut(call) {
            Some(Some(call)) => Ok(call),
            _ => rule("a call ended that had not begun"),
        }
    }

    /// Begins a call from one component to another, and gives its number.
    pub(super) fn enter(&mut self) -> Outcome<usize> {
        if self.stack.len() >= MAX_CALLS {
            return limit(format!("calls between the guest's components are nested {MAX_CALLS} deep"));
        }
        if self.calls.len() - self.free_calls.len() >= MAX_HANDLES {
            return limit(format!(
                "{MAX_HANDLES} calls between the guest's components are under way, the most there may be"
            ));
        }
        let call = self.free_calls.pop().unwrap_or(self.calls.len());
        match self.calls.get_mut(call) {
            Some(free) => *free = Some(Call::default()),
            None => self.calls.push(Some(Call::default())),
        }
        self.stack.push(call);
        Ok(call)
    }

    /// Leaves a call that goes on otherwise than on the stack.
    pub(super) fn leave(&mut self) -> Outcome<usize> {
        self.stack.pop().map_or_else(|| rule("a call ended that had not begun"), Ok)
    }

    /// Ends the innermost call, which has returned.
    pub(super) fn exit(&mut self) -> Outcome {
        let call = self.leave()?;
        self.returns(call)?;
        self.end(call)
    }

    /// Refuses that a call returns while it holds what was borrowed for it.
    pub(crate) fn returns(&mut self, call: usize) -> Outcome {
        match self.call(call)?.borrows {
            0 => Ok(()),
            borrows => rule(format!("a call ended with {borrows} borrowed handles that were not dropped")),
        }
    }

    /// Ends a call, whose caller has back what it lent.
    pub(crate) fn end(&mut self, call: usize) -> Outcome {
        let lent = std::mem::take(&mut self.call(call)?.lent);
        self.calls[call] = None;
        self.free_calls.push(call);
        self.lent -= lent.len();
        for (instance, handle) in lent {
            let entry = self.get(instance, handle)?;
            entry.lent = entry.lent.saturating_sub(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector that has grown by one has room for twice as many as it holds.
    #[test]
    fn an_entry_pays_for_the_room_that_vectors_have() {
        let (mut slab, open) = (Slab::default(), 1025);
        for index in 0..open {
            slab.entries.push(None);
            slab.free.push(index);
        }
        let entries = slab.entries.capacity() * std::mem::size_of::<Option<Entry>>();
        let room = entries + slab.free.capacity() * std::mem::size_of::<u32>();
        assert!(u64::from(open) * COST >= room as u64, "{room} bytes for {open} entries");
    }
}
