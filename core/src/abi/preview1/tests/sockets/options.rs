//! `sock_getsockopt` and `sock_setsockopt`.

use super::*;

#[test]
fn options_read_back_as_they_were_set() {
    let mut guest = with(free().max_socket_buffer(8192));
    let fd = guest.socket(INET4, STREAM);
    for name in [0, 7, 8] {
        assert_eq!(guest.option(fd, name), int(0), "{name}");
        for value in [1, 0, 7] {
            assert_eq!(guest.set_option(fd, name, &int(value)), OK, "{name}");
            assert_eq!(guest.option(fd, name), int(i32::from(value != 0)), "{name}");
        }
        assert_eq!(guest.set_option(fd, name, &[0; 3]), Errno::Inval as u16, "{name}");
    }
    let datagrams = guest.socket(INET4, DATAGRAM);
    assert_eq!(guest.set_option(datagrams, 4, &int(1)), OK, "broadcast");
    assert_eq!(guest.option(datagrams, 4), int(1));
    for name in [5, 6] {
        let size = |guest: &mut Guest| i32::from_le_bytes(guest.option(fd, name).try_into().unwrap());
        assert_eq!(guest.set_option(fd, name, &int(i32::MAX)), OK);
        let most = size(&mut guest);
        assert!(most <= 4 * 8192, "the embedder's bound, and what the system adds: {most}");
        assert_eq!(guest.set_option(fd, name, &int(4608)), OK);
        assert!(size(&mut guest) < most, "{name}");
        assert_eq!(guest.set_option(fd, name, &int(-1)), Errno::Inval as u16);
    }
    for (on, seconds, reads) in [(1, 5, [1, 5]), (0, 5, [0, 0]), (7, 0, [1, 0])] {
        assert_eq!(guest.set_option(fd, 9, &[int(on), int(seconds)].concat()), OK, "linger");
        assert_eq!(guest.option(fd, 9), reads.map(int).concat());
    }
    assert_eq!(guest.set_option(fd, 9, &[int(1), int(-1)].concat()), Errno::Inval as u16);
    let time = |seconds: i64, micros: i64| [seconds.to_le_bytes(), micros.to_le_bytes()].concat();
    for name in [11, 12] {
        assert_eq!(guest.option(fd, name), time(0, 0), "none");
        assert_eq!(guest.set_option(fd, name, &time(3, 999_999)), OK);
        assert_eq!(guest.option(fd, name), time(3, 999_999));
        for (seconds, micros) in [(-1, 0), (0, -1), (0, 1_000_000)] {
            assert_eq!(guest.set_option(fd, name, &time(seconds, micros)), Errno::Inval as u16);
        }
        assert_eq!(guest.set_option(fd, name, &[0; 8]), Errno::Inval as u16);
    }
    assert_eq!(guest.option(fd, 11), time(3, 999_999), "each has its own");
}

#[test]
fn options_that_are_as_they_are() {
    let mut guest = with(free());
    let fd = guest.socket(INET4, STREAM);
    for (name, value, reads) in [(3, int(0), int(0)), (10, int(1), int(1)), (14, vec![], vec![])] {
        assert_eq!(guest.set_option(fd, name, &value), OK, "{name}");
        assert_eq!(guest.option(fd, name), reads, "{name}");
    }
    assert_eq!(guest.option(fd, 2), int(0), "no error");
    for (name, value, errno) in [
        (1, int(1), Errno::Noprotoopt),
        (2, int(1), Errno::Noprotoopt),
        (13, int(1), Errno::Noprotoopt),
        (3, int(1), Errno::Noprotoopt),
        (10, int(2), Errno::Noprotoopt),
        (15, int(1), Errno::Noprotoopt),
        (14, b"eth0".to_vec(), Errno::Perm),
        (0, vec![0; 257], Errno::Inval),
    ] {
        assert_eq!(guest.set_option(fd, name, &value), errno as u16, "{name}");
    }
    guest.put(LEN, &3u32.to_le_bytes());
    guest.refuses("sock_getsockopt", &[fd, 0, 0, VALUE.into(), LEN.into()], Errno::Inval);
    guest.put(LEN, &4u32.to_le_bytes());
    guest.refuses("sock_getsockopt", &[fd, 1, 0, VALUE.into(), LEN.into()], Errno::Inval);
    guest.refuses("sock_getsockopt", &[fd, 0, 15, VALUE.into(), LEN.into()], Errno::Noprotoopt);
    guest.does("sock_getsockopt", &[fd, 0, 0, VALUE.into(), LEN.into()]);
}
