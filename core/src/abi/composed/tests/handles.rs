//! Handles: whose they are, what is lent, and what ends when.

use super::*;
use crate::abi::composed::handles::{Dropped, Handles};

const ENTER: &str = "enter-sync-call";
const EXIT: &str = "exit-sync-call";
const OWN: &str = "resource-transfer-own";
const BORROW: &str = "resource-transfer-borrow";

/// Tables, by the component and the resource.
const FIRST_HOSTS: u64 = 0;
const SECOND_HOSTS: u64 = 1;
const FIRST: u64 = 2;
const SECOND: u64 = 3;

/// A resource of the second component's, and its handle in the second component.
fn with_resource() -> (Guest, u64) {
    let mut guest = guest();
    let handle = guest.gives("[resource-new]3", &[99]);
    (guest, handle)
}

impl Guest {
    #[track_caller]
    fn give(&mut self, instance: u32, representation: u32) -> u64 {
        self.host.handles(|handles| handles.give(instance, Of::Host("fields"), representation)).unwrap().into()
    }

    fn look(&mut self, instance: u32, handle: u64) -> std::result::Result<u32, Stop> {
        self.host.handles(|handles| handles.look(instance, handle as u32))
    }

    fn take(&mut self, instance: u32, handle: u64) -> std::result::Result<u32, Stop> {
        self.host.handles(|handles| handles.take(instance, handle as u32))
    }

    #[track_caller]
    fn enter(&mut self) {
        self.does(ENTER, &[0, 0, 0]);
    }

    #[track_caller]
    fn exit(&mut self) {
        self.does(EXIT, &[]);
    }
}

#[test]
fn each_component_has_handles_of_its_own() {
    let mut guest = guest();
    let (a, b) = (guest.give(0, 7), guest.give(1, 8));
    assert_eq!((a, b), (1, 1), "0 is never a handle");
    assert_eq!((guest.look(0, a).unwrap(), guest.look(1, b).unwrap()), (7, 8));
    let next = guest.give(0, 9);
    assert_eq!(next, 2);
    for (instance, handle) in [(1, next), (0, 0), (0, 3), (0, u64::from(u32::MAX))] {
        ends(guest.look(instance, handle), Kind::Trap, "not an open handle");
    }
    ends(guest.look(2, 1), Kind::Trap, "component instance 2 does not exist");
    assert_eq!(guest.take(0, a).unwrap(), 7);
    ends(guest.take(0, a), Kind::Trap, "not an open handle");
    assert_eq!(guest.give(0, 10), a, "a number is used again");
}

#[test]
fn the_component_that_answers_requests_gets_their_handles() {
    let mut guest = guest();
    let handle = guest.host.handles(|handles| handles.give_to_handler("fields", 5)).unwrap().into();
    assert_eq!(guest.look(1, handle).unwrap(), 5);
    ends(guest.look(0, handle), Kind::Trap, "not an open handle");
}

#[test]
fn what_a_component_defines_only_it_sees_through() {
    let (mut guest, handle) = with_resource();
    assert_eq!(guest.gives("[resource-rep]3", &[handle]), 99);
    ends(guest.look(1, handle), Kind::Trap, "a resource that the guest itself defines");
    for table in [SECOND_HOSTS, 5] {
        guest.traps(&format!("[resource-rep]{table}"), &[handle], "a resource of another type");
        guest.traps(&format!("[resource-drop]{table}"), &[handle], "a resource of another type");
        guest.traps(OWN, &[handle, table, FIRST], "a resource of another type");
    }
    for table in [6, 7] {
        guest.traps(&format!("[resource-new]{table}"), &[0], &format!("handle table {table} does not exist"));
    }
    let hosts = guest.give(1, 4);
    assert_eq!(guest.gives("[resource-rep]1", &[hosts]), 4);
    guest.traps("[resource-rep]3", &[hosts], "a resource of another type");
    let others = guest.host.handles(|handles| handles.give(1, Of::Host("pollable"), 4)).unwrap().into();
    guest.traps("[resource-rep]1", &[others], "a resource of another type");
}

#[test]
fn a_resource_that_ends_has_its_destructor_called() {
    let (mut guest, handle) = with_resource();
    let other = guest.gives("[resource-new]4", &[5]);
    guest.does("[resource-drop]3", &[handle]);
    assert_eq!(guest.fake.called, [("drop_1".to_owned(), 99)]);
    guest.traps("[resource-drop]3", &[handle], "not an open handle");
    guest.does("[resource-drop]4", &[other]);
    assert_eq!(guest.fake.called.len(), 1, "it has none");
    let handle = guest.gives("[resource-new]3", &[98]);
    guest.fake.traps = true;
    guest.traps("[resource-drop]3", &[handle], "trapped in the destructor `drop_1`");
}

#[test]
fn what_is_given_away_is_the_others_alone() {
    let (mut guest, handle) = with_resource();
    let given = guest.gives(OWN, &[handle, SECOND, FIRST]);
    guest.traps("[resource-rep]3", &[handle], "not an open handle");
    assert_eq!(guest.gives("[resource-rep]2", &[given]), 99);
    guest.does("[resource-drop]2", &[given]);
    assert_eq!(guest.fake.called, [("drop_1".to_owned(), 99)]);
}

#[test]
fn what_is_lent_comes_back_when_the_call_ends() {
    let (mut guest, handle) = with_resource();
    guest.traps(BORROW, &[handle, SECOND, FIRST], "only be lent during a call");
    guest.enter();
    let lent = guest.gives(BORROW, &[handle, SECOND, FIRST]);
    assert_eq!(guest.gives("[resource-rep]2", &[lent]), 99);
    guest.traps("[resource-drop]3", &[handle], "lent to a call that is still in progress");
    guest.traps(OWN, &[handle, SECOND, FIRST], "lent to a call that is still in progress");
    guest.traps(OWN, &[lent, FIRST, SECOND], "its ownership cannot be transferred");
    guest.does("[resource-drop]2", &[lent]);
    assert_eq!(guest.fake.called, [], "the resource stays");
    guest.exit();
    guest.does("[resource-drop]3", &[handle]);
    assert_eq!(guest.fake.called, [("drop_1".to_owned(), 99)]);
}

#[test]
fn what_was_lent_has_to_be_dropped_before_the_call_ends() {
    let (mut guest, handle) = with_resource();
    guest.enter();
    let first = guest.gives(BORROW, &[handle, SECOND, FIRST]);
    guest.gives(BORROW, &[handle, SECOND, FIRST]);
    guest.does("[resource-drop]2", &[first]);
    guest.traps(EXIT, &[], "1 borrowed handles that were not dropped");
    guest.traps(EXIT, &[], "a call ended that had not begun");
}

#[test]
fn each_call_counts_what_it_lent_itself() {
    let (mut guest, handle) = with_resource();
    guest.enter();
    let outer = guest.gives(BORROW, &[handle, SECOND, FIRST]);
    guest.enter();
    let inner = guest.gives(BORROW, &[handle, SECOND, FIRST]);
    guest.does("[resource-drop]2", &[outer]);
    guest.does("[resource-drop]2", &[inner]);
    guest.exit();
    guest.traps("[resource-drop]3", &[handle], "lent to a call");
    guest.exit();
    guest.does("[resource-drop]3", &[handle]);
}

#[test]
fn what_was_lent_on_stays_until_that_call_ends() {
    let (mut guest, handle) = with_resource();
    guest.enter();
    let lent = guest.gives(BORROW, &[handle, SECOND, FIRST]);
    guest.enter();
    assert_eq!(guest.gives(BORROW, &[lent, FIRST, SECOND]), 99);
    guest.traps("[resource-drop]2", &[lent], "lent to a call that is still in progress");
    guest.exit();
    guest.does("[resource-drop]2", &[lent]);
    guest.exit();
    guest.does("[resource-drop]3", &[handle]);
}

#[test]
fn who_defines_a_resource_is_lent_what_it_stands_for() {
    let (mut guest, handle) = with_resource();
    let given = guest.gives(OWN, &[handle, SECOND, FIRST]);
    guest.enter();
    assert_eq!(guest.gives(BORROW, &[given, FIRST, SECOND]), 99);
    guest.traps("[resource-drop]2", &[given], "lent to a call");
    guest.exit();
    guest.does("[resource-drop]2", &[given]);
}

#[test]
fn a_borrowed_handle_of_the_hosts_is_dropped_and_not_taken() {
    let mut guest = guest();
    let own = guest.give(0, 7);
    guest.enter();
    let lent = guest.gives(BORROW, &[own, FIRST_HOSTS, SECOND_HOSTS]);
    let is_borrow = |guest: &Guest, instance, handle: u64| {
        guest.host.handles(|handles| Ok(handles.is_borrow(instance, handle as u32))).unwrap()
    };
    assert!(is_borrow(&guest, 1, lent) && !is_borrow(&guest, 0, own) && !is_borrow(&guest, 1, 77));
    assert_eq!(guest.look(1, lent).unwrap(), 7);
    let drop =
        |guest: &Guest, instance, handle: u64| guest.host.handles(|handles| handles.drop(instance, handle as u32));
    assert_eq!(drop(&guest, 1, lent).unwrap(), Dropped::Borrow);
    let again = guest.gives(BORROW, &[own, FIRST_HOSTS, SECOND_HOSTS]);
    ends(guest.take(1, again), Kind::Trap, "its ownership cannot be transferred");
    guest.exit();
    assert_eq!(drop(&guest, 0, own).unwrap(), Dropped::Own(7));
}

#[test]
fn what_the_host_closes_is_forgotten() {
    let mut guest = guest();
    let (gone, other) = (guest.give(0, 7), guest.give(0, 8));
    let named = guest.host.handles(|handles| handles.give(0, Of::Host("pollable"), 7)).unwrap().into();
    let elsewhere = guest.give(1, 7);
    let forget = |handles: &mut Handles| {
        handles.forget("fields", 7);
        Ok(())
    };
    guest.host.handles(forget).unwrap();
    for (instance, handle) in [(0, gone), (1, elsewhere)] {
        ends(guest.look(instance, handle), Kind::Trap, "not an open handle");
    }
    assert_eq!((guest.look(0, other).unwrap(), guest.look(0, named).unwrap()), (8, 7));
    assert_eq!(guest.give(0, 9), gone, "its number is used again");
}

#[test]
fn the_most_handles_that_all_components_may_have() {
    let mut guest = guest();
    for at in 0..1 << 15 {
        guest.give(at % 2, 0);
    }
    guest.ends("[resource-new]3", &[0], Kind::Limit, "32768 handles open");
    assert!(guest.take(0, 1).is_ok());
    guest.give(1, 7);
    guest.ends("[resource-new]3", &[0], Kind::Limit, "32768 handles open");
    let forget = |handles: &mut Handles| {
        handles.forget("fields", 7);
        Ok(())
    };
    guest.host.handles(forget).unwrap();
    assert!(guest.call("[resource-new]3", &[0]).is_ok());
}

#[test]
fn the_deepest_that_calls_may_nest() {
    let mut guest = guest();
    for _ in 0..1 << 12 {
        guest.enter();
    }
    guest.ends(ENTER, &[0, 0, 0], Kind::Limit, "nested 4096 deep");
    guest.exit();
    guest.enter();
}

#[test]
fn the_most_that_may_be_lent() {
    let (mut guest, handle) = with_resource();
    let given = guest.gives(OWN, &[handle, SECOND, FIRST]);
    for _ in 0..2 {
        guest.enter();
        for _ in 0..1 << 16 {
            guest.gives(BORROW, &[given, FIRST, SECOND]);
        }
        guest.ends(BORROW, &[given, FIRST, SECOND], Kind::Limit, "65536 handles lent");
        guest.exit();
    }
    guest.does("[resource-drop]2", &[given]);
}

#[test]
fn handles_are_charged_to_the_guest() {
    let mut guest = guest_within(Budget::new(1 << 10));
    let end = (0..100).find_map(|_| guest.call("[resource-new]3", &[0]).err());
    ends(Err::<(), _>(end.expect("no end")), Kind::Limit, "");
    let used = guest.host.budget().used();
    assert!(used > 0 && used <= 1 << 10, "{used}");
    guest.host.close();
    assert_eq!(guest.host.budget().used(), 0, "and given back when the guest has ended");
}

#[test]
fn a_component_that_may_not_call_out_makes_no_handles() {
    let (mut guest, handle) = with_resource();
    guest.fake.globals.insert("leave_1", 0);
    for (name, param) in [("[resource-new]3", 1), ("[resource-drop]3", handle)] {
        guest.traps(name, &[param], "from its allocator or its post-return function");
    }
    assert_eq!(guest.fake.called, []);
    assert!(guest.call("[resource-new]4", &[1]).is_ok(), "the other component may");
    guest.host.returning(true, "handle", &mut guest.fake);
    guest.fake.globals.insert("leave_0", 0);
    guest.host.returning(false, "handle", &mut guest.fake);
    assert_eq!((guest.fake.globals["leave_0"], guest.fake.globals["leave_1"]), (0, 1));
}
