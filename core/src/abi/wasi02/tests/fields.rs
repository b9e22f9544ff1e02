//! `wasi:http/types.fields`, without an engine.

use super::*;

const OK: u8 = 0;
const INVALID_SYNTAX: [u8; 2] = [1, 0];
const FORBIDDEN: [u8; 2] = [1, 1];
const IMMUTABLE: [u8; 2] = [1, 2];

impl Guest {
    fn fields(&mut self, function: &str, fields: u64, args: &[&[u8]]) -> [u8; 2] {
        let mut slots = vec![fields];
        for arg in args {
            slots.extend(self.bytes(arg));
        }
        slots.push(RET.into());
        self.call(&format!("wasi:http/types#[method]fields.{function}"), &slots);
        self.get(RET, 2).try_into().unwrap()
    }

    pub(super) fn entries(&mut self, fields: u64) -> Vec<(String, String)> {
        self.call("wasi:http/types#[method]fields.entries", &[fields, RET.into()]);
        let (list, count) = (self.u32(RET), self.u32(RET + 4));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (0..count).map(|at| (text(self.string(list + 16 * at)), text(self.string(list + 16 * at + 8)))).collect()
    }
}

#[test]
fn order_and_casing_stay_and_names_are_case_insensitive() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call("wasi:http/types#[constructor]fields", &[]);
    for (name, value) in [("X-One", "1"), ("b", "2"), ("x-ONE", "3")] {
        assert_eq!(guest.fields("append", fields, &[name.as_bytes(), value.as_bytes()])[0], OK);
    }
    let entries = guest.entries(fields);
    let expected = [("X-One", "1"), ("b", "2"), ("x-ONE", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(entries, expected);
    let [ptr, len] = guest.bytes(b"x-one");
    assert_eq!(guest.call("wasi:http/types#[method]fields.has", &[fields, ptr, len]), 1);
    assert_eq!(guest.fields("delete", fields, &[b"X-ONE"])[0], OK);
    assert_eq!(guest.entries(fields).len(), 1);
}

#[test]
fn errors_come_in_the_order_of_the_wit_file() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call("wasi:http/types#[constructor]fields", &[]);
    for (name, value, error) in [
        (&b"a b"[..], &b"v"[..], INVALID_SYNTAX),
        (b"", b"v", INVALID_SYNTAX),
        (b"a", b"v\r\n", INVALID_SYNTAX),
        (b"host", b"v\n", INVALID_SYNTAX),
        (b"Host", b"v", FORBIDDEN),
        (b"transfer-ENCODING", b"v", FORBIDDEN),
    ] {
        assert_eq!(guest.fields("append", fields, &[name, value]), error, "{name:?} {value:?}");
    }
    assert_eq!(guest.fields("delete", fields, &[b"a b"]), INVALID_SYNTAX);
    let request = guest.call("wasi:http/types#[constructor]outgoing-request", &[fields]);
    let frozen = guest.call("wasi:http/types#[method]outgoing-request.headers", &[request]);
    assert_eq!(guest.fields("append", frozen, &[b"a", b"v"]), IMMUTABLE);
    assert_eq!(guest.fields("append", frozen, &[b"host", b"v"]), FORBIDDEN);
    assert_eq!(guest.fields("delete", frozen, &[b"a"]), IMMUTABLE);
    let drop = "wasi:http/types#[resource-drop]outgoing-request";
    guest.traps(drop, &[request], "child");
    let clone = guest.call("wasi:http/types#[method]fields.clone", &[frozen]);
    assert_eq!(guest.fields("append", clone, &[b"a", b"v"])[0], OK);
}

#[test]
fn fields_are_charged_until_they_are_taken_out() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call("wasi:http/types#[constructor]fields", &[]);
    let empty = guest.host.budget().used();
    let mut one = 0;
    for more in 1..=3 {
        assert_eq!(guest.fields("append", fields, &[b"a", b"1"])[0], OK);
        let used = guest.host.budget().used() - empty;
        one = if more == 1 { used } else { one };
        assert!(one > 100 && used == more * one, "{more} fields take {used}");
    }
    assert_eq!(guest.fields("delete", fields, &[b"a"])[0], OK);
    assert_eq!(guest.host.budget().used(), empty);
}

#[test]
fn fields_are_limited() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call("wasi:http/types#[constructor]fields", &[]);
    let [name, name_len] = guest.bytes(b"a");
    let args = [fields, name, name_len, 0x5000, 0x2000, RET.into()];
    guest.fake.memory[0x5000..0x7000].fill(b'x');
    let mut added = 0;
    let end = loop {
        match guest.try_call("wasi:http/types#[method]fields.append", &args) {
            Ok(_) => added += 1,
            Err(stop) => break stop,
        }
        assert!(added < 100);
    };
    assert!(matches!(end, Stop::Error(error) if error.kind() == Kind::Limit));
    assert!(added >= 8, "{added}");
}
