//! `wasi:http/types.fields`: headers and trailers, in the order and casing that the guest gave them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, limit, variant};
use crate::abi::wasi02::table::Resource;
use crate::http::is_forbidden;

/// The most bytes of one `fields`: names, values and 32 more for each.
const MAX_BYTES: usize = 128 << 10;

variant! {
    /// `wasi:http/types.header-error`.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum HeaderError as "header-error" {
        InvalidSyntax,
        Forbidden,
        Immutable,
    }
}

/// `wasi:http/types.fields`.
#[derive(Clone, Default)]
pub(super) struct Fields {
    /// Shared until written to.
    entries: Arc<Vec<(String, Bytes)>>,
    immutable: bool,
}

impl Resource for Fields {
    const NAME: &'static str = "fields";
}

impl From<&HeaderMap> for Fields {
    /// What comes from outside is immutable; what belongs to the connection is left out.
    fn from(headers: &HeaderMap) -> Self {
        let entries = headers
            .iter()
            .filter(|(name, _)| !is_forbidden(name))
            .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        Fields { entries: Arc::new(entries), immutable: true }
    }
}

impl Fields {
    /// The same fields, not to be changed.
    pub(super) fn frozen(&self) -> Self {
        Fields { entries: self.entries.clone(), immutable: true }
    }

    /// The fields as a message has them. Each was checked when it was set.
    pub(super) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.entries.len());
        for (name, value) in self.entries.iter() {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        map
    }

    /// The length that a Content-Length announces.
    ///
    /// # Errors
    /// It is no length, or there are several that differ.
    pub(super) fn content_length(&self) -> Result<Option<u64>, ()> {
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
        self.entries.iter().filter(move |entry| entry.0.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn size(&self) -> usize {
        self.entries.iter().map(|(name, value)| cost(name, value)).sum()
    }

    fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.entries).retain(|entry| !entry.0.eq_ignore_ascii_case(name));
    }
}

fn cost(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + 32
}

/// Checks in the order of the WIT file: the syntax, then whether a guest may set it at all.
fn check(name: &str, values: &[Bytes]) -> Result<(), HeaderError> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return Err(HeaderError::InvalidSyntax) };
    if values.iter().any(|value| HeaderValue::from_bytes(value).is_err()) {
        return Err(HeaderError::InvalidSyntax);
    }
    if is_forbidden(&name) { Err(HeaderError::Forbidden) } else { Ok(()) }
}

fn room(used: usize, name: &str, values: &[Bytes]) -> Outcome {
    let more: usize = values.iter().map(|value| cost(name, value)).sum();
    if used.saturating_add(more) > MAX_BYTES {
        return limit(format!("the guest's fields take more than {MAX_BYTES} bytes"));
    }
    Ok(())
}

type This = Borrow<Fields>;
type Changed = Outcome<Result<(), HeaderError>>;

pub(super) fn new(cx: &mut Cx<'_>) -> Outcome<Handle<Fields>> {
    cx.push(Fields::default())
}

pub(super) fn from_list(
    cx: &mut Cx<'_>,
    entries: Vec<(String, Bytes)>,
) -> Outcome<Result<Handle<Fields>, HeaderError>> {
    let mut used = 0;
    for (name, value) in &entries {
        if let Err(error) = check(name, std::slice::from_ref(value)) {
            return Ok(Err(error));
        }
        room(used, name, std::slice::from_ref(value))?;
        used += cost(name, value);
    }
    cx.push(Fields { entries: Arc::new(entries), immutable: false }).map(Ok)
}

pub(super) fn get(cx: &mut Cx<'_>, this: This, name: String) -> Outcome<Vec<Bytes>> {
    Ok(cx.get(this)?.values(&name).cloned().collect())
}

pub(super) fn has(cx: &mut Cx<'_>, this: This, name: String) -> Outcome<bool> {
    Ok(cx.get(this)?.values(&name).next().is_some())
}

/// Takes the place of the first value of that name, so that the order of the others stays.
pub(super) fn set(cx: &mut Cx<'_>, this: This, name: String, values: Vec<Bytes>) -> Changed {
    let fields = cx.get(this)?;
    if let Err(error) = check(&name, &values) {
        return Ok(Err(error));
    }
    if fields.immutable {
        return Ok(Err(HeaderError::Immutable));
    }
    let freed: usize = fields.values(&name).map(|value| cost(&name, value)).sum();
    room(fields.size() - freed, &name, &values)?;
    let first = fields.entries.iter().position(|entry| entry.0.eq_ignore_ascii_case(&name));
    fields.remove(&name);
    let entries = Arc::make_mut(&mut fields.entries);
    let at = first.unwrap_or(entries.len()).min(entries.len());
    entries.splice(at..at, values.into_iter().map(|value| (name.clone(), value)));
    Ok(Ok(()))
}

pub(super) fn append(cx: &mut Cx<'_>, this: This, name: String, value: Bytes) -> Changed {
    let fields = cx.get(this)?;
    if let Err(error) = check(&name, std::slice::from_ref(&value)) {
        return Ok(Err(error));
    }
    if fields.immutable {
        return Ok(Err(HeaderError::Immutable));
    }
    room(fields.size(), &name, std::slice::from_ref(&value))?;
    Arc::make_mut(&mut fields.entries).push((name, value));
    Ok(Ok(()))
}

pub(super) fn delete(cx: &mut Cx<'_>, this: This, name: String) -> Changed {
    let fields = cx.get(this)?;
    if let Err(error) = check(&name, &[]) {
        return Ok(Err(error));
    }
    if fields.immutable {
        return Ok(Err(HeaderError::Immutable));
    }
    fields.remove(&name);
    Ok(Ok(()))
}

pub(super) fn entries(cx: &mut Cx<'_>, this: This) -> Outcome<Vec<(String, Bytes)>> {
    Ok(cx.get(this)?.entries.to_vec())
}

pub(super) fn clone(cx: &mut Cx<'_>, this: This) -> Outcome<Handle<Fields>> {
    let entries = cx.get(this)?.entries.clone();
    cx.push(Fields { entries, immutable: false })
}
