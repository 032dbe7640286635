//! Pure integer arithmetic with its flags; knows no CPU and no memory.
