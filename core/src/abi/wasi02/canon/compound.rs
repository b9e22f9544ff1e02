//! Tuples, options, results, and the macros for records, variants, enumerations and flags.

use super::{Cx, Flat, Lift, Lower, Outcome, Type, align_to, join, max, max_flat, rule};
use crate::types::ValType;

/// Implements the traits for a struct whose fields are the record's, in order.
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        $vis struct $name { $($vis $field: $ty,)* }

        const _: () = {
            use $crate::abi::wasi02::canon::{Cx, Flat, Lift, Lower, Outcome, Type};

            type Fields = ($($ty,)*);

            impl Type for $name {
                const SIZE: u32 = <Fields as Type>::SIZE;
                const ALIGN: u32 = <Fields as Type>::ALIGN;
                const FLAT: usize = <Fields as Type>::FLAT;
                const REALLOC: bool = <Fields as Type>::REALLOC;

                fn flat(out: &mut Vec<$crate::types::ValType>) {
                    <Fields as Type>::flat(out);
                }
            }

            impl Lift for $name {
                fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
                    let ($($field,)*) = <Fields as Lift>::lift(cx, flat)?;
                    Ok($name { $($field,)* })
                }

                fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
                    let ($($field,)*) = <Fields as Lift>::load(cx, ptr)?;
                    Ok($name { $($field,)* })
                }
            }

            impl Lower for $name {
                fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
                    <Fields as Lower>::lower(($(self.$field,)*), cx, flat)
                }

                fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
                    <Fields as Lower>::store(($(self.$field,)*), cx, ptr)
                }
            }
        };
    };
}

/// Implements the traits for an enum whose cases are the variant's or enumeration's, in order. A payload is written
/// with a name: `Other(text: String)`.
macro_rules! variant {
    ($(#[$doc:meta])* $vis:vis enum $name:ident as $wit:literal {
        $($(#[$case_doc:meta])* $case:ident $(($value:ident: $ty:ty))?,)*
    }) => {
        $(#[$doc])*
        $vis enum $name { $($(#[$case_doc])* $case $(($ty))?,)* }

        const _: () = {
            use $crate::abi::wasi02::canon::{Cx, Flat, Lift, Lower, Outcome, Type, align_to, join, max, max_flat, rule};

            /// The number of each case.
            enum Index { $($case,)* }

            const PAYLOAD: u32 = align_to(1, <$name as Type>::ALIGN);

            impl Type for $name {
                const SIZE: u32 = {
                    let size = 0;
                    $($(let size = max(size, <$ty as Type>::SIZE);)?)*
                    align_to(PAYLOAD + size, Self::ALIGN)
                };
                const ALIGN: u32 = {
                    let align = 1;
                    $($(let align = max(align, <$ty as Type>::ALIGN);)?)*
                    max(align, 1)
                };
                const FLAT: usize = {
                    let flat = 0;
                    $($(let flat = max_flat(flat, <$ty as Type>::FLAT);)?)*
                    max_flat(flat, 0) + 1
                };
                const REALLOC: bool = false $($(|| <$ty as Type>::REALLOC)?)*;

                fn flat(out: &mut Vec<$crate::types::ValType>) {
                    out.push($crate::types::ValType::I32);
                    let cases: &[fn(&mut Vec<$crate::types::ValType>)] = &[$($(<$ty as Type>::flat,)?)*];
                    join(out, cases);
                }
            }

            impl Lift for $name {
                fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
                    let case = u32::lift(cx, flat)?;
                    let mut payload = flat.part(Self::FLAT - 1)?;
                    _ = &mut payload;
                    $(if case == Index::$case as u32 {
                        return Ok($name::$case $((<$ty as Lift>::lift(cx, &mut payload)?))?);
                    })*
                    rule(format!("`{}` has no case {case}", $wit))
                }

                fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
                    let case = u8::load(cx, ptr)?;
                    let payload = ptr.wrapping_add(PAYLOAD);
                    _ = payload;
                    $(if case == Index::$case as u8 {
                        return Ok($name::$case $((<$ty as Lift>::load(cx, payload)?))?);
                    })*
                    rule(format!("`{}` has no case {case}", $wit))
                }
            }

            impl Lower for $name {
                fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
                    match self {
                        $($name::$case $(($value))? => {
                            (Index::$case as u32).lower(cx, flat)?;
                            $(<$ty as Lower>::lower($value, cx, flat)?;)?
                        })*
                    }
                    Ok(())
                }

                fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
                    let payload = ptr.wrapping_add(PAYLOAD);
                    _ = payload;
                    match self {
                        $($name::$case $(($value))? => {
                            (Index::$case as u8).store(cx, ptr)?;
                            $(<$ty as Lower>::store($value, cx, payload)?;)?
                        })*
                    }
                    Ok(())
                }
            }
        };
    };
}

/// Implements the traits for a set of flags that fits a byte. Bits that stand for no flag are ignored.
macro_rules! flags {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($flag:ident = $bit:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        $vis struct $name(pub(crate) u8);

        impl $name {
            $(pub(crate) const $flag: u8 = 1 << $bit;)*

            pub(crate) fn has(self, flag: u8) -> bool {
                self.0 & flag != 0
            }
        }

        const _: () = {
            use $crate::abi::wasi02::canon::{Cx, Flat, Lift, Lower, Outcome, Type};

            const ALL: u8 = 0 $(| $name::$flag)*;

            impl Type for $name {
                const SIZE: u32 = 1;
                const ALIGN: u32 = 1;
                const FLAT: usize = 1;
                const REALLOC: bool = false;

                fn flat(out: &mut Vec<$crate::types::ValType>) {
                    u8::flat(out);
                }
            }

            impl Lift for $name {
                fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
                    u8::lift(cx, flat).map(|bits| $name(bits & ALL))
                }

                fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
                    u8::load(cx, ptr).map(|bits| $name(bits & ALL))
                }
            }

            impl Lower for $name {
                fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
                    self.0.lower(cx, flat)
                }

                fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
                    self.0.store(cx, ptr)
                }
            }
        };
    };
}

pub(crate) use {flags, record, variant};

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

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

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
