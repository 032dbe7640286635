//! Integer computations.

use std::{hint::black_box, io};

use crate::{EMPTY_SUM, Random, Round, mix};

/// A machine with four registers interprets a loop of `steps` instructions through a jump table.
pub fn bytecode(steps: u32) -> u32 {
    #[derive(Clone, Copy)]
    enum Op {
        Add(usize, usize),
        Xor(usize, usize),
        Shift(usize),
        Multiply(usize, u32),
        Store(usize),
        Load(usize),
        Loop,
    }
    let program = [
        Op::Add(0, 1),
        Op::Multiply(1, 0x9e37_79b1),
        Op::Xor(2, 0),
        Op::Shift(2),
        Op::Store(2),
        Op::Add(3, 2),
        Op::Load(1),
        Op::Loop,
    ];
    let program = black_box(program);
    let (mut registers, mut memory) = ([1u32, 2, 3, 4], [0u32; 64]);
    let mut at = 0;
    for _ in 0..steps {
        match program[at] {
            Op::Add(to, from) => registers[to] = registers[to].wrapping_add(registers[from]),
            Op::Xor(to, from) => registers[to] ^= registers[from],
            Op::Shift(to) => registers[to] = registers[to].rotate_left(7),
            Op::Multiply(to, by) => registers[to] = registers[to].wrapping_mul(by),
            Op::Store(from) => memory[registers[3] as usize % 64] = registers[from],
            Op::Load(to) => registers[to] ^= memory[registers[0] as usize % 64],
            Op::Loop => {
                at = 0;
                continue;
            }
        }
        at += 1;
    }
    registers.iter().fold(EMPTY_SUM, |sum, &register| mix(sum, register))
}

/// The Fibonacci number of `n`, by calls alone.
#[inline(never)]
pub fn calls(n: u32) -> u32 {
    // What is hidden from the compiler stays a call.
    if n < 2 { n } else { black_box(calls(n - 1)).wrapping_add(black_box(calls(n - 2))) }
}

/// Divisions of 32 and 64 bits, signed and not.
pub fn divide(count: u32) -> u32 {
    let (mut random, mut sum) = (Random(0x1234_5678), EMPTY_SUM);
    for _ in 0..count {
        let (a, b) = (random.next(), random.next() >> (random.next() % 32));
        let divisor = b.max(1);
        sum = mix(sum, a / divisor);
        sum = mix(sum, (a as i32).wrapping_rem(divisor as i32) as u32);
        let wide = (u64::from(a) << 32) | u64::from(b);
        sum = mix(sum, (wide / u64::from(divisor)) as u32);
        sum = mix(sum, (wide as i64).wrapping_div(i64::from(divisor as i32)) as u32);
    }
    sum
}

/// Calls of small functions through a table, in an order without a pattern.
pub fn indirect(count: u32) -> u32 {
    type Step = fn(u32) -> u32;
    const STEPS: [Step; 16] = [
        |x| x.wrapping_add(0x1234_5677),
        |x| x ^ 0x0f1e_2d3c,
        |x| x.rotate_left(5),
        |x| x.wrapping_mul(9),
        |x| !x,
        |x| x.wrapping_sub(x >> 3),
        |x| x.swap_bytes(),
        |x| x ^ (x << 7),
        |x| x.wrapping_add(x >> 16),
        |x| x.wrapping_neg(),
        |x| x | 0x0101_0101,
        |x| x & 0xfeff_fefe,
        |x| x.rotate_right(11),
        |x| x.wrapping_mul(0x0001_0003),
        |x| x.wrapping_sub(0x7654_3210),
        |x| x ^ (x >> 9),
    ];
    let steps = black_box(STEPS);
    let mut random = Random(0x0bad_cafe);
    (0..count).fold(EMPTY_SUM, |x, _| steps[random.next() as usize % steps.len()](x))
}

/// SHA-256 (FIPS 180-4) of `blocks` blocks of bytes that count upwards; its first word.
pub fn sha256(blocks: u32) -> u32 {
    let constants = fractions_of_roots(64, 3);
    let mut state: [u32; 8] = fractions_of_roots(8, 2).try_into().expect("eight roots");
    for block in 0..blocks {
        let mut words = [0u32; 64];
        for (at, word) in words.iter_mut().take(16).enumerate() {
            let first = (block * 64) as usize + at * 4;
            *word = u32::from_be_bytes(std::array::from_fn(|byte| (first + byte) as u8));
        }
        for at in 16..64 {
            let (x, y) = (words[at - 15], words[at - 2]);
            let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            words[at] = words[at - 16].wrapping_add(s0).wrapping_add(words[at - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for at in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(constants[at]).wrapping_add(words[at]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            (h, g, f, e, d, c, b, a) =
                (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(s0.wrapping_add(majority)));
        }
        for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(add);
        }
    }
    state[0]
}

/// The first 32 bits of the fractions of the square or cube roots of the first primes.
fn fractions_of_roots(count: usize, power: u32) -> Vec<u32> {
    let is_prime = |n: &u128| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    let root_bits = |prime: u128| -> u32 {
        // The root of prime · 2^(32·power) is the root of the prime with 32 bits of fraction.
        let target = prime << (32 * power);
        let mut root: u128 = 0;
        for bit in (0..40).rev() {
            let candidate = root | 1 << bit;
            if candidate.pow(power) <= target {
                root = candidate;
            }
        }
        root as u32
    };
    (2u128..).filter(is_prime).take(count).map(root_bits).collect()
}

/// The number of primes below `limit`.
pub fn sieve(limit: u32) -> io::Result<Round> {
    let mut composite = vec![true; limit as usize];
    Ok(Box::new(move || {
        composite.fill(false);
        let mut primes = 0;
        for number in 2..composite.len() {
            if !composite[number] {
                primes += 1;
                composite.iter_mut().skip(number * number).step_by(number).for_each(|c| *c = true);
            }
        }
        Ok(primes)
    }))
}

/// Sorts numbers by exchanging (quicksort) and mixes them in order.
pub fn sort(count: u32) -> io::Result<Round> {
    let mut numbers = vec![1; count as usize];
    Ok(Box::new(move || {
        let mut random = Random(0xdead_beef);
        numbers.fill_with(|| random.next());
        quicksort(&mut numbers);
        Ok(numbers.iter().fold(EMPTY_SUM, |sum, &number| mix(sum, number)))
    }))
}

fn quicksort(numbers: &mut [u32]) {
    if numbers.len() < 2 {
        return;
    }
    let last = numbers.len() - 1;
    numbers.swap(last / 2, last);
    let mut smaller = 0;
    for at in 0..last {
        if numbers[at] < numbers[last] {
            numbers.swap(at, smaller);
            smaller += 1;
        }
    }
    numbers.swap(smaller, last);
    let (low, high) = numbers.split_at_mut(smaller);
    quicksort(low);
    quicksort(&mut high[1..]);
}
