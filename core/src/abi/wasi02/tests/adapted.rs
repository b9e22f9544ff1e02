//! Preview 1 as the published adapters have it, called without them.

use wharf_plan::AdapterVariant;

use super::super::adapted;
use super::*;
use crate::grants::{Capture, Output};

const SUCCESS: u64 = 0;
const BADF: u64 = 8;

impl Guest {
    fn adapted(&mut self, variant: AdapterVariant, name: &str, args: &[u64]) -> Result<u64, Stop> {
        let function = adapted::functions(variant).iter().find(|f| f.name == name).unwrap();
        assert_eq!(args.len(), function.params.len(), "{name}");
        let mut slots = args.to_vec();
        slots.resize(args.len().max(function.results.len()), 0);
        (function.call)(&self.host, &mut self.fake, &mut slots)?;
        Ok(slots.first().copied().unwrap_or_default())
    }

    #[track_caller]
    fn answers(&mut self, name: &str, args: &[u64], errno: u64) {
        assert_eq!(self.adapted(AdapterVariant::Command, name, args).unwrap(), errno, "{name} {args:?}");
    }
}

#[test]
fn there_are_two_clocks_and_both_count_nanoseconds() {
    let mut guest = Guest::new(&WasiConfig::new());
    for clock in [0, 1] {
        guest.answers("clock_res_get", &[clock, RET.into()], SUCCESS);
        assert_eq!(guest.u64(RET), 1, "{clock}");
    }
    let before = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    guest.answers("clock_time_get", &[0, 0, RET.into()], SUCCESS);
    let told = guest.u64(RET);
    assert!((before..=std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64).contains(&told), "{told}");
    guest.answers("clock_time_get", &[1, 0, RET.into()], SUCCESS);
    let since = guest.u64(RET);
    guest.answers("clock_time_get", &[1, 0, RET.into()], SUCCESS);
    assert!(since > 0 && since <= guest.u64(RET) && guest.u64(RET) < before, "{since}");
    for clock in [2, 3, u64::from(u32::MAX)] {
        guest.put(RET, &[CANARY; 8]);
        guest.answers("clock_res_get", &[clock, RET.into()], BADF);
        guest.answers("clock_time_get", &[clock, 0, RET.into()], BADF);
        assert_eq!(guest.get(RET, 8), [CANARY; 8], "nothing is written");
    }
}

#[test]
fn an_exit_code_is_zero_or_one_and_a_proxy_has_none() {
    let mut guest = Guest::new(&WasiConfig::new());
    for (code, exit) in [(0, 0), (1, 1), (42, 1)] {
        match guest.adapted(AdapterVariant::Command, "proc_exit", &[code]) {
            Err(Stop::Exit(told)) => assert_eq!(told, exit, "{code}"),
            other => panic!("{other:?}"),
        }
    }
    match guest.adapted(AdapterVariant::Proxy, "proc_exit", &[0]) {
        Err(Stop::Error(error)) => assert_eq!(error.kind(), Kind::Trap, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_is_of_the_first_buffer_that_is_not_empty() {
    let out = Capture::new(64);
    let mut guest = Guest::new(&WasiConfig::new().stdout(Output::Capture(out.clone())));
    let [text, _] = guest.bytes(b"onetwo");
    let list: Vec<u8> = [[7, 0], [text as u32, 0], [text as u32, 3], [text as u32 + 3, 3]]
        .as_flattened()
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let [list, _] = guest.bytes(&list);
    for (count, written) in [(4, 3), (3, 3), (2, 0), (1, 0), (0, 0)] {
        guest.put(RET, &[CANARY; 4]);
        guest.answers("fd_write", &[1, list, count, RET.into()], SUCCESS);
        assert_eq!(guest.u32(RET), written, "{count} buffers");
    }
    guest.answers("fd_write", &[1, list + 24, 1, RET.into()], SUCCESS);
    assert_eq!(guest.u32(RET), 3);
    assert_eq!(out.contents(), b"oneonetwo");
    for fd in [0, 3, u64::from(u32::MAX)] {
        guest.answers("fd_write", &[fd, list, 4, RET.into()], BADF);
    }
}
