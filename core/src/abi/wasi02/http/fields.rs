//! `wasi:http/types.fields`: headers and trailers, in the order and casing that the guest gave them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, limit, variant};
use crate::abi::wasi02::table::Resource;
use crate::budget::{Budget, Charge, Exceeded, allocation};
use crate::http::is_forbidden;

/// What a field takes on the host beyond its name and its value: its place, as much again for what a growing vector has
/// room for, and what a value takes once it is shared.
const ENTRY: u64 = 2 * std::mem::size_of::<(String, Bytes)>() as u64 + allocation(32);

/// How the bytes of all header fields of a message are counted, as [`Limits::header_bytes`](crate::http::Limits) has
/// it.
const COUNTED: u64 = 4;

variant! {
    /// `wasi:http/types.header-error`.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum HeaderError as "header-error" {
        InvalidSyntax,
        Forbidden,
        Immutable,
    }
}

/// What a release of WASI says to a change that is refused.
pub(crate) trait Refusal: Sized {
    /// What is wrong with it.
    fn of(error: HeaderError) -> Self;

    /// The fields would get too large, as the message says.
    fn too_large(message: String) -> Outcome<Self>;
}

/// WASI 0.2 has no word for fields that are too large: they end the guest.
impl Refusal for HeaderError {
    fn of(error: HeaderError) -> Self {
        error
    }

    fn too_large(message: String) -> Outcome<Self> {
        limit(message)
    }
}

/// `wasi:http/types.fields`.
#[derive(Clone)]
pub(crate) struct Fields {
    /// Shared until written to.
    entries: Arc<Entries>,
    immutable: bool,
}

/// Names and values, charged to the guest.
struct Entries {
    list: Vec<(String, Bytes)>,
    charge: Charge,
}

impl Entries {
    fn new(list: Vec<(String, Bytes)>, budget: &Budget) -> Result<Self, Exceeded> {
        let charge = budget.charge(list.iter().map(|(name, value)| cost(name, value)).sum())?;
        Ok(Entries { list, charge })
    }
}

impl Resource for Fields {
    const NAME: &'static str = "fields";
}

impl Fields {
    /// What comes from outside is immutable; what belongs to the connection is left out.
    ///
    /// # Errors
    /// The guest may not have so much.
    pub(crate) fn arrived(headers: &HeaderMap, budget: &Budget) -> Result<Self, Exceeded> {
        let list = headers
            .iter()
            .filter(|(name, _)| !is_forbidden(name))
            .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        Ok(Fields { entries: Arc::new(Entries::new(list, budget)?), immutable: true })
    }

    /// The same fields, not to be changed.
    pub(crate) fn frozen(&self) -> Self {
        Fields { entries: self.entries.clone(), immutable: true }
    }

    /// What they take on the host.
    pub(crate) fn cost(&self) -> u64 {
        self.entries.list.iter().map(|(name, value)| cost(name, value)).sum()
    }

    /// The fields as a message has them. Each was checked when it was set.
    pub(crate) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.entries.list.len());
        for (name, value) in &self.entries.list {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        map
    }

    /// The length that a Content-Length announces.
    ///
    /// # Errors
    /// It is not a length, or there are several that differ.
    pub(crate) fn content_length(&self) -> Result<Option<u64>, ()> {
        let mut announced = None;
        for value in self.values("content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
            match (length, announced) {
                (Some(length), None) => announced = Some(length),
                (Some(length), Some(before)) if length == before => {}
                _ => return Err(()),
            }
        }
        Ok(announced)
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.entries.list.iter().filter(move |entry| entry.0.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn size(&self) -> u64 {
        self.entries.list.iter().map(|(name, value)| counted(name, value)).sum()
    }

    /// The fields, to be changed: they are copied if others share them.
    fn entries(&mut self, budget: &Budget) -> Result<&mut Entries, Exceeded> {
        if Arc::get_mut(&mut self.entries).is_none() {
            self.entries = Arc::new(Entries::new(self.entries.list.clone(), budget)?);
        }
        match Arc::get_mut(&mut self.entries) {
            Some(entries) => Ok(entries),
            None => unreachable!("nobody shares what was just made"),
        }
    }
}

impl Entries {
    /// Takes the fields of that name out; gives where the first of them was.
    fn remove(&mut self, name: &str) -> Option<usize> {
        let first = self.list.iter().position(|entry| entry.0.eq_ignore_ascii_case(name));
        let mut freed = 0;
        self.list.retain(|(of, value)| {
            let stays = !of.eq_ignore_ascii_case(name);
            freed += if stays { 0 } else { cost(of, value) };
            stays
        });
        self.charge.shrink(freed);
        first
    }
}

/// What a field takes on the host.
fn cost(name: &str, value: &[u8]) -> u64 {
    ENTRY + allocation(name.len()) + allocation(value.len())
}

/// What a field counts towards how large a message's may be.
fn counted(name: &str, value: &[u8]) -> u64 {
    name.len() as u64 + value.len() as u64 + COUNTED
}

/// Checks in the order of the WIT file: the syntax, then whether a guest may set it at all.
fn check(name: &str, values: &[Bytes]) -> Result<(), HeaderError> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return Err(HeaderError::InvalidSyntax) };
    if values.iter().any(|value| HeaderValue::from_bytes(value).is_err()) {
        return Err(HeaderError::InvalidSyntax);
    }
    if is_forbidden(&name) { Err(HeaderError::Forbidden) } else { Ok(()) }
}

/// Refuses more than `fields` may have, beyond the bytes that are used.
fn room<E: Refusal>(cx: &Cx<'_>, used: u64, name: &str, values: &[Bytes]) -> Outcome<Result<(), E>> {
    let more: u64 = values.iter().map(|value| counted(name, value)).sum();
    let most = cx.state.header_bytes;
    if used.saturating_add(more) > most {
        return E::too_large(format!(
            "the guest's fields have more than {most} bytes, far more than a message may have: raise the limit \
             `max-header-bytes`"
        ))
        .map(Err);
    }
    Ok(Ok(()))
}

type This = Borrow<Fields>;
type Changed<E> = Outcome<Result<(), E>>;

pub(crate) fn new(cx: &mut Cx<'_>) -> Outcome<Handle<Fields>> {
    let entries = Entries::new(Vec::new(), &cx.state.budget)?;
    cx.push(Fields { entries: Arc::new(entries), immutable: false })
}

pub(crate) fn from_list<E: Refusal>(
    cx: &mut Cx<'_>,
    entries: Vec<(String, Bytes)>,
) -> Outcome<Result<Handle<Fields>, E>> {
    let mut used = 0;
    for (name, value) in &entries {
        if let Err(error) = check(name, std::slice::from_ref(value)) {
            return Ok(Err(E::of(error)));
        }
        if let Err(error) = room(cx, used, name, std::slice::from_ref(value))? {
            return Ok(Err(error));
        }
        used += counted(name, value);
    }
    let entries = Entries::new(entries, &cx.state.budget)?;
    cx.push(Fields { entries: Arc::new(entries), immutable: false }).map(Ok)
}

pub(crate) fn get(cx: &mut Cx<'_>, this: This, name: String) -> Outcome<Vec<Bytes>> {
    Ok(cx.get(this)?.values(&name).cloned().collect())
}

pub(crate) fn has(cx: &mut Cx<'_>, this: This, name: String) -> Outcome<bool> {
    Ok(cx.get(this)?.values(&name).next().is_some())
}

/// Takes the place of the first value of that name, so that the order of the others stays.
pub(crate) fn set<E: Refusal>(cx: &mut Cx<'_>, this: This, name: String, values: Vec<Bytes>) -> Changed<E> {
    let fields = cx.get(this)?;
    if let Err(error) = check(&name, &values) {
        return Ok(Err(E::of(error)));
    }
    if fields.immutable {
        return Ok(Err(E::of(HeaderError::Immutable)));
    }
    let freed: u64 = fields.values(&name).map(|value| counted(&name, value)).sum();
    let used = fields.size() - freed;
    if let Err(error) = room(cx, used, &name, &values)? {
        return Ok(Err(error));
    }
    let budget = cx.state.budget.clone();
    let entries = cx.get(this)?.entries(&budget)?;
    let first = entries.remove(&name);
    entries.charge.grow(values.iter().map(|value| cost(&name, value)).sum())?;
    let at = first.unwrap_or(entries.list.len()).min(entries.list.len());
    entries.list.splice(at..at, values.into_iter().map(|value| (name.clone(), value)));
    Ok(Ok(()))
}

pub(crate) fn append<E: Refusal>(cx: &mut Cx<'_>, this: This, name: String, value: Bytes) -> Changed<E> {
    let fields = cx.get(this)?;
    if let Err(error) = check(&name, std::slice::from_ref(&value)) {
        return Ok(Err(E::of(error)));
    }
    if fields.immutable {
        return Ok(Err(E::of(HeaderError::Immutable)));
    }
    let used = fields.size();
    if let Err(error) = room(cx, used, &name, std::slice::from_ref(&value))? {
        return Ok(Err(error));
    }
    let budget = cx.state.budget.clone();
    let entries = cx.get(this)?.entries(&budget)?;
    entries.charge.grow(cost(&name, &value))?;
    entries.list.push((name, value));
    Ok(Ok(()))
}

pub(crate) fn delete<E: Refusal>(cx: &mut Cx<'_>, this: This, name: String) -> Changed<E> {
    let fields = cx.get(this)?;
    if let Err(error) = check(&name, &[]) {
        return Ok(Err(E::of(error)));
    }
    if fields.immutable {
        return Ok(Err(E::of(HeaderError::Immutable)));
    }
    let budget = cx.state.budget.clone();
    cx.get(this)?.entries(&budget)?.remove(&name);
    Ok(Ok(()))
}

/// Takes the fields of that name out, and gives their values.
pub(crate) fn get_and_delete<E: Refusal>(cx: &mut Cx<'_>, this: This, name: String) -> Outcome<Result<Vec<Bytes>, E>> {
    let values = get(cx, this, name.clone())?;
    Ok(delete(cx, this, name)?.map(|()| values))
}

pub(crate) fn entries(cx: &mut Cx<'_>, this: This) -> Outcome<Vec<(String, Bytes)>> {
    Ok(cx.get(this)?.entries.list.clone())
}

pub(crate) fn clone(cx: &mut Cx<'_>, this: This) -> Outcome<Handle<Fields>> {
    let entries = cx.get(this)?.entries.clone();
    cx.push(Fields { entries, immutable: false })
}
