//! Computations on doubles with the x87 unit, whose registers hold 80 bits.
#![allow(unsafe_code)]

use std::arch::asm;

use crate::float::{Body, STEP_DAYS, bodies, sum_of};

/// The bodies of `float::nbody`, moved with x87 instructions: a step's intermediate results
/// have 64 bits of precision, so the answer is another.
pub fn nbody(steps: u32) -> u32 {
    let mut bodies = bodies();
    for _ in 0..steps {
        for at in 0..bodies.len() {
            let (first, rest) = bodies[at..].split_first_mut().expect("a body");
            for second in rest {
                attract(first, second);
            }
        }
        for body in &mut bodies {
            advance(body);
        }
    }
    sum_of(&bodies)
}

/// Changes the velocities of two bodies by what each does to the other in a step.
///
/// A body is 56 bytes: position at 0, 8, 16, velocity at 24, 32, 40, mass at 48.
fn attract(first: &mut Body, second: &mut Body) {
    // SAFETY: all operands lie in the two bodies and the constant; the x87 stack is empty
    // before, as the ABI has it, and after.
    unsafe {
        asm!(
            "fld qword ptr [{a}]",
            "fsub qword ptr [{b}]",          // dx
            "fld qword ptr [{a} + 8]",
            "fsub qword ptr [{b} + 8]",      // dy dx
            "fld qword ptr [{a} + 16]",
            "fsub qword ptr [{b} + 16]",     // dz dy dx
            "fld st(2)",
            "fmul st(0), st(0)",
            "fld st(2)",
            "fmul st(0), st(0)",
            "faddp st(1), st(0)",
            "fld st(1)",
            "fmul st(0), st(0)",
            "faddp st(1), st(0)",            // square dz dy dx
            "fld st(0)",
            "fsqrt",
            "fmulp st(1), st(0)",
            "fdivr qword ptr [{step}]",      // pull dz dy dx
            "fmul st(1), st(0)",
            "fmul st(2), st(0)",
            "fmulp st(3), st(0)",            // dz dy dx, each times pull
            "fld qword ptr [{b} + 48]",
            "fld qword ptr [{a} + 48]",      // mass of first, mass of second, dz dy dx
            "fld st(2)",
            "fmul st(0), st(2)",
            "fsubr qword ptr [{a} + 40]",
            "fstp qword ptr [{a} + 40]",
            "fld st(3)",
            "fmul st(0), st(2)",
            "fsubr qword ptr [{a} + 32]",
            "fstp qword ptr [{a} + 32]",
            "fld st(4)",
            "fmul st(0), st(2)",
            "fsubr qword ptr [{a} + 24]",
            "fstp qword ptr [{a} + 24]",
            "fmul st(2), st(0)",
            "fmul st(3), st(0)",
            "fmulp st(4), st(0)",            // mass of second, dz dy dx, each times mass of first
            "fstp st(0)",
            "fadd qword ptr [{b} + 40]",
            "fstp qword ptr [{b} + 40]",
            "fadd qword ptr [{b} + 32]",
            "fstp qword ptr [{b} + 32]",
            "fadd qword ptr [{b} + 24]",
            "fstp qword ptr [{b} + 24]",
            a = in(reg) first,
            b = in(reg) second,
            step = in(reg) &STEP_DAYS,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack)
        );
    }
}

/// Moves a body along its velocity.
fn advance(body: &mut Body) {
    // SAFETY: as for `attract`.
    unsafe {
        asm!(
            "fld qword ptr [{step}]",
            "fld qword ptr [{a} + 24]",
            "fmul st(0), st(1)",
            "fadd qword ptr [{a}]",
            "fstp qword ptr [{a}]",
            "fld qword ptr [{a} + 32]",
            "fmul st(0), st(1)",
            "fadd qword ptr [{a} + 8]",
            "fstp qword ptr [{a} + 8]",
            "fmul qword ptr [{a} + 40]",
            "fadd qword ptr [{a} + 16]",
            "fstp qword ptr [{a} + 16]",
            a = in(reg) body,
            step = in(reg) &STEP_DAYS,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack)
        );
    }
}
