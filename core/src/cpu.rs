//! What compiled code may depend on in this machine's processor.

/// The processor's model and features, for the [code key](crate::BackendInfo::code_key) of an engine that compiles for
/// them and does not say so itself.
#[cfg(target_arch = "x86_64")]
pub fn cpu() -> String {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let (model, features, more) = (__cpuid(1), __cpuid_count(7, 0), __cpuid(0x8000_0001));
    // The upper half of leaf 1's ebx differs from core to core.
    format!(
        "x86_64-{:x}-{:x}-{:x}-{:x}-{:x}-{:x}-{:x}-{:x}",
        model.eax, model.ecx, model.edx, features.ebx, features.ecx, features.edx, more.ecx, more.edx
    )
}

/// The processor's model and features, for the [code key](crate::BackendInfo::code_key) of an engine that compiles for
/// them and does not say so itself. Where the system does not tell them, code is kept for this process only.
#[cfg(not(target_arch = "x86_64"))]
pub fn cpu() -> String {
    let arch = std::env::consts::ARCH;
    let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return format!("{arch}-{}", std::process::id()) };
    let says = |line: &&str| ["Features", "CPU", "isa", "cpu"].iter().any(|key| line.starts_with(key));
    let lines: std::collections::BTreeSet<&str> = text.lines().filter(says).collect();
    format!("{arch}-{}", lines.into_iter().collect::<Vec<_>>().join(","))
}
