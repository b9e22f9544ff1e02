//! Components written as text, flattened and run.

mod run;

mod single;
