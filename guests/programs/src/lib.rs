//! What the guest's programs have in common.

pub mod maps;
pub mod sys;
