//! The resources of an embedder: values that its functions and a guest's handles share.

use std::any::TypeId;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::super::table::Resource;
use super::{Cx, Flat, Lift, Lower, NotAResource, Outcome, ResourceName, Resources, Type, WitType};
use crate::abi::composed::Of;
use crate::budget::Charge;
use crate::types::ValType;

/// What stands in the table of handles for an embedder's resource.
pub(crate) struct Shared<T> {
    value: Arc<T>,
    /// What the value takes by its type.
    _charge: Charge,
}

impl<T: Send + Sync + 'static> Resource for Shared<T> {
    const NAME: &'static str = "resource";
    const OFFERED: bool = true;

    fn name() -> &'static str {
        std::any::type_name::<T>()
    }

    fn of() -> Of {
        Of::Offered(TypeId::of::<T>())
    }

    fn wit(resources: &Resources) -> Result<ResourceName, NotAResource> {
        resources.name::<T>()
    }
}

/// A handle that owns a resource `T` of the embedder's, [offered](crate::Linker::resource) before.
///
/// As a parameter it is one that the guest gives away. As a result it becomes the guest's, which drops it by the function
/// `[resource-drop]`; `T` is dropped when nobody else shares it.
pub struct Own<T>(Arc<T>);

/// A handle that lends a resource `T` of the embedder's for one call. Whoever keeps it shares the value beyond that.
pub struct Borrow<T>(Arc<T>);

impl<T> Own<T> {
    /// Makes a resource of a value.
    pub fn new(value: T) -> Self {
        Own(Arc::new(value))
    }

    /// The value, shared with whoever else has it.
    pub fn into_shared(self) -> Arc<T> {
        self.0
    }
}

/// Makes a resource of a value that the embedder, or other handles, share.
impl<T> From<Arc<T>> for Own<T> {
    fn from(value: Arc<T>) -> Self {
        Own(value)
    }
}

impl<T> Clone for Borrow<T> {
    fn clone(&self) -> Self {
        Borrow(self.0.clone())
    }
}

macro_rules! handles {
    ($($name:ident)*) => {$(
        impl<T> Deref for $name<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T: fmt::Debug> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0).finish()
            }
        }

        impl<T: Send + Sync + 'static> Type for $name<T> {
            const SIZE: u32 = 4;
            const ALIGN: u32 = 4;
            const FLAT: usize = 1;
            const REALLOC: bool = false;

            fn flat(out: &mut Vec<ValType>) {
                out.push(ValType::I32);
            }

            fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
                resources.name::<T>().map(WitType::$name)
            }
        }
    )*};
}

handles!(Own Borrow);

impl<T: Send + Sync + 'static> Lift for Own<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        super::Own::<Shared<T>>::lift(cx, flat).map(|own| Own(own.0.value))
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        super::Own::<Shared<T>>::load(cx, ptr).map(|own| Own(own.0.value))
    }
}

impl<T: Send + Sync + 'static> Lift for Borrow<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let handle = super::Borrow::<Shared<T>>::lift(cx, flat)?;
        cx.get(handle).map(|shared| Borrow(shared.value.clone()))
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let handle = super::Borrow::<Shared<T>>::load(cx, ptr)?;
        cx.get(handle).map(|shared| Borrow(shared.value.clone()))
    }
}

impl<T: Send + Sync + 'static> Lower for Own<T> {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        open(self, cx)?.lower(cx, flat)
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        open(self, cx)?.store(cx, ptr)
    }
}

fn open<T: Send + Sync + 'static>(own: Own<T>, cx: &mut Cx<'_>) -> Outcome<super::Handle<Shared<T>>> {
    let charge = cx.state.budget.charge(std::mem::size_of::<T>() as u64)?;
    cx.push(Shared { value: own.0, _charge: charge })
}
