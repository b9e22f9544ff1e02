//! Tuples, options, results, and the macros for records, variants, enumerations and flags, which are exported.

use super::{
    Cx, Flat, Lift, Lower, NotAResource, Outcome, Resources, Type, WitType, align_to, join, max, max_flat, rule,
};
use crate::types::ValType;

/// Declares a struct that stands for a WIT record: its fields in their order, whose names WIT has in kebab case.
///
/// ```
/// wharf_core::record! {
///     /// `record entry { key: string, times-read: u32 }`
///     #[derive(Debug, Clone)]
///     pub struct Entry { key: String, times_read: u32, }
/// }
/// ```
///
/// A record may have 16 fields. They are as visible as the struct.
#[macro_export]
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        $vis struct $name { $($vis $field: $ty,)* }

        const _: () = {
            use $crate::__wit;

            type __Fields = ($($ty,)*);

            impl __wit::Type for $name {
                const SIZE: u32 = <__Fields as __wit::Type>::SIZE;
                const ALIGN: u32 = <__Fields as __wit::Type>::ALIGN;
                const FLAT: usize = <__Fields as __wit::Type>::FLAT;
                const REALLOC: bool = <__Fields as __wit::Type>::REALLOC;

                fn flat(out: &mut ::std::vec::Vec<__wit::ValType>) {
                    <__Fields as __wit::Type>::flat(out);
                }

                fn wit(resources: &__wit::Resources) -> ::std::result::Result<__wit::WitType, __wit::NotAResource> {
                    ::std::result::Result::Ok(__wit::WitType::Record(::std::vec![$((__wit::kebab(stringify!($field)), <$ty as __wit::Type>::wit(resources)?)),*]))
                }
            }

            impl __wit::Lift for $name {
                fn lift(cx: &mut __wit::Cx<'_>, flat: &mut __wit::Flat<'_>) -> __wit::Outcome<Self> {
                    let ($($field,)*) = <__Fields as __wit::Lift>::lift(cx, flat)?;
                    ::std::result::Result::Ok($name { $($field,)* })
                }

                fn load(cx: &mut __wit::Cx<'_>, ptr: u32) -> __wit::Outcome<Self> {
                    let ($($field,)*) = <__Fields as __wit::Lift>::load(cx, ptr)?;
                    ::std::result::Result::Ok($name { $($field,)* })
                }
            }

            impl __wit::Lower for $name {
                fn lower(self, cx: &mut __wit::Cx<'_>, flat: &mut __wit::Flat<'_>) -> __wit::Outcome {
                    <__Fields as __wit::Lower>::lower(($(self.$field,)*), cx, flat)
                }

                fn store(self, cx: &mut __wit::Cx<'_>, ptr: u32) -> __wit::Outcome {
                    <__Fields as __wit::Lower>::store(($(self.$field,)*), cx, ptr)
                }
            }
        };
    };
}

/// Declares an enum that stands for a WIT variant or enumeration: its cases in their order, whose names WIT has in kebab
/// case. A payload is written with a name, which goes nowhere; the literal is the type's name in messages.
///
/// ```
/// wharf_core::variant! {
///     /// `variant error { no-such-key, access-denied, other(string) }`
///     #[derive(Debug, Clone)]
///     pub enum Error as "error" { NoSuchKey, AccessDenied, Other(text: String), }
/// }
/// ```
///
/// An enum may have 256 cases.
#[macro_export]
macro_rules! variant {
    ($(#[$doc:meta])* $vis:vis enum $name:ident as $wit:literal {
        $($(#[$case_doc:meta])* $case:ident $(($value:ident: $ty:ty))?),* $(,)?
    }) => {
        $(#[$doc])*
        $vis enum $name { $($(#[$case_doc])* $case $(($ty))?,)* }

        const _: () = {
            use $crate::__wit;

            /// The number of each case, which takes a byte.
            #[repr(u8)]
            enum __Index { $($case,)* }

            const PAYLOAD: u32 = __wit::align_to(1, <$name as __wit::Type>::ALIGN);

            impl __wit::Type for $name {
                const SIZE: u32 = {
                    let size = 0;
                    $($(let size = __wit::max(size, <$ty as __wit::Type>::SIZE);)?)*
                    __wit::align_to(PAYLOAD + size, <Self as __wit::Type>::ALIGN)
                };
                const ALIGN: u32 = {
                    let align = 1;
                    $($(let align = __wit::max(align, <$ty as __wit::Type>::ALIGN);)?)*
                    __wit::max(align, 1)
                };
                const FLAT: usize = {
                    let flat = 0;
                    $($(let flat = __wit::max_flat(flat, <$ty as __wit::Type>::FLAT);)?)*
                    __wit::max_flat(flat, 0) + 1
                };
                const REALLOC: bool = false $($(|| <$ty as __wit::Type>::REALLOC)?)*;

                fn flat(out: &mut ::std::vec::Vec<__wit::ValType>) {
                    out.push(__wit::ValType::I32);
                    let cases: &[fn(&mut ::std::vec::Vec<__wit::ValType>)] = &[$($(<$ty as __wit::Type>::flat,)?)*];
                    __wit::join(out, cases);
                }

                fn wit(resources: &__wit::Resources) -> ::std::result::Result<__wit::WitType, __wit::NotAResource> {
                    _ = resources;
                    ::std::result::Result::Ok(__wit::WitType::Variant(::std::vec![$({
                        let mut payload = ::std::vec![$(<$ty as __wit::Type>::wit(resources)?)?];
                        (__wit::kebab(stringify!($case)), payload.pop())
                    }),*]))
                }
            }

            impl __wit::Lift for $name {
                fn lift(cx: &mut __wit::Cx<'_>, flat: &mut __wit::Flat<'_>) -> __wit::Outcome<Self> {
                    let case = <u32 as __wit::Lift>::lift(cx, flat)?;
                    let mut payload = flat.part(<Self as __wit::Type>::FLAT - 1)?;
                    _ = &mut payload;
                    $(if case == __Index::$case as u32 {
                        return ::std::result::Result::Ok($name::$case $((<$ty as __wit::Lift>::lift(cx, &mut payload)?))?);
                    })*
                    __wit::rule(::std::format!("`{}` has no case {case}", $wit))
                }

                fn load(cx: &mut __wit::Cx<'_>, ptr: u32) -> __wit::Outcome<Self> {
                    let case = <u8 as __wit::Lift>::load(cx, ptr)?;
                    let payload = ptr.wrapping_add(PAYLOAD);
                    _ = payload;
                    $(if case == __Index::$case as u8 {
                        return ::std::result::Result::Ok($name::$case $((<$ty as __wit::Lift>::load(cx, payload)?))?);
                    })*
                    __wit::rule(::std::format!("`{}` has no case {case}", $wit))
                }
            }

            impl __wit::Lower for $name {
                fn lower(self, cx: &mut __wit::Cx<'_>, flat: &mut __wit::Flat<'_>) -> __wit::Outcome {
                    match self {
                        $($name::$case $(($value))? => {
                            __wit::Lower::lower(__Index::$case as u32, cx, flat)?;
                            $(<$ty as __wit::Lower>::lower($value, cx, flat)?;)?
                        })*
                    }
                    ::std::result::Result::Ok(())
                }

                fn store(self, cx: &mut __wit::Cx<'_>, ptr: u32) -> __wit::Outcome {
                    let payload = ptr.wrapping_add(PAYLOAD);
                    _ = payload;
                    match self {
                        $($name::$case $(($value))? => {
                            __wit::Lower::store(__Index::$case as u8, cx, ptr)?;
                            $(<$ty as __wit::Lower>::store($value, cx, payload)?;)?
                        })*
                    }
                    ::std::result::Result::Ok(())
                }
            }
        };
    };
}

/// Declares a struct that stands for a WIT set of flags, each a constant of the struct, in their order. Sets are joined
/// with `|`. Bits that stand for no flag are ignored.
///
/// ```
/// wharf_core::flags! {
///     /// `flags access { read, write, list-keys }`
///     pub struct Access { READ, WRITE, LIST_KEYS, }
/// }
/// assert!((Access::READ | Access::WRITE).has(Access::WRITE));
/// ```
///
/// There may be 32 flags.
#[macro_export]
macro_rules! flags {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$flag_doc:meta])* $flag:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis struct $name(u32);

        const _: () = {
            use $crate::__wit;

            /// The bit of each flag.
            #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the flags")]
            enum __Bit { $($flag,)* }

            const COUNT: u32 = [$(__Bit::$flag as u32),*].len() as u32;
            const _: () = assert!(COUNT >= 1 && COUNT <= 32, "flags are 1 to 32");
            const ALL: u32 = u32::MAX >> (32 - COUNT);

            #[allow(dead_code, reason = "not every set of flags is used in every way")]
            impl $name {
                $($(#[$flag_doc])* $vis const $flag: Self = $name(1 << __Bit::$flag as u32);)*

                /// No flag.
                $vis const NONE: Self = $name(0);

                /// Whether all of `flags` are set.
                $vis const fn has(self, flags: Self) -> bool {
                    self.0 & flags.0 == flags.0
                }
            }

            impl ::std::ops::BitOr for $name {
                type Output = Self;

                fn bitor(self, other: Self) -> Self {
                    $name(self.0 | other.0)
                }
            }

            impl __wit::Type for $name {
                const SIZE: u32 = if COUNT <= 8 { 1 } else if COUNT <= 16 { 2 } else { 4 };
                const ALIGN: u32 = <Self as __wit::Type>::SIZE;
                const FLAT: usize = 1;
                const REALLOC: bool = false;

                fn flat(out: &mut ::std::vec::Vec<__wit::ValType>) {
                    <u32 as __wit::Type>::flat(out);
                }

                fn wit(_: &__wit::Resources) -> ::std::result::Result<__wit::WitType, __wit::NotAResource> {
                    ::std::result::Result::Ok(__wit::WitType::Flags(::std::vec![$(__wit::kebab(stringify!($flag))),*]))
                }
            }

            impl __wit::Lift for $name {
                fn lift(cx: &mut __wit::Cx<'_>, flat: &mut __wit::Flat<'_>) -> __wit::Outcome<Self> {
                    <u32 as __wit::Lift>::lift(cx, flat).map(|bits| $name(bits & ALL))
                }

                fn load(cx: &mut __wit::Cx<'_>, ptr: u32) -> __wit::Outcome<Self> {
                    let bits = match <Self as __wit::Type>::SIZE {
                        1 => <u8 as __wit::Lift>::load(cx, ptr)?.into(),
                        2 => <u16 as __wit::Lift>::load(cx, ptr)?.into(),
                        _ => <u32 as __wit::Lift>::load(cx, ptr)?,
                    };
                    ::std::result::Result::Ok($name(bits & ALL))
                }
            }

            impl __wit::Lower for $name {
                fn lower(self, cx: &mut __wit::Cx<'_>, flat: &mut __wit::Flat<'_>) -> __wit::Outcome {
                    __wit::Lower::lower(self.0, cx, flat)
                }

                fn store(self, cx: &mut __wit::Cx<'_>, ptr: u32) -> __wit::Outcome {
                    match <Self as __wit::Type>::SIZE {
                        1 => __wit::Lower::store(self.0 as u8, cx, ptr),
                        2 => __wit::Lower::store(self.0 as u16, cx, ptr),
                        _ => __wit::Lower::store(self.0, cx, ptr),
                    }
                }
            }
        };
    };
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        #[allow(non_snake_case, reason = "each type parameter names its value too")]
        const _: () = {
            impl<$($name: Type),+> Type for ($($name,)+) {
                const SIZE: u32 = {
                    let size = 0;
                    $(let size = align_to(size, $name::ALIGN) + $name::SIZE;)+
                    align_to(size, Self::ALIGN)
                };
                const ALIGN: u32 = {
                    let align = 1;
                    $(let align = max(align, $name::ALIGN);)+
                    align
                };
                const FLAT: usize = 0 $(+ $name::FLAT)+;
                const REALLOC: bool = false $(|| $name::REALLOC)+;

                fn flat(out: &mut Vec<ValType>) {
                    $($name::flat(out);)+
                }

                fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
                    Ok(WitType::Tuple(vec![$($name::wit(resources)?),+]))
                }
            }

            impl<$($name: Lift),+> Lift for ($($name,)+) {
                fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
                    Ok(($($name::lift(cx, flat)?,)+))
                }

                fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
                    let mut fields = Fields(ptr);
                    Ok(($($name::load(cx, fields.next::<$name>())?,)+))
                }
            }

            impl<$($name: Lower),+> Lower for ($($name,)+) {
                fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
                    let ($($name,)+) = self;
                    $($name.lower(cx, flat)?;)+
                    Ok(())
                }

                fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
                    let ($($name,)+) = self;
                    let mut fields = Fields(ptr);
                    $(let at = fields.next::<$name>(); $name.store(cx, at)?;)+
                    Ok(())
                }
            }
        };
    )*};
}

crate::abi::for_tuples!(tuples);

/// Where the fields of a record lie, one after the other.
struct Fields(u32);

impl Fields {
    fn next<T: Type>(&mut self) -> u32 {
        let at = align_to(self.0, T::ALIGN);
        self.0 = at.wrapping_add(T::SIZE);
        at
    }
}

impl<T: Type, E: Type> Type for Result<T, E> {
    const SIZE: u32 = align_to(align_to(1, Self::ALIGN) + max(T::SIZE, E::SIZE), Self::ALIGN);
    const ALIGN: u32 = max(T::ALIGN, E::ALIGN);
    const FLAT: usize = 1 + max_flat(T::FLAT, E::FLAT);
    const REALLOC: bool = T::REALLOC || E::REALLOC;

    fn flat(out: &mut Vec<ValType>) {
        out.push(ValType::I32);
        join(out, &[T::flat, E::flat]);
    }

    fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
        let part = |ty: WitType| ty.some().map(Box::new);
        Ok(WitType::Result(part(T::wit(resources)?), part(E::wit(resources)?)))
    }
}

impl<T: Lift, E: Lift> Lift for Result<T, E> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let case = u32::lift(cx, flat)?;
        let mut payload = flat.part(Self::FLAT - 1)?;
        match case {
            0 => T::lift(cx, &mut payload).map(Ok),
            1 => E::lift(cx, &mut payload).map(Err),
            _ => rule(format!("`result` has no case {case}")),
        }
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let payload = ptr.wrapping_add(align_to(1, Self::ALIGN));
        match u8::load(cx, ptr)? {
            0 => T::load(cx, payload).map(Ok),
            1 => E::load(cx, payload).map(Err),
            case => rule(format!("`result` has no case {case}")),
        }
    }
}

impl<T: Lower, E: Lower> Lower for Result<T, E> {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        u32::from(self.is_err()).lower(cx, flat)?;
        match self {
            Ok(value) => value.lower(cx, flat),
            Err(error) => error.lower(cx, flat),
        }
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        let payload = ptr.wrapping_add(align_to(1, Self::ALIGN));
        u8::from(self.is_err()).store(cx, ptr)?;
        match self {
            Ok(value) => value.store(cx, payload),
            Err(error) => error.store(cx, payload),
        }
    }
}

impl<T: Type> Type for Option<T> {
    const SIZE: u32 = align_to(align_to(1, T::ALIGN) + T::SIZE, T::ALIGN);
    const ALIGN: u32 = T::ALIGN;
    const FLAT: usize = 1 + T::FLAT;
    const REALLOC: bool = T::REALLOC;

    fn flat(out: &mut Vec<ValType>) {
        out.push(ValType::I32);
        T::flat(out);
    }

    fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
        Ok(WitType::Option(Box::new(T::wit(resources)?)))
    }
}

impl<T: Lift> Lift for Option<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let case = u32::lift(cx, flat)?;
        let mut payload = flat.part(T::FLAT)?;
        match case {
            0 => Ok(None),
            1 => T::lift(cx, &mut payload).map(Some),
            _ => rule(format!("`option` has no case {case}")),
        }
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        match u8::load(cx, ptr)? {
            0 => Ok(None),
            1 => T::load(cx, ptr.wrapping_add(align_to(1, T::ALIGN))).map(Some),
            case => rule(format!("`option` has no case {case}")),
        }
    }
}

impl<T: Lower> Lower for Option<T> {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        u32::from(self.is_some()).lower(cx, flat)?;
        self.map_or(Ok(()), |value| value.lower(cx, flat))
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        u8::from(self.is_some()).store(cx, ptr)?;
        self.map_or(Ok(()), |value| value.store(cx, ptr.wrapping_add(align_to(1, T::ALIGN))))
    }
}
