//! The handles of one guest: what each stands for, whose child it is, and how many children it has.
//!
//! As the component model has it, all resource types share one index space and 0 is never a handle. A resource that
//! has children can be neither dropped nor given away: the interface files call that a trap.

use std::any::Any;

use super::canon::{NotAResource, Outcome, ResourceName, Resources, limit, rule};
use crate::abi::composed::Of;
use crate::budget::{Budget, Charge};

/// How many handles a guest may have open. Each wait looks at those it waits for, and each end at all of them.
pub(crate) const MAX_HANDLES: usize = 4096;

/// What a handle takes beyond the value it stands for: its entry, allocations, and what small values have boxed.
const COST: u64 = 320;

/// What a handle can refer to.
pub(crate) trait Resource: Send + 'static {
    /// The resource's name in its WIT file, for messages.
    const NAME: &'static str;

    /// Whether it is one of the embedder's.
    const OFFERED: bool = false;

    /// What messages call it.
    fn name() -> &'static str {
        Self::NAME
    }

    /// What a handle of a composed guest's component says of it.
    fn of() -> Of {
        Of::Host(Self::NAME)
    }

    /// Its name in the interface of an embedder that has it.
    fn wit(_: &Resources) -> Result<ResourceName, NotAResource> {
        Err(NotAResource(Self::NAME))
    }
}

struct Entry {
    value: Box<dyn Any + Send>,
    name: &'static str,
    /// Whether it is a resource of the embedder's.
    offered: bool,
    parent: Option<u32>,
    children: u32,
    /// What the value takes by its type; what it refers to, it has charged itself.
    _charge: Charge,
}

/// The handle table.
pub(crate) struct Table {
    budget: Budget,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

impl Table {
    pub(crate) fn new(budget: Budget) -> Self {
        Table { budget, entries: vec![None], free: Vec::new() }
    }

    /// How many handles are open.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - 1 - self.free.len()
    }

    /// Whether a handle is open of a resource of the embedder's.
    pub(crate) fn has_offered(&self) -> bool {
        self.entries.iter().flatten().any(|entry| entry.offered)
    }

    /// Closes every handle, as when the guest has ended.
    pub(crate) fn clear(&mut self) {
        *self = Table::new(self.budget.clone());
    }

    /// Opens a handle; `parent` cannot be closed before it.
    pub(crate) fn push<T: Resource>(&mut self, value: T, parent: Option<u32>) -> Outcome<u32> {
        if self.len() >= MAX_HANDLES {
            return limit(format!("the guest has {MAX_HANDLES} handles open, the most it may have"));
        }
        let charge = self.budget.charge(COST + std::mem::size_of::<T>() as u64)?;
        if let Some(parent) = parent {
            self.entry(parent)?.children += 1;
        }
        let entry = Some(Entry {
            value: Box::new(value),
            name: T::name(),
            offered: T::OFFERED,
            parent,
            children: 0,
            _charge: charge,
        });
        Ok(match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        })
    }

    /// Whether `handle` is open, and of this resource.
    pub(crate) fn is<T: Resource>(&self, handle: u32) -> bool {
        matches!(self.entries.get(handle as usize), Some(Some(entry)) if entry.value.is::<T>())
    }

    /// What `handle` stands for.
    pub(crate) fn get<T: Resource>(&mut self, handle: u32) -> Outcome<&mut T> {
        let entry = self.entry(handle)?;
        let name = entry.name;
        match entry.value.downcast_mut() {
            Some(value) => Ok(value),
            None => rule(format!("handle {handle} refers to a resource of type `{name}`, not `{}`", T::name())),
        }
    }

    /// Closes `handle` and returns what it stood for.
    pub(crate) fn take<T: Resource>(&mut self, handle: u32) -> Outcome<T> {
        self.get::<T>(handle)?;
        let entry = self.entry(handle)?;
        if entry.children > 0 {
            let children = entry.children;
            return rule(format!(
                "the `{}` still has {children} child resources, which must be dropped first",
                T::name()
            ));
        }
        let Some(entry) = self.entries[handle as usize].take() else { return rule("a handle vanished") };
        self.free.push(handle);
        if let Some(parent) = entry.parent {
            self.entry(parent)?.children -= 1;
        }
        match entry.value.downcast() {
            Ok(value) => Ok(*value),
            Err(_) => rule("a handle changed its type"),
        }
    }

    /// Closes every handle of this resource type that has no children; gives which they were.
    pub(crate) fn close_all<T: Resource>(&mut self) -> Vec<u32> {
        let mut closed = Vec::new();
        for at in 1..self.entries.len() {
            if self.entries[at].as_ref().is_some_and(|entry| entry.children == 0 && entry.value.is::<T>()) {
                self.entries[at] = None;
                closed.push(at as u32);
            }
        }
        self.free.extend(&closed);
        closed
    }

    /// Whether the handle at `at` is of a resource that `family` names, or a child of such a one, or a child's child.
    fn belongs(&self, mut at: usize, family: fn(&str) -> bool) -> bool {
        loop {
            match self.entries.get(at) {
                Some(Some(entry)) if family(entry.name) => return true,
                Some(Some(Entry { parent: Some(parent), .. })) => at = *parent as usize,
                _ => return false,
            }
        }
    }

    /// How many handles are open of the resources that `family` names, all their children and children's children
    /// included, and of those that are called `orphan` and have no parent.
    pub(crate) fn count(&self, family: fn(&str) -> bool, orphan: &str) -> usize {
        let orphaned = |at: usize| {
            let entry = self.entries[at].as_ref();
            entry.is_some_and(|entry| entry.parent.is_none() && entry.name == orphan)
        };
        (1..self.entries.len()).filter(|at| orphaned(*at) || self.belongs(*at, family)).count()
    }

    /// Closes every handle of the resources that `family` names, and all their children and children's children.
    pub(crate) fn close_family(&mut self, family: fn(&str) -> bool) {
        let closed: Vec<usize> = (1..self.entries.len()).filter(|at| self.belongs(*at, family)).collect();
        let entries: Vec<Entry> = closed.iter().filter_map(|at| self.entries[*at].take()).collect();
        self.free.extend(closed.iter().map(|at| *at as u32));
        for parent in entries.iter().filter_map(|entry| entry.parent) {
            if let Some(Some(parent)) = self.entries.get_mut(parent as usize) {
                parent.children -= 1;
            }
        }
    }

    fn entry(&mut self, handle: u32) -> Outcome<&mut Entry> {
        match self.entries.get_mut(handle as usize) {
            Some(Some(entry)) => Ok(entry),
            _ => rule(format!("{handle} is not an open handle")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::canon::{Fault, Shared};
    use super::*;

    struct A(u8);
    struct B;

    impl Resource for A {
        const NAME: &'static str = "a";
    }

    impl Resource for B {
        const NAME: &'static str = "b";
    }

    impl Resource for [A; 3] {
        const NAME: &'static str = "three";
    }

    fn breaks<T>(outcome: Outcome<T>, text: &str) {
        match outcome {
            Err(Fault::Rule(message)) => assert!(message.contains(text), "{message}"),
            Err(fault) => panic!("{fault:?}"),
            Ok(_) => panic!("no rule was broken"),
        }
    }

    #[test]
    fn handles_are_typed_and_numbers_are_used_again() {
        let mut table = Table::new(Budget::unlimited());
        let a = table.push(A(1), None).ok().unwrap();
        assert_eq!(a, 1);
        breaks(table.get::<B>(a), "a resource of type `a`, not `b`");
        breaks(table.get::<Shared<B>>(a), "a resource of type `a`, not `wharf_core::");
        for wrong in [0, 2, u32::MAX] {
            breaks(table.get::<A>(wrong), "not an open handle");
        }
        assert_eq!(table.take::<A>(a).ok().unwrap().0, 1);
        breaks(table.take::<A>(a), "not an open handle");
        assert_eq!(table.push(B, None).ok().unwrap(), a);
    }

    #[test]
    fn a_parent_outlives_its_children() {
        let mut table = Table::new(Budget::unlimited());
        let parent = table.push(A(1), None).ok().unwrap();
        let child = table.push(B, Some(parent)).ok().unwrap();
        breaks(table.take::<A>(parent), "1 child");
        assert!(table.take::<B>(child).is_ok());
        assert!(table.take::<A>(parent).is_ok());
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_family_is_closed_with_its_children_only() {
        let mut table = Table::new(Budget::unlimited());
        let kept = table.push(B, None).ok().unwrap();
        let parent = table.push(A(1), Some(kept)).ok().unwrap();
        let child = table.push(B, Some(parent)).ok().unwrap();
        table.push(B, Some(child)).ok().unwrap();
        assert_eq!(table.count(|name| name == A::NAME, "c"), 3);
        assert_eq!(table.count(|name| name == A::NAME, B::NAME), 4, "one more has no parent");
        table.close_family(|name| name == A::NAME);
        assert_eq!(table.len(), 1);
        breaks(table.get::<B>(child), "not an open handle");
        assert!(table.take::<B>(kept).is_ok(), "it has no children left");
    }

    #[test]
    fn handles_are_limited() {
        let mut table = Table::new(Budget::unlimited());
        for _ in 0..MAX_HANDLES {
            assert!(table.push(B, None).is_ok());
        }
        assert!(matches!(table.push(B, None), Err(Fault::Stop(_))));
    }

    #[test]
    fn handles_are_charged() {
        let budget = Budget::new(2 * (COST + 1));
        let mut table = Table::new(budget.clone());
        let wide = table.push([A(0), A(1), A(2)], None).ok().unwrap();
        assert_eq!(budget.used(), COST + 3);
        table.take::<[A; 3]>(wide).ok().unwrap();
        let first = table.push(A(1), None).ok().unwrap();
        table.push(A(1), None).ok().unwrap();
        assert!(matches!(table.push(B, None), Err(Fault::Stop(_))));
        table.take::<A>(first).ok().unwrap();
        assert!(table.push(B, None).is_ok());
        table.clear();
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn all_of_a_type_are_closed_but_those_with_children() {
        let mut table = Table::new(Budget::unlimited());
        let (gone, other) = (table.push(A(1), None).ok().unwrap(), table.push(B, None).ok().unwrap());
        let parent = table.push(A(2), None).ok().unwrap();
        let child = table.push(B, Some(parent)).ok().unwrap();
        assert_eq!(table.close_all::<A>(), [gone]);
        assert!(table.get::<A>(gone).is_err() && table.get::<A>(parent).is_ok());
        assert!(table.get::<B>(other).is_ok() && table.get::<B>(child).is_ok());
        assert_eq!(table.len(), 3);
        assert_eq!(table.push(B, None).ok().unwrap(), gone, "its number is used again");
    }

    #[test]
    fn there_are_only_so_many() {
        let mut table = Table::new(Budget::unlimited());
        for _ in 0..MAX_HANDLES {
            assert!(table.push(B, None).is_ok());
        }
        match table.push(B, None) {
            Err(Fault::Stop(stop)) => assert!(format!("{stop:?}").contains("Limit"), "{stop:?}"),
            other => panic!("{:?}", other.ok()),
        }
        assert!(table.take::<B>(1).is_ok());
        assert_eq!(table.push(B, None).ok().unwrap(), 1);
        table.clear();
        assert_eq!(table.len(), 0);
    }
}
