//! Computations on doubles, which the compiler does with SSE2.

use crate::{EMPTY_SUM, mix};

/// A product of square matrices of doubles with whole numbers in them.
pub fn matrix(n: u32) -> u32 {
    let n = n as usize;
    let fill = |seed: usize| -> Vec<f64> { (0..n * n).map(|at| ((at * seed) % 17) as f64 - 8.0).collect() };
    let (a, b) = (fill(7), fill(11));
    let mut product = vec![0.0; n * n];
    // Row by row of `b`, so that pairs of doubles are multiplied at once.
    for (product_row, a_row) in product.chunks_exact_mut(n).zip(a.chunks_exact(n)) {
        for (factor, b_row) in a_row.iter().zip(b.chunks_exact(n)) {
            for (cell, value) in product_row.iter_mut().zip(b_row) {
                *cell += factor * value;
            }
        }
    }
    product.iter().fold(EMPTY_SUM, |sum, &cell| mix(sum, cell as i32 as u32))
}

/// A body of the outer solar system: astronomical units, days, and solar masses times 4π².
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Body {
    /// Where it is.
    pub position: [f64; 3],
    /// Where it goes.
    pub velocity: [f64; 3],
    /// How it attracts.
    pub mass: f64,
}

/// Days that a step takes.
pub const STEP_DAYS: f64 = 0.01;

/// The sun and four bodies on circles around it, each in a plane of its own.
pub fn bodies() -> [Body; 5] {
    const SUN_MASS: f64 = 39.478_417_604_357_43;
    let planet = |radius: f64, tilt: f64, mass: f64| {
        // On a circle the speed is √(mass / radius).
        let speed = (SUN_MASS / radius).sqrt();
        let position = [radius, 0.0, 0.0];
        Body { position, velocity: [0.0, speed * (1.0 - tilt), speed * tilt], mass: SUN_MASS * mass }
    };
    let sun = Body { position: [0.0; 3], velocity: [0.0; 3], mass: SUN_MASS };
    [
        sun,
        planet(5.2, 0.01, 9.5e-4),
        planet(9.5, 0.02, 2.9e-4),
        planet(19.2, 0.005, 4.4e-5),
        planet(30.1, 0.015, 5.2e-5),
    ]
}

/// Every bit of where the bodies are and go.
pub fn sum_of(bodies: &[Body]) -> u32 {
    let words = bodies.iter().flat_map(|body| body.position.into_iter().chain(body.velocity));
    words.fold(EMPTY_SUM, |sum, word| {
        let bits = word.to_bits();
        mix(mix(sum, bits as u32), (bits >> 32) as u32)
    })
}

/// Bodies that attract each other, for a number of steps.
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
            for axis in 0..3 {
                body.position[axis] += STEP_DAYS * body.velocity[axis];
            }
        }
    }
    sum_of(&bodies)
}

/// Changes the velocities of two bodies by what each does to the other in a step.
fn attract(first: &mut Body, second: &mut Body) {
    let distance: [f64; 3] = std::array::from_fn(|axis| first.position[axis] - second.position[axis]);
    let square: f64 = distance.iter().map(|d| d * d).sum();
    let pull = STEP_DAYS / (square * square.sqrt());
    for (axis, distance) in distance.into_iter().enumerate() {
        first.velocity[axis] -= distance * second.mass * pull;
        second.velocity[axis] += distance * first.mass * pull;
    }
}
