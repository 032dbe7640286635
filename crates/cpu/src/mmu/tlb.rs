use serde::{Deserialize, Serialize};

/// The translations that a CPU holds (SDM Vol. 3A, "Translation Lookaside Buffers").
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tlb {}
