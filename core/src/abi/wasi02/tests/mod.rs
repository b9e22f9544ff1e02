//! Drives the functions as an adapter would, over a guest that is nothing but memory and an allocator.

mod wit_files;
