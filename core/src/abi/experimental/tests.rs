use super::*;
use crate::abi::signatures;

#[test]
fn the_table_is_what_the_witx_file_declares() {
    signatures::assert_declared(include_str!("../../../abi/wasi_experimental_http.witx"), MODULE, FUNCTIONS);
}

#[test]
fn header_lines_are_split_at_the_first_colon_and_not_trimmed() {
    let headers = headers::parse("a:1\r\nb: two: three\n\nA:2").unwrap();
    assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers["b"], " two: three");
    assert_eq!(headers::format(&headers), "a:1\na:2\nb: two: three\n");
    assert!(headers::parse("").unwrap().is_empty());
}

#[test]
fn header_lines_that_are_none_are_refused() {
    for lines in ["no colon", ":value", "na me:value", "name:a\rb", "name:a\0b"] {
        assert!(headers::parse(lines).is_none(), "{lines:?}");
    }
}

#[test]
fn a_header_value_that_is_not_utf8_is_read_as_latin1() {
    let value = ::http::HeaderValue::from_bytes(b"caf\xe9\t").unwrap();
    assert_eq!(headers::text(&value), "café\t");
}

/// A guest with nothing but memory.
struct Bytes0(Vec<u8>);

impl Caller for Bytes0 {
    fn memory(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }
    fn call(&mut self, _: &str, _: &mut [u64]) -> Result<(), crate::types::Trap> {
        unreachable!("the ABI calls nothing of the guest")
    }
    fn global(&mut self, _: &str) -> Option<u64> {
        None
    }
    fn set_global(&mut self, _: &str, _: u64) -> bool {
        false
    }
}

fn call(http: &Http, name: &str, memory: &mut Vec<u8>, args: &[u32]) -> u32 {
    let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
    let mut slots: Vec<u64> = args.iter().map(|arg| u64::from(*arg)).collect();
    let mut guest = Bytes0(std::mem::take(memory));
    (function.call)(http, &mut guest, &mut slots).unwrap();
    *memory = guest.0;
    slots[0] as u32
}

#[test]
fn nothing_is_reachable_without_an_outbound() {
    let http = Http::deny_all(Run::default());
    let mut memory = b"http://localhost/GET".to_vec();
    let code = call(&http, "req", &mut memory, &[0, 17, 17, 3, 0, 0, 0, 0, 0, 4]);
    assert_eq!(code, ErrorCode::DestinationNotAllowed as u32);
    assert_eq!(memory, b"http://localhost/GET");
}

#[test]
fn unknown_handles_answer_and_do_not_panic() {
    let http = Http::deny_all(Run::default());
    let mut memory = vec![0; 64];
    assert_eq!(call(&http, "close", &mut memory, &[7]), 0);
    assert_eq!(call(&http, "body_read", &mut memory, &[7, 0, 8, 8]), ErrorCode::InvalidHandle as u32);
    assert_eq!(call(&http, "body_read", &mut memory, &[7, 0, 0, 8]), ErrorCode::InvalidHandle as u32);
    assert_eq!(call(&http, "header_get", &mut memory, &[7, 0, 8, 8, 8, 8]), ErrorCode::InvalidHandle as u32);
    for name in ["headers_get_all", "header_get_all"] {
        assert_eq!(call(&http, name, &mut memory, &[7, 0, 8, 8]), ErrorCode::InvalidHandle as u32);
    }
}
