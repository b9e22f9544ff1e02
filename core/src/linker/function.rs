//! Functions of WIT interfaces: Rust closures, lowered by the types of their parameters and results.

use http::Extensions;

use super::{BoxError, HostCall};
use crate::abi::wasi02::canon::{
    Cx, Fault, Flat, Lift, Lower, NotAResource, Outcome, Own, Resources, Shared, Type, WitFunction, WitType, finish,
    lift, passed,
};
use crate::types::{FuncType, ValType};

/// The parameters of a function: a tuple of up to 16 types that a guest can pass.
pub trait Params: Lift + sealed::Sealed + 'static {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! params {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Lift + 'static),*> Params for ($($name,)*) {}
        impl<$($name),*> sealed::Sealed for ($($name,)*) {}
    )*};
}

params! { () }
crate::abi::for_tuples!(params);

/// What a lowered function does with a call.
type Lowered = dyn Fn(&mut Cx<'_>, &Extensions, &mut [u64]) -> Outcome + Send + Sync;

/// A function of an embedder's interface.
pub(crate) struct Function {
    /// The core signature it is lowered to.
    pub(crate) ty: FuncType,
    /// Its type; `None` for one that drops a resource, which WIT does not have.
    pub(crate) wit: Option<WitFunction>,
    /// Whether it needs an allocator of the guest's.
    pub(crate) needs_realloc: bool,
    /// Whether it needs the guest's memory.
    pub(crate) needs_memory: bool,
    call: Box<Lowered>,
}

impl Function {
    /// What `function` does, which errors call `what`.
    pub(super) fn new<P: Params, R: Lower + 'static, E: Into<BoxError> + 'static>(
        resources: &Resources,
        what: String,
        function: impl Fn(&HostCall<'_>, P) -> Result<R, E> + Send + Sync + 'static,
    ) -> Result<Self, NotAResource> {
        let params = match P::wit(resources)? {
            WitType::Tuple(types) => types,
            _ => Vec::new(),
        };
        let call = move |cx: &mut Cx<'_>, data: &Extensions, slots: &mut [u64]| {
            let params = lift::<P>(cx, slots)?;
            let run = cx.run();
            let call = HostCall::new(data, &run);
            let result = function(&call, params).map_err(|error| Fault::Stop(call.failed(&what, error.into())))?;
            finish(result, cx, slots, passed::<P>())
        };
        Ok(Function {
            wit: Some(WitFunction { params, result: R::wit(resources)? }),
            ..Function::lowered::<P, R>(Box::new(call))
        })
    }

    /// Drops a handle of the resource that `T` stands for, and with the last one the value.
    pub(super) fn dropping<T: Send + Sync + 'static>() -> Self {
        Function::lowered::<(Own<Shared<T>>,), ()>(Box::new(|cx, _, slots| {
            Own::<Shared<T>>::lift(cx, &mut Flat::new(slots)).map(drop)
        }))
    }

    fn lowered<P: Type, R: Type>(call: Box<Lowered>) -> Self {
        let (mut params, mut results) = (Vec::new(), Vec::new());
        P::flat(&mut params);
        if passed::<P>() < P::FLAT {
            params = vec![ValType::I32];
        }
        if R::FLAT > 1 {
            params.push(ValType::I32);
        } else {
            R::flat(&mut results);
        }
        Function {
            ty: FuncType { params, results },
            wit: None,
            needs_realloc: R::REALLOC,
            needs_memory: P::REALLOC || passed::<P>() < P::FLAT || R::REALLOC || R::FLAT > 1,
            call,
        }
    }

    /// Does what the function does, for an instance that was started with `data`.
    pub(crate) fn call(&self, cx: &mut Cx<'_>, data: &Extensions, slots: &mut [u64]) -> Outcome {
        (self.call)(cx, data, slots)
    }
}
