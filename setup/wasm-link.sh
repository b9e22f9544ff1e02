#!/bin/sh
# The linker setup/guests/rust.sh gives to rustc when the WASI C library is
# Debian's: it adds the start-up object, which rustc adds only with its own C
# library, to commands. Reactors (cdylib) are linked with --no-entry and have
# none. Doing it here keeps the compiler's flags the same for both, so that they
# share one build of the standard library.
set -eu
case " $* " in
*" --no-entry "*) ;;
*) set -- "$@" "$WHARF_WASM_LIBC/crt1-command.o" ;;
esac
exec "$WHARF_WASM_LINKER" "$@"
