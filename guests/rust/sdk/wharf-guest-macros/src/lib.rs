//! The attribute of `wharf-guest`. It needs one name from the function it stands on, so it brings no parser of Rust.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Makes an `async fn` the handler of every request that this guest is served with.
///
/// The function takes one `http::Request<wharf_guest::Body>` and returns anything that is a
/// `wharf_guest::IntoResponse`: a response, or a `Result` of one. A guest has one handler, in a crate of
/// `crate-type = ["cdylib"]`.
///
/// It can be called natively, in tests, like the function it is. `wasi_experimental_http` has no inbound requests, so a
/// build for that ABI fails and says so.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return refuse("`#[handler]` takes no arguments");
    }
    let (mut is_async, mut after_fn, mut name) = (false, false, None);
    for token in item.clone() {
        let TokenTree::Ident(ident) = token else { continue };
        match ident.to_string().as_str() {
            _ if after_fn => {
                name = Some(ident);
                break;
            }
            "async" => is_async = true,
            "fn" => after_fn = true,
            _ => {}
        }
    }
    let Some(name) = name.filter(|_| is_async) else {
        return refuse("`#[handler]` stands on an `async fn(http::Request<wharf_guest::Body>) -> impl IntoResponse`");
    };
    let mut out = item;
    out.extend(call(&["wharf_guest", "__export_handler"], name.into()));
    out
}

fn refuse(why: &str) -> TokenStream {
    call(&["core", "compile_error"], Literal::string(why).into())
}

/// `::path! { argument }`
fn call(path: &[&str], argument: TokenTree) -> TokenStream {
    let mut tokens = Vec::new();
    for part in path {
        tokens.push(TokenTree::from(Punct::new(':', Spacing::Joint)));
        tokens.push(Punct::new(':', Spacing::Alone).into());
        tokens.push(Ident::new(part, Span::call_site()).into());
    }
    tokens.push(Punct::new('!', Spacing::Alone).into());
    tokens.push(Group::new(Delimiter::Brace, argument.into()).into());
    tokens.into_iter().collect()
}
