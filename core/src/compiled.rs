//! Guests that are kept between loads: what core made of one, and the code that an engine made of that, in one entry.
//!
//! An entry is named by what was loaded, so that a guest which is loaded again is digested, and nothing more: it was validated
//! and rewritten before. That its entry is what was written then, the entry's digest says; that core wrote it, the rules of
//! whose entry it may be ([`cache`](crate::cache)), and that nobody else can make such a key.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use wasm_encoder::{CodeSection, RawSection};
use wasmparser::{Parser, Payload};
use wharf_plan::PLAN_SECTION;

use crate::backend::{Backend, BackendInfo, Module};
use crate::cache::{CacheKey, CodeCache};
use crate::error::{Error, Kind, Result, chain};
use crate::kept::Kept;
use crate::limits::LoadOptions;
use crate::prepare::{Prepared, internal, malformed};
use crate::trusted::TrustedCode;

/// The sources that rewrite modules, and this one: part of every key.
const REWRITES: &str = env!("WHARF_CORE_REWRITES");

/// All that shapes the code of an engine.
fn engine(info: &BackendInfo) -> String {
    format!("{} {} {}", info.name, info.engine_version, info.code_key)
}

impl Prepared {
    /// Prepares the module that `make` makes of a guest, or takes what was prepared of it before, with its code for
    /// `backend`, from the cache of `options`. `source` is all that decides what `make` makes: the guest's bytes, and the
    /// version of what makes a module of them.
    ///
    /// # Errors
    /// What `make` and [`new`](Self::new) report; [`Kind::Config`] if the backend's name cannot be the kind of a
    /// [`CacheKey`].
    pub fn with_cache<'a>(
        backend: &dyn Backend,
        source: &[&[u8]],
        options: &LoadOptions,
        make: impl FnOnce() -> Result<Cow<'a, [u8]>>,
    ) -> Result<Self> {
        let Some(cache) = &options.cache else { return Self::new(&make()?, options) };
        let engine = engine(backend.info());
        let limits =
            [options.max_module_bytes, options.max_function_bytes, options.max_memory, options.max_table_elements];
        let limits = limits.map(u64::to_le_bytes).concat();
        let parts = [&[REWRITES.as_bytes(), engine.as_bytes(), &limits], source].concat();
        let key = CacheKey::of_guest(backend.info().name, &parts)?;
        if let Some(entry) = cache.get(&key) {
            match decode(&entry, options) {
                Ok((mut prepared, outline, code)) => {
                    prepared.kept = Some(Arc::new(Kept { key, engine, outline, found: true, code }));
                    return Ok(prepared);
                }
                Err(error) => tracing::warn!("a kept guest is not used: {}", chain(&error)),
            }
        }
        let module = make()?;
        let mut prepared = Self::new(&module, options)?;
        let outline = outline(&module)?.into();
        prepared.kept = Some(Arc::new(Kept { key, engine, outline, found: false, code: None }));
        Ok(prepared)
    }

    /// The same for a core module that is loaded as it is.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_module(backend: &dyn Backend, wasm: &[u8], options: &LoadOptions) -> Result<Self> {
        Self::with_cache(backend, &[b"module", wasm], options, || Ok(wasm.into()))
    }

    /// As what it is kept, if it was prepared for this engine.
    fn kept_for(&self, info: &BackendInfo) -> Option<&Kept> {
        self.kept.as_deref().filter(|kept| kept.engine == engine(info))
    }
}

impl CodeCache {
    /// Loads the code that was kept with the module, or compiles it and keeps both.
    ///
    /// A cache that cannot be written is logged and costs a compilation, nothing more.
    ///
    /// # Errors
    /// What [`Backend::compile`] reports.
    pub(crate) fn compile(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        let Some(kept) = prepared.kept_for(backend.info()) else { return backend.compile(prepared) };
        if let Some(code) = kept.code.clone() {
            match backend.load(prepared, code) {
                Ok(module) => return Ok(module),
                Err(error) => tracing::warn!(%error, "cached code was rejected; compiling again"),
            }
        }
        let module = backend.compile(prepared)?;
        match module.serialize() {
            Ok(None) if kept.found => {}
            Ok(code) => {
                if let Err(error) = self.put(&kept.key, &encode(&kept.outline, prepared, code.as_ref())) {
                    tracing::warn!("compiled code is not kept: {}", chain(&error));
                }
            }
            Err(error) => tracing::warn!(%error, "the engine could not serialize its code"),
        }
        Ok(module)
    }

    /// Compiles the module, unless its code is in the cache, and sees to it that it is: to prepare the cache.
    ///
    /// # Errors
    /// What [`Backend::compile`] and [`put`](Self::put) report; [`Kind::Unsupported`] if the backend has no code of
    /// this module to give; [`Kind::Config`] if the module was not prepared with a cache, for this backend.
    pub fn fill(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<()> {
        let name = backend.info().name;
        let Some(kept) = prepared.kept_for(backend.info()) else {
            let message = format!("the module was not prepared with a cache for the backend {name}");
            return Err(Error::new(Kind::Config, message));
        };
        if kept.code.is_some() {
            return Ok(());
        }
        let module = backend.compile(prepared)?;
        let Some(code) = module.serialize()? else {
            let message = format!("the backend {name} has no compiled code for this module: there is nothing to keep");
            return Err(Error::new(Kind::Unsupported, message));
        };
        self.put(&kept.key, &encode(&kept.outline, prepared, Some(&code)))
    }
}

/// What an entry ends with: how many bytes its code, its outline and its module have, and [`GUARDED`] and [`WITH_CODE`]; four
/// words in little endian.
const TAIL: usize = 4 * size_of::<u64>();
const GUARDED: u64 = 1;
const WITH_CODE: u64 = 2;

/// Lays out an entry: the code, which is aligned where the entry is, the outline, the module, the tail.
fn encode(outline: &[u8], prepared: &Prepared, code: Option<&TrustedCode<'_>>) -> Vec<u8> {
    let flags = u64::from(prepared.is_guarded()) * GUARDED + u64::from(code.is_some()) * WITH_CODE;
    let parts = [code.map_or(&[][..], TrustedCode::bytes), outline, prepared.wasm()];
    let lengths = parts.map(|part| part.len() as u64);
    let tail = [&lengths[..], &[flags]].concat().into_iter().flat_map(u64::to_le_bytes).collect::<Vec<_>>();
    [&parts[..], &[&tail]].concat().concat()
}

/// Reads what [`encode`] wrote with these `options`.
#[expect(unsafe_code, reason = "the promise is that of whoever had the entry kept")]
fn decode(entry: &Bytes, options: &LoadOptions) -> Result<(Prepared, Bytes, Option<TrustedCode<'static>>)> {
    let unreadable = || Error::new(Kind::Internal, "the entry is not laid out as entries are");
    let (content, tail) = entry.split_last_chunk::<TAIL>().ok_or_else(unreadable)?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| tail[8 * at + byte]));
    let lengths = [0, 1, 2].map(|at| usize::try_from(word(at)).ok());
    let [Some(code), Some(outline), Some(module)] = lengths else { return Err(unreadable()) };
    let whole = code.checked_add(outline).and_then(|sum| sum.checked_add(module));
    if whole != Some(content.len()) {
        return Err(unreadable());
    }
    let (guarded, with_code) = (word(3) & GUARDED != 0, word(3) & WITH_CODE != 0);
    let (outline, module) = (entry.slice(code..code + outline), entry.slice(code + outline..content.len()));
    let prepared = Prepared::from_kept(&outline, module, guarded, options)?;
    // SAFETY: `compile` and `fill` alone write entries of this sort, of what the engine that the key names made of the
    // module beside it; the entry's digest says that it is unchanged, and its owner and mode, with those of the directory
    // and all above it, that nobody else has written it.
    let code = with_code.then(|| unsafe { TrustedCode::kept(entry.slice(..code)) });
    Ok((prepared, outline, code))
}

/// No locals, and `end`.
const EMPTY_BODY: [u8; 2] = [0, 0x0b];

/// What [`Prepared::from_kept`] reads of a valid module: its sections without data, elements and custom ones other than the
/// plan, and with functions that have nothing in them.
fn outline(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            Payload::CodeSectionStart { count, .. } => {
                let mut code = CodeSection::new();
                for _ in 0..*count {
                    code.raw(&EMPTY_BODY);
                }
                module.section(&code);
            }
            Payload::DataCountSection { .. } | Payload::DataSection(_) | Payload::ElementSection(_) => {}
            Payload::CustomSection(section) if section.name() != PLAN_SECTION => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = wasm.get(range).ok_or_else(|| internal("a section lies outside the module"))?;
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(module.finish())
}

#[cfg(test)]
mod tests;
