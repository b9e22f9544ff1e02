//! Which dialect an import speaks, and what a guest is granted.

use super::*;
use crate::grants::Listen;

#[test]
fn which_dialect_an_import_speaks() {
    use crate::abi::preview1::{Dialect, MODULE};
    use crate::types::{FuncType, Import};
    let dialect = |module: &str, name: &str, params: usize| {
        let ty =
            FuncType { params: vec![crate::types::ValType::I32; params], results: vec![crate::types::ValType::I32] };
        Dialect::of(&Import { module: module.to_owned(), name: name.to_owned(), ty })
    };
    for (name, params, expected) in [
        ("sock_accept", 3, Some(Dialect::Standard)),
        ("sock_accept", 2, Some(Dialect::WasmEdgeV1)),
        ("sock_accept", 4, None),
        ("sock_open", 3, Some(Dialect::WasmEdgeV1)),
        ("sock_open_v2", 3, Some(Dialect::WasmEdgeV2)),
        ("sock_getlocaladdr", 3, Some(Dialect::WasmEdgeV2)),
        ("sock_getlocaladdr", 4, Some(Dialect::WasmEdgeV1)),
        ("epoll_oneoff", 4, Some(Dialect::WasmEdgeV1)),
        ("fd_close", 1, None),
    ] {
        assert_eq!(dialect(MODULE, name, params), expected, "{name} {params}");
        assert_eq!(dialect("wasi_unstable", name, params), None);
    }
    assert_eq!(Dialect::ALL.map(|dialect| dialect.to_string()), ["standard", "WasmEdge V1", "WasmEdge V2"]);
}

#[test]
fn grants_that_are_the_same() {
    let listen = |text: &str| text.parse::<Listen>().unwrap();
    let grants = |network: &Network| WasiConfig::new().network(network.clone());
    let same = |a: &Network, b: &Network| {
        let (a, b) = (grants(a), grants(b));
        assert_eq!(a.grants_the_same(&b), b.grants_the_same(&a));
        a.grants_the_same(&b)
    };
    let policy = || Arc::new(Policy::builder().allow("http://a.example").unwrap().build());
    assert!(same(&Network::new(), &Network::new()));
    assert!(same(&Network::new().connect(policy()), &Network::new().connect(policy())));
    let names: Arc<dyn Resolver> = Arc::new(Names);
    assert!(same(&Network::new().resolver(names.clone()), &Network::new().resolver(names.clone())));
    let own = Network::new().listener(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    assert!(same(&own, &own.clone()));
    let other = Network::new().listener(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    assert!(!same(&own, &other));
    for other in [
        own,
        Network::new().connect(policy()),
        Network::new().resolver(names),
        Network::new().connect_timeout(Duration::from_secs(1)),
        Network::new().allow_listen(listen("80")),
        Network::new().max_sockets(1),
        Network::new().max_socket_buffer(1),
    ] {
        assert!(!same(&Network::new(), &other), "{other:?}");
    }
}

#[test]
fn what_a_guest_has_open_is_charged() {
    let budget = crate::budget::Budget::new(1 << 20);
    let mut guest = with(free());
    guest.wasi = Wasi::new(WasiConfig::new().network(free()), guest.run.clone()).bounded(&budget);
    let before = budget.used();
    let fd = guest.socket(INET4, STREAM);
    assert!(budget.used() >= before + (4 << 10), "what the system has of a socket: {before} {}", budget.used());
    guest.ok("fd_close", &[fd]);
    assert_eq!(budget.used(), before);
}
