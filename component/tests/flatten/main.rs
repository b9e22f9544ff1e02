//! Components written as text, or made by component tools, flattened and run.

mod run;

mod adapter;
mod composed;
mod concurrent;
mod linking;
mod refusals;
mod shims;
mod single;
mod start;
mod tools;
