//! Blocks: straight runs of guest code, translated once into micro-operations.

mod op;

pub(crate) use op::{Op, Target};
