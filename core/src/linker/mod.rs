//! An embedder's own imports: functions and resources of its own that guests import, the same on every engine.
//!
//! A [`Linker`] is filled once and given to [`LoadOptions::linker`](crate::LoadOptions::linker). What it offers is looked
//! up, and its types are compared with those that the guest imports, when the guest is loaded.
//!
//! - [`Linker::func`] and [`Linker::func_async`] offer a function of a WIT interface, whose type is that of a Rust closure;
//!   [`Linker::resource`] offers a resource that a Rust type stands for.
//! - [`Linker::core_func`] offers a function of numbers to core modules, which works on their memory.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::Arc;
//! use wharf_core::{Linker, Result};
//!
//! # fn main() -> Result<()> {
//! type Store = Arc<HashMap<String, Vec<u8>>>;
//!
//! let mut linker = Linker::new();
//! linker.func("my:kv/store@1.0.0", "get", |call, (key,): (String,)| -> Result<Option<Vec<u8>>> {
//!     Ok(call.data::<Store>()?.get(&key).cloned())
//! })?;
//! linker.core_func("env", "log", |call, (ptr, len): (u32, u32)| -> Result<()> {
//!     println!("{}", String::from_utf8_lossy(call.memory()?.slice(ptr, len)?));
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Types
//! | WIT | Rust |
//! |---|---|
//! | `bool`, `s8` to `u64`, `f32`, `f64`, `char`, `string` | `bool`, `i8` to `u64`, `f32`, `f64`, `char`, `String` |
//! | `list<T>`, `list<u8>` | `Vec<T>`, [`bytes::Bytes`] or `Vec<u8>` |
//! | `option<T>`, `result<T, E>`, `tuple<T, U>` | `Option<T>`, `Result<T, E>` with `()` for what is missing, `(T, U)` |
//! | records; variants and enumerations; flags | what [`record!`](crate::record), [`variant!`](crate::variant) and [`flags!`](crate::flags) declare |
//! | a resource, `borrow<resource>` | [`Own<T>`](Own), [`Borrow<T>`](Borrow) |
//!
//! A component's types are compared with these one by one; names of parameters and of types are not. A core module that
//! bindings made, before it is wrapped as a component, says only what the function is lowered to.
//!
//! # Versions
//! `my:kv/store@1.0.0` serves guests that import a version that semantic versioning calls compatible: 1.2.0 too, not 2.0.0;
//! of 0.2.0 the releases 0.2; of a prerelease only itself. Functions of compatible versions are one function: an
//! interface is offered once, in its newest version.
//!
//! # What ends a guest
//! - An error of the function's: its [`Kind`] if it is one of wharf's, else
//!   [`Kind::Host`]; the error itself is the source. [`Stop::Exit`] exits. A pointer of a core module's
//!   that is not in its memory is a trap.
//! - A panic in the function: [`Kind::Internal`].
//! - What breaks a rule of the canonical ABI, such as a string that is not UTF-8 or a handle that is not open:
//!   [`Kind::Trap`].
//! - Arguments and handles that take more than the guest may: [`Kind::Limit`].

mod core;
mod function;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::Extensions;
use tokio::task::JoinSet;
use wharf_http::io;

pub(crate) use self::core::CoreFunction;
pub use self::core::{CoreCall, CoreValues};
pub(crate) use self::function::Function;
pub use self::function::Params;
use crate::abi::is_reserved;
pub use crate::abi::wasi02::canon::{Lift, Lower, SharedBorrow as Borrow, SharedOwn as Own, Type};
use crate::abi::wasi02::canon::{ResourceName, Resources};
use crate::abi::wasi02::options::{self, Interface};
use crate::error::{Error, Kind, Result};
use crate::memory::MemoryError;
use crate::run::Run;
use crate::stop::Stop;

/// Whatever error a host function returns.
type BoxError = Box<dyn StdError + Send + Sync>;

/// The functions and resources that an embedder offers to guests. A clone is another linker with the same ones.
#[derive(Clone, Default)]
pub struct Linker(Arc<Offered>);

#[derive(Clone, Default)]
struct Offered {
    interfaces: BTreeMap<Interface, BTreeMap<String, Arc<Function>>>,
    /// By module, and by name in it.
    core: BTreeMap<String, BTreeMap<String, Arc<CoreFunction>>>,
    resources: Arc<Resources>,
}

impl Linker {
    /// Offers nothing yet.
    pub fn new() -> Self {
        Linker::default()
    }

    /// Offers the function `name` of `interface`, by its WIT name: `get`, or `[method]bucket.get` with a
    /// [`Borrow`] as its first parameter, `[static]bucket.open`, or `[constructor]bucket` with an [`Own`] as its result. A
    /// function that a component imports by itself is of the interface `$root`.
    ///
    /// The closure gets its parameters as a tuple, and no other way:
    ///
    /// ```compile_fail
    /// # let mut linker = wharf_core::Linker::new();
    /// linker.func("my:kv/store@1.0.0", "has", |_, key: String| -> wharf_core::Result<bool> { Ok(!key.is_empty()) });
    /// ```
    ///
    /// What it waits for holds up the guest beyond its time limit, unless it
    /// is waited for with [`HostCall::wait`] or [`func_async`](Self::func_async).
    ///
    /// # Errors
    /// [`Kind::Config`] if it is offered already, in this or a compatible version; if the interface is one of wharf's own,
    /// `wasi:...`; or if a type of the function stands for a resource that was not [offered](Self::resource).
    pub fn func<P, R, E>(
        &mut self,
        interface: &str,
        name: &str,
        function: impl Fn(&HostCall<'_>, P) -> Result<R, E> + Send + Sync + 'static,
    ) -> Result<()>
    where
        P: Params,
        R: Lower + 'static,
        E: Into<BoxError> + 'static,
    {
        let what = format!("{interface}#{name}");
        let function = Function::new(&self.0.resources, what, function).map_err(|error| {
            Error::new(Kind::Config, format!("{interface}#{name} cannot be offered")).with_source(error)
        })?;
        self.offer(interface, name, function)
    }

    /// The same for a function that returns a future. The guest waits for it, up to its time limit and its cancellation;
    /// it runs on wharf's I/O threads, and is dropped when the guest ends before it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wharf_core::{Linker, Result};
    /// # fn main() -> Result<()> {
    /// # let mut linker = Linker::new();
    /// linker.func_async("my:kv/store@1.0.0", "delay", |_, (milliseconds,): (u64,)| async move {
    ///     tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    ///     Result::<u64>::Ok(milliseconds)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What belongs to the call is cloned out of it first; the future outlives the call if it has to be dropped:
    ///
    /// ```compile_fail
    /// # use wharf_core::{Linker, Result};
    /// # let mut linker = Linker::new();
    /// linker.func_async("my:kv/store@1.0.0", "size", |call, ()| async move {
    ///     Result::<u64>::Ok(call.data::<Vec<u8>>()?.len() as u64)
    /// });
    /// ```
    ///
    /// # Errors
    /// As [`func`](Self::func).
    pub fn func_async<P, R, E, F>(
        &mut self,
        interface: &str,
        name: &str,
        function: impl Fn(&HostCall<'_>, P) -> F + Send + Sync + 'static,
    ) -> Result<()>
    where
        P: Params,
        R: Lower + Send + 'static,
        E: Into<BoxError> + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.func(interface, name, move |call: &HostCall<'_>, params: P| -> Result<R, BoxError> {
            call.wait(function(call, params))?.map_err(Into::into)
        })
    }

    /// Offers the resource `name` of `interface`, for which `T` stands in functions, as [`Own<T>`](Own) and
    /// [`Borrow<T>`](Borrow), that are offered from now on. Handles count against the guest's memory. When a guest's last
    /// handle is dropped, or the guest ends, so is `T`.
    ///
    /// An instance that has such a handle open when it has answered a request is not used for another one.
    ///
    /// ```
    /// # use wharf_core::linker::{Borrow, Own};
    /// # use wharf_core::{Linker, Result};
    /// # fn main() -> Result<()> {
    /// # let mut linker = Linker::new();
    /// struct Bucket { name: String }
    ///
    /// linker.resource::<Bucket>("my:kv/store@1.0.0", "bucket")?;
    /// linker.func("my:kv/store@1.0.0", "[constructor]bucket", |_, (name,): (String,)| -> Result<Own<Bucket>> {
    ///     Ok(Own::new(Bucket { name }))
    /// })?;
    /// linker.func("my:kv/store@1.0.0", "[method]bucket.name", |_, (bucket,): (Borrow<Bucket>,)| -> Result<String> {
    ///     Ok(bucket.name.clone())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Config`] as [`func`](Self::func), or if `T` stands for another resource already.
    pub fn resource<T: Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> Result<()> {
        let mut resources = Resources::clone(&self.0.resources);
        let resource = ResourceName { interface: Interface::of(interface), name: name.into() };
        if let Some(known) = resources.insert(TypeId::of::<T>(), resource) {
            let rust = std::any::type_name::<T>();
            return Err(Error::new(Kind::Config, format!("`{rust}` stands for the resource {known} already")));
        }
        self.offer(interface, &format!("[resource-drop]{name}"), Function::dropping::<T>())?;
        Arc::make_mut(&mut self.0).resources = Arc::new(resources);
        Ok(())
    }

    /// Offers the function `name` of `module` to core modules. The closure gets its parameters, numbers, as a tuple, and
    /// returns a number, a tuple of them, or `()`. Signs are what Rust makes of them: `i32` and `u32` are the same.
    ///
    /// # Errors
    /// [`Kind::Config`] if it is offered already, or the module is one of wharf's own.
    pub fn core_func<P, R, E>(
        &mut self,
        module: &str,
        name: &str,
        function: impl Fn(&mut CoreCall<'_>, P) -> Result<R, E> + Send + Sync + 'static,
    ) -> Result<()>
    where
        P: CoreValues,
        R: CoreValues,
        E: Into<BoxError> + 'static,
    {
        let what = format!("{module}::{name}");
        refuse_reserved(module)?;
        if self.component_function(module, name).is_some() || self.core_function(module, name).is_some() {
            return Err(twice(&what));
        }
        let function = Arc::new(CoreFunction::new(what, function));
        let core = &mut Arc::make_mut(&mut self.0).core;
        core.entry(module.to_owned()).or_default().insert(name.to_owned(), function);
        Ok(())
    }

    fn offer(&mut self, interface: &str, name: &str, function: Function) -> Result<()> {
        refuse_reserved(interface)?;
        if self.component_function(interface, name).is_some() || self.core_function(interface, name).is_some() {
            return Err(twice(&format!("{interface}#{name}")));
        }
        let interfaces = &mut Arc::make_mut(&mut self.0).interfaces;
        interfaces.entry(Interface::of(interface)).or_default().insert(name.to_owned(), Arc::new(function));
        Ok(())
    }

    /// Whether it has anything of the interface, in a version that serves a guest that imports this one.
    pub fn offers(&self, interface: &str) -> bool {
        let wanted = Interface::of(interface);
        self.0.interfaces.keys().any(|offered| offered.serves(&wanted))
    }

    /// The function `name` of an interface that serves `interface`.
    pub(crate) fn component_function(&self, interface: &str, name: &str) -> Option<&Arc<Function>> {
        let wanted = Interface::of(interface);
        let mut serving = self.0.interfaces.iter().filter(|(offered, _)| offered.serves(&wanted));
        serving.find_map(|(_, functions)| functions.get(name))
    }

    /// The function `name` of `module`, for core modules.
    pub(crate) fn core_function(&self, module: &str, name: &str) -> Option<&Arc<CoreFunction>> {
        self.0.core.get(module)?.get(name)
    }

    pub(crate) fn resources(&self) -> &Arc<Resources> {
        &self.0.resources
    }

    /// The full names of all functions, as `module::name`.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let interfaces = self.0.interfaces.iter();
        let component =
            interfaces.flat_map(|(of, functions)| functions.keys().map(move |name| format!("{of}::{name}")));
        let core = self.0.core.iter();
        component.chain(core.flat_map(|(of, functions)| functions.keys().map(move |name| format!("{of}::{name}"))))
    }
}

/// Prints the names of what is offered.
impl fmt::Debug for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<String> = self.names().collect();
        names.sort_unstable();
        f.debug_tuple("Linker").field(&names).finish()
    }
}

fn refuse_reserved(module: &str) -> Result<()> {
    if is_reserved(module) {
        let (name, _) = options::split_version(module);
        let message = format!("`{name}` is one of wharf's own modules, of which an embedder cannot offer functions");
        return Err(Error::new(Kind::Config, message));
    }
    Ok(())
}

fn twice(what: &str) -> Error {
    Error::new(Kind::Config, format!("{what} is offered already, in this or a compatible version"))
}

/// A call of a function that the embedder offers.
pub struct HostCall<'a> {
    data: &'a Extensions,
    run: &'a Run,
}

impl<'a> HostCall<'a> {
    pub(crate) fn new(data: &'a Extensions, run: &'a Run) -> Self {
        HostCall { data, run }
    }

    /// What the instance was started with: the value of type `T` in [`GuestConfig::data`](crate::GuestConfig::data).
    ///
    /// # Errors
    /// [`Kind::Config`] if there is none.
    pub fn data<T: Send + Sync + 'static>(&self) -> Result<&'a T> {
        self.data.get().ok_or_else(|| {
            let rust = std::any::type_name::<T>();
            Error::new(
                Kind::Config,
                format!("the guest was started without a `{rust}`; put one into GuestConfig::data"),
            )
        })
    }

    /// Waits for a future, up to the guest's time limit and its cancellation. It runs on wharf's I/O threads, and is
    /// dropped when the guest ends before it.
    ///
    /// # Errors
    /// Why the guest ends: to be passed on.
    ///
    /// # Panics
    /// If the future does.
    pub fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T> {
        // Dropping the set ends what runs in it.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(future, &io());
        match self.run.wait(tasks.join_next()) {
            Ok(Some(Ok(value))) => Ok(value),
            Ok(Some(Err(failed))) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Ok(Some(Err(failed))) => {
                Err(Error::new(Kind::Internal, "a future of a host function was lost").with_source(failed))
            }
            Ok(None) => Err(Error::new(Kind::Internal, "a future of a host function was lost")),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Exit(code)) => Err(Error::new(Kind::Internal, format!("the guest exited with {code} in a wait"))),
        }
    }

    /// What an error of the function `what` ends the guest with.
    fn failed(&self, what: &str, error: BoxError) -> Stop {
        // It came of waiting, or came too late.
        if let Some(stop) = self.run.over() {
            return stop;
        }
        let error = match error.downcast::<Stop>() {
            Ok(stop) => match *stop {
                Stop::Exit(code) => return Stop::Exit(code),
                Stop::Error(error) => error.into(),
            },
            Err(error) => error,
        };
        let kind = match error.downcast_ref::<Error>() {
            Some(error) => error.kind(),
            None if error.is::<MemoryError>() => Kind::Trap,
            None => Kind::Host,
        };
        Error::new(kind, format!("the host function {what} failed")).with_source(error).into()
    }
}

#[cfg(test)]
mod tests;
